#!/usr/bin/env python3
"""Check ONNX files with the onnx package and run them with onnxruntime.

usage: onnx_check.py CASES_DIR [--json FILE]

CASES_DIR is what `cargo run --release -p archai-export --example interop_cases -- CASES_DIR` writes: folders with
`model.onnx` and `case.safetensors` (images, and the output that the network must give for them). Each file must pass the
full check of the onnx package, which infers the shape of every value anew, and give this output in onnxruntime, for all
images at once and for each alone. FILE gets the largest difference of each group of cases, as
{group: {"cases": number, "difference": largest}}.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

# Outputs are of the size of 1; what 32-bit sums differ by is far below.
TOLERANCE = 1e-4


def read_safetensors(path):
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    texts = header.pop("__metadata__")
    body = raw[8 + size :]
    tensors = {}
    for name, info in header.items():
        begin, end = info["data_offsets"]
        tensors[name] = np.frombuffer(body[begin:end], np.float32).reshape(info["shape"])
    return texts, tensors


def check(folder):
    """The group of a case, and the largest difference."""
    texts, tensors = read_safetensors(folder / "case.safetensors")
    path = str(folder / "model.onnx")
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (image,), (output,) = session.get_inputs(), session.get_outputs()
    if image.shape[0] != "batch" or output.shape[0] != "batch":
        raise ValueError(f"the batch is not free: {image.shape} -> {output.shape}")
    kind = np.uint8 if texts["input"] == "bytes" else np.float32
    images = tensors["images"].astype(kind)
    worst = 0.0
    for part, expected in [(images, tensors["output"])] + list(zip(images[:, None], tensors["output"][:, None])):
        (given,) = session.run([output.name], {image.name: part})
        if given.shape != expected.shape:
            raise ValueError(f"gives {given.shape}, not {expected.shape}")
        worst = max(worst, float(np.abs(given - expected).max()))
    if not worst <= TOLERANCE:  # NaN is no number that is small
        raise ValueError(f"differs by {worst}")
    return texts["group"], worst


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("cases", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    folders = sorted(path.parent for path in args.cases.glob("*/model.onnx"))
    if not folders:
        sys.exit(f"{args.cases} holds no cases")
    groups, failures = {}, 0
    for folder in folders:
        try:
            group, worst = check(folder)
        except Exception as problem:  # all cases are tried, and all that fail are named
            print(f"FAILED {folder.name}: {problem}")
            failures += 1
            continue
        entry = groups.setdefault(group, {"cases": 0, "difference": 0.0})
        entry["cases"] += 1
        entry["difference"] = max(entry["difference"], worst)
    for group, entry in sorted(groups.items()):
        print(f"{group:32} {entry['cases']:4} cases, largest difference {entry['difference']:.1e}")
    if args.json:
        lines = [f' {json.dumps(group)}: {json.dumps(entry)}' for group, entry in sorted(groups.items())]
        args.json.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{len(folders) - failures} of {len(folders)} cases agree to {TOLERANCE}")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
