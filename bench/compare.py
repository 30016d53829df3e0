#!/usr/bin/env python3
"""archai and PyTorch side by side: the same steps at the same sizes, in turn (A B C A B C …), each in a process of its own.

    python3 -m venv venv && venv/bin/pip install torch      # several GB
    cargo build --release
    venv/bin/python bench/compare.py --rounds 3 > table.md

Only on a quiet machine: with other work running, PyTorch's threads wait for each other and the comparison is worth nothing.
On Linux a measurement during which other processes took more than 3 % of the processors' time is repeated, a few times.
The table goes to standard output as Markdown, every single measurement to standard error as JSON lines.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
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


def busy():
    """Seconds that all processors together have worked so far, and those of them that were spent for our children."""
    own = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        user, nice, system, _idle, _wait, *rest = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return own.ru_utime + own.ru_stime, own.ru_utime + own.ru_stime
    ticks = sum(map(int, (user, nice, system, *rest)))
    return ticks / os.sysconf("SC_CLK_TCK"), own.ru_utime + own.ru_stime


def run(command, tries=8):
    """What the command prints, and the share of the processors' time that others took meanwhile."""
    for attempt in range(tries):
        start, (all_before, own_before) = time.monotonic(), busy()
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        wall, (all_after, own_after) = time.monotonic() - start, busy()
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}")
        others = (all_after - all_before - own_after + own_before) / wall / os.cpu_count()
        if others <= 0.03:
            break
        print(f"other processes took {others:.0%} of the processors", file=sys.stderr, flush=True)
        if attempt + 1 < tries:
            time.sleep(10)
    return {**json.loads(done.stdout), "others": round(max(others, 0.0), 3)}


def measure(who, what, batch, a):
    steps = 1 if what == "bilevel" and who != "archai" else a.steps
    if who == "archai":
        command = [str(a.archai), "bench", "--json", "--only", what, "--steps", str(steps)]
        printed = run(command + ["--batch", str(batch), "--threads", str(a.threads)])
        result = {**printed["measurements"][0], "others": printed["others"]}
    else:
        layout = "channels_last" if who == "compiled" else who
        command = [sys.executable, str(HERE / "torch_peer.py"), "--only", what, "--steps", str(steps), "--layout", layout]
        if who == "compiled":
            command += ["--compile"]
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
    p.add_argument("--compiled", action="store_true",
                   help="torch.compile too, on channels-last: needs a C++ compiler, and minutes per process before its first step")
    a = p.parse_args()
    whos = ["archai", "nchw", "channels_last"] + ["compiled"] * a.compiled
    more = " compiled ms | of compiled |" * a.compiled
    print("| step | batch | archai ms | PyTorch ms | channels-last ms | of PyTorch | of channels-last | memory of PyTorch |" + more)
    print("|---|---|---|---|---|---|---|---|" + "---|---|" * a.compiled)
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
        more = f" {m['compiled']:.0f} | **{m['archai'] / m['compiled']:.3f}** |" if a.compiled else ""
        print(
            f"| {NAMES[what]} | {batch} | {m['archai']:.0f} | {m['nchw']:.0f} | {m['channels_last']:.0f} "
            f"| **{m['archai'] / m['nchw']:.3f}** | **{m['archai'] / m['channels_last']:.3f}** "
            f"| {r['archai']:.0f} / {r['nchw']:.0f} MB = {r['archai'] / r['nchw']:.2f} |{more}",
            flush=True,
        )
    import torch

    print(f"\nPyTorch {torch.__version__}, {a.threads} threads, {platform.machine()}; medians of {a.rounds} rounds.")


if __name__ == "__main__":
    main()
