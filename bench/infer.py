#!/usr/bin/env python3
"""archai's inference and ONNX Runtime's CPU provider side by side: the same trained network on the same images, in turn
(A B A B …), each in a process of its own.

    python3 -m venv venv && venv/bin/pip install onnxruntime numpy
    cargo build --release -p archai-infer --example latency
    venv/bin/python bench/infer.py > table.md

Without --model it makes the network of the DARTS paper's second-order cells (20 cells, 36 channels) with random weights.
First it checks that both give the same logits. Only on a quiet machine: see compare.py, whose repetitions it uses. The table
goes to standard output as Markdown, every single measurement to standard error as JSON lines.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from compare import run  # noqa: E402


def images(batch, shape):
    """The images of the program `latency`."""
    import numpy as np

    numbers = np.arange(batch * int(np.prod(shape)), dtype=np.float32)
    return np.sin(numbers * np.float32(0.37)).reshape(batch, *shape)


def session(path, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def logits(net, x):
    return net.run(None, {net.get_inputs()[0].name: x})[0]


def onnx_runtime(a):
    """One measurement of ONNX Runtime, printed as JSON."""
    start = time.perf_counter()
    net = session(a.onnx, a.threads)
    shape = net.get_inputs()[0].shape[1:]
    logits(net, images(1, shape))
    first = time.perf_counter() - start
    x = images(a.ort, shape)
    times = []
    for i in range(a.runs + 5):
        start = time.perf_counter()
        logits(net, x)
        times.append(time.perf_counter() - start)
    times = sorted(times[5:])
    ms = {"ms": times[len(times) // 2] * 1e3, "min_ms": times[0] * 1e3, "first_ms": first * 1e3}
    print(json.dumps({"batch": a.ort, "threads": a.threads, **ms}))


def same(a):
    """The largest difference between the logits of both."""
    import numpy as np

    printed = subprocess.run([str(a.latency), str(a.model), "--batch", "3", "--logits"], stdout=subprocess.PIPE, check=True, text=True)
    ours = np.array([json.loads(line) for line in printed.stdout.splitlines()])
    net = session(a.onnx, a.threads)
    theirs = logits(net, images(3, net.get_inputs()[0].shape[1:]))
    difference = float(np.abs(ours - theirs).max() / max(1.0, np.abs(theirs).max()))
    if not difference < 1e-4:
        raise SystemExit(f"the logits differ by {difference}: {ours[0]} and {theirs[0]}")
    return difference


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--latency", type=Path, default=HERE.parent / "target/release/examples/latency")
    p.add_argument("--model", type=Path, help="a safetensors file of archai's; its ONNX file stands beside it")
    p.add_argument("--onnx", type=Path)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--runs", type=int, default=20)
    p.add_argument("--batches", default="1,96")
    p.add_argument("--ort", type=int, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.ort:
        return onnx_runtime(a)
    with tempfile.TemporaryDirectory() as folder:
        if a.model is None:
            subprocess.run([str(a.latency), "--make", "darts_v2", folder], check=True, stdout=sys.stderr)
            a.model = Path(folder) / "darts_v2.safetensors"
        a.onnx = a.onnx or a.model.with_suffix(".onnx")
        difference = same(a)
        print("| images | archai ms | ONNX Runtime ms | share | fastest of both | share |")
        print("|---|---|---|---|---|---|")
        first = []
        for batch in map(int, a.batches.split(",")):
            runs = a.runs if batch > 8 else 10 * a.runs
            common = ["--threads", str(a.threads), "--runs", str(runs)]
            commands = {
                "archai": [str(a.latency), str(a.model), "--batch", str(batch)],
                "ort": [sys.executable, __file__, "--ort", str(batch), "--onnx", str(a.onnx)],
            }
            found = {who: [] for who in commands}
            for _ in range(a.rounds):
                for who, command in commands.items():
                    result = run(command + common)
                    found[who].append(result)
                    print(json.dumps({"who": who, **result}), file=sys.stderr, flush=True)
            ms = {who: statistics.median(r["ms"] for r in results) for who, results in found.items()}
            least = {who: min(r["min_ms"] for r in results) for who, results in found.items()}
            print(
                f"| {batch} | {ms['archai']:.2f} | {ms['ort']:.2f} | **{ms['archai'] / ms['ort']:.3f}** "
                f"| {least['archai']:.2f} / {least['ort']:.2f} | {least['archai'] / least['ort']:.3f} |",
                flush=True,
            )
            first += [r["first_ms"] for r in found["archai"]]
    import onnxruntime

    print(
        f"\nONNX Runtime {onnxruntime.__version__}, {a.threads} threads, {platform.machine()}; medians of {a.rounds} rounds. First "
        f"logits of a process, reading the file included: {statistics.median(first):.0f} ms. Largest difference of logits: "
        f"{difference:.1e}."
    )


if __name__ == "__main__":
    main()
