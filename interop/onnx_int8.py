#!/usr/bin/env python3
"""Quantised networks (model.int8.onnx) in onnxruntime.

    onnx_int8.py cases DIR              checks the cases that the example `interop_cases` wrote
    onnx_int8.py time MODEL INT8 [N]    prints how long a network takes with and without 8 bits, on N threads

A case passes if the file is valid, if onnxruntime computes everything between image and logits with its integer kernels (but for
functions that have none), and if its logits are those of our simulation, up to numbers halfway between two bytes: they may
differ by less than 8 bits cost.
"""

import statistics
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from onnx_check import read_safetensors

# What may be left of a quantised network once onnxruntime has optimised it.
INTEGER = {
    "QLinearConv", "QGemm", "QLinearAdd", "QLinearConcat", "QLinearAveragePool", "QLinearGlobalAveragePool",
    "QLinearLeakyRelu", "QLinearMul", "QLinearSigmoid", "NhwcMaxPool", "MaxPool", "QuantizeLinear",
}
# Functions without an integer kernel of their own: between bytes they are computed in 32 bits, by these operators.
FUNCTIONS = {
    "HardSwish": {"HardSwish", "HardSigmoid", "Mul"},
    "HardSigmoid": {"HardSigmoid"},
    "Sigmoid": {"Sigmoid", "Mul"},
    "Erf": {"Erf", "Add", "Mul", "Gelu"},
}
# They move bytes, or belong to the input (its normalisation), to the output, or to a constant of zeros.
HARMLESS = {
    "Transpose", "Flatten", "Reshape", "Slice", "Pad", "Unsqueeze", "Cast", "Sub", "Div", "Softmax", "Shape", "Concat",
    "ConstantOfShape", "DequantizeLinear",
}


def session(file, threads=1, optimised=None):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    if optimised:
        options.optimized_model_filepath = str(optimised)
    return ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def check(folder, optimised):
    texts, tensors = read_safetensors(folder / "case.safetensors")
    images, output, simulated = (tensors[name] for name in ("images", "output", "int8_logits"))
    if texts["input"] == "bytes":
        images = images.astype(np.uint8)
    path = folder / "model.int8.onnx"
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    written = {node.op_type for node in model.graph.node}
    functions = set().union(*(ops for op, ops in FUNCTIONS.items() if op in written))
    found = session(path, optimised=optimised).run(None, {"image": images})[0]
    nodes = Counter(node.op_type for node in onnx.load(optimised).graph.node)
    # ReLU6 of what is no convolution has no integer kernel.
    strange = {op for op in nodes if op not in INTEGER | HARMLESS | functions | {"Clip"}}
    assert not strange, f"{folder.name}: not computed in integers: {strange}"
    # Networks for tables have no convolution.
    assert nodes["QGemm"] and (nodes["QLinearConv"] or "Conv" not in written), f"{folder.name}: {nodes}"
    if "softmax" in texts["group"]:
        rows = np.exp(simulated - simulated.max(1, keepdims=True))
        simulated = rows / rows.sum(1, keepdims=True)
    scale = np.abs(output).max()
    off, cost = np.abs(found - simulated).max() / scale, np.abs(simulated - output).max() / scale
    assert off <= cost + 0.01, f"{folder.name}: {off:.3f} from the simulation; 8 bits cost {cost:.3f}"
    return texts["group"], off, cost, nodes


def cases(folder):
    folders = sorted(path.parent for path in Path(folder).glob("*/model.int8.onnx"))
    assert folders, f"no case in {folder}"
    optimised = Path(folder) / "optimised.onnx"
    total, worst = Counter(), (0.0, "")
    for case in folders:
        group, off, _, nodes = check(case, optimised)
        total += nodes
        worst = max(worst, (off, group))
    print(f"{len(folders)} quantised networks; farthest from the simulation: {worst[0]:.4f} of the largest logit ({worst[1]})")
    print(", ".join(f"{n} {op}" for op, n in total.most_common(8)))


def median_ms(run, images):
    for _ in range(3):
        run(images)
    times = []
    while len(times) < 20 or (sum(times) < 2 and len(times) < 500):
        begun = time.perf_counter()
        run(images)
        times.append(time.perf_counter() - begun)
    return 1e3 * statistics.median(times)


def measure(float_file, int8_file, threads=2):
    for batch in (1, 96):
        row = []
        for file in (float_file, int8_file):
            s = session(file, int(threads))
            shape = s.get_inputs()[0].shape[1:]
            images = np.random.default_rng(1).normal(size=(batch, *shape)).astype(np.float32)
            if s.get_inputs()[0].type == "tensor(uint8)":
                images = np.random.default_rng(1).integers(0, 256, images.shape, np.uint8)
            row.append(median_ms(lambda x: s.run(None, {"image": x}), images))
        print(f"batch {batch}: {row[0]:.2f} ms in 32 bits, {row[1]:.2f} ms in 8 bits ({row[1] / row[0]:.2f})")
    sizes = [Path(file).stat().st_size for file in (float_file, int8_file)]
    print(f"size: {sizes[0]} and {sizes[1]} bytes ({sizes[1] / sizes[0]:.2f})")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["cases", folder]:
            cases(folder)
        case ["time", *files] if 2 <= len(files) <= 3:
            measure(*files)
        case _:
            sys.exit(__doc__)
