"""The README's discrete search, in toy size: a space of one's own, two objectives, hard limits, real trainings, a kill in the
middle, a plot, an export. The exported network is counted here, from its ONNX file alone, and compared with the limits and with
what the search says of it.

    python search_check.py target/release/archai [--out FOLDER]

Needs onnx."""

import argparse
import csv
import json
import math
import pathlib
import signal
import subprocess
import tempfile
import time

import onnx
from onnx import shape_inference

LIMITS = {"params": 20_000, "macs": 1_000_000}
README = pathlib.Path(__file__).resolve().parent.parent / "README.md"


def space_of_readme():
    """The space that the README shows."""
    text = README.read_text()
    block = next(part for part in text.split("```yaml\n")[1:] if part.startswith("# chain.yaml\n"))
    return block.split("```")[0]


def counted(path):
    """Learnt numbers and multiply-adds for one picture of an ONNX file: those of convolutions, norms and linear layers."""
    model = shape_inference.infer_shapes(onnx.load(path))
    graph = model.graph
    sizes = {t.name: list(t.dims) for t in graph.initializer}
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in [*graph.value_info, *graph.output, *graph.input]
    }
    params = macs = 0
    known = {"Conv", "BatchNormalization", "Gemm", "MatMul"}
    for node in graph.node:
        held = [sizes[name] for name in node.input if name in sizes]
        if node.op_type == "Conv":
            params += sum(math.prod(dims) for dims in held)
            height, width = shapes[node.output[0]][2:]
            macs += height * width * math.prod(held[0])
        elif node.op_type == "BatchNormalization":
            # Scale and shift are learnt, mean and variance are not.
            params += sum(math.prod(sizes[name]) for name in node.input[1:3])
        elif node.op_type in {"Gemm", "MatMul"}:
            params += sum(math.prod(dims) for dims in held)
            macs += math.prod(held[0])
        else:
            assert not any(math.prod(dims) > 4 for dims in held), f"{node.op_type} holds numbers that nobody counts"
    assert any(node.op_type in known for node in graph.node)
    return {"params": params, "macs": macs}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("archai", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    archai = options.archai.resolve()
    folder = options.out or pathlib.Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "chain.yaml").write_text(space_of_readme())

    def run(*args):
        done = subprocess.run([archai, *args], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{args} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    limits = [part for name, most in LIMITS.items() for part in ("--limit", f"{name}<={most}")]
    command = ["search", "run", "chain.yaml", "--objectives", "accuracy,macs", *limits, "--budget", "5", "--dir", "chain"]
    journal = folder / "chain" / "journal.log"

    # It is killed in its third training.
    search = subprocess.Popen([archai, *command], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    since = time.monotonic()
    while not journal.exists() or journal.read_text().count('"event":"reported"') < 7:
        assert search.poll() is None, "the search ended before it could be killed"
        assert time.monotonic() - since < 300, "the search does not get on"
        time.sleep(0.01)
    search.send_signal(signal.SIGKILL)
    search.wait()
    before = journal.read_text()
    out = run(*command)
    print(out)
    after = journal.read_text()
    assert after.startswith(before.rsplit("\n", 1)[0]), "the journal was not gone on with"
    run("verify", "chain")

    # Every proposal is within the limits.
    events = [json.loads(line[17:]) for line in after.splitlines()]
    proposed = [event["network"] for event in events if event["event"] == "proposed" and "network" in event]
    assert len(proposed) == 5 and len({network["hash"] for network in proposed}) == 5
    for network in proposed:
        for name, most in LIMITS.items():
            assert network["statics"][name] <= most, network

    # The plot, the tables.
    run("search", "front", "chain", "-o", "front.svg")
    drawn = (folder / "front.svg").read_text()
    assert drawn.startswith("<svg") and 'class="front"' in drawn, drawn[:200]
    run("search", "export", "chain", "--to", "search_state", "-o", "search_state.csv")
    rows = list(csv.DictReader((folder / "search_state.csv").open()))
    assert len(rows) == 5 and any(row["is_pareto"] == "True" for row in rows), rows

    # The best network, trained on all of the data, exported, counted from its file.
    best = json.loads(run("search", "best", "chain", "--json"))
    run("search", "best", "chain", "-o", "best.yaml")
    run("train", "best.yaml", "--logdir", "logdir", "nas.eval.loader.dataset.max_batches=-1")
    found = counted(folder / "logdir/manual_fashion_mnist_mini_best_eval/model.onnx")
    print(f"{best['id']}: accuracy {best['values']['accuracy']:.4f} in the search; counted from its ONNX file: {found}")
    for name, most in LIMITS.items():
        assert found[name] == best["values"][name], f"{name}: {found[name]} in the file, {best['values'][name]} in the search"
        assert found[name] <= most
    assert best["values"]["accuracy"] > 0.5, "the networks did not learn"


if __name__ == "__main__":
    main()
