#!/usr/bin/env python3
"""archai and PyTorch side by side: the same steps at the same sizes, in turn (A B C A B C …), each in a process of its own.

    python3 -m venv venv && venv/bin/pip install torch      # several GB
    cargo build --release
    venv/bin/python bench/compare.py --rounds 3 > table.md

Only on a quiet machine: with other work running, PyTorch's threads wait for each other and the comparison is worth nothing.
The table goes to standard output as Markdown, every single measurement to standard error as JSON lines.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAMES = {
    "cell": "search cell",
    "supernet": "search network, one pass",
    "bilevel": "second-order DARTS step",
    "eval": "evaluated network",
    "infer": "evaluated network, forward",
    "nasbench201": "NAS-Bench-201 network",
    "resnet20": "ResNet-20",
}


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}")
    return json.loads(done.stdout)


def measure(who, what, batch, a):
    steps = 1 if what == "bilevel" and who != "archai" else a.steps
    if who == "archai":
        command = [str(a.archai), "bench", "--json", "--only", what, "--steps", str(steps)]
        result = run(command + ["--batch", str(batch), "--threads", str(a.threads)])["measurements"][0]
    else:
        command = [sys.executable, str(HERE / "torch_peer.py"), "--only", what, "--steps", str(steps), "--layout", who]
        if what == "bilevel":
            command += ["--warmup", "0" if a.no_bilevel_warmup else "1"]
        result = run(command + ["--batch", str(batch), "--threads", str(a.threads)])
    print(json.dumps({"who": who, **result}), file=sys.stderr, flush=True)
    return result


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--archai", type=Path, default=HERE.parent / "target/release/archai")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--steps", type=int, default=3)
    p.add_argument("--what", default="cell:64,supernet:32,supernet:64,bilevel:64,eval:96,infer:96,nasbench201:256,resnet20:128",
                   help="STEP:BATCH,…")
    p.add_argument("--no-bilevel-warmup", action="store_true", help="PyTorch's first bilevel step counts")
    a = p.parse_args()
    whos = ["archai", "nchw", "channels_last"]
    print("| step | batch | archai ms | PyTorch ms | channels-last ms | of PyTorch | of channels-last | memory of PyTorch |")
    print("|---|---|---|---|---|---|---|---|")
    for item in a.what.split(","):
        what, batch = item.split(":")
        ms = {who: [] for who in whos}
        rss = {who: [] for who in whos}
        for _ in range(a.rounds):
            for who in whos:
                result = measure(who, what, int(batch), a)
                ms[who].append(result["ms"])
                rss[who].append(result["peak_rss_mb"])
        m = {who: statistics.median(ms[who]) for who in whos}
        r = {who: statistics.median(rss[who]) for who in whos}
        print(
            f"| {NAMES[what]} | {batch} | {m['archai']:.0f} | {m['nchw']:.0f} | {m['channels_last']:.0f} "
            f"| **{m['archai'] / m['nchw']:.3f}** | **{m['archai'] / m['channels_last']:.3f}** "
            f"| {r['archai']:.0f} / {r['nchw']:.0f} MB = {r['archai'] / r['nchw']:.2f} |",
            flush=True,
        )
    import torch

    print(f"\nPyTorch {torch.__version__}, {a.threads} threads, {platform.machine()}; medians of {a.rounds} rounds.")


if __name__ == "__main__":
    main()
