#!/usr/bin/env python3
"""A network with weights in 16 bits beside the same with 32: onnx_half.py MODEL.onnx HALF.onnx

Both must be valid and run in onnxruntime. Weights in 16 bits are off by 1/2048 at most, so logits that differ by more than a
hundredth of the largest one are wrong.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

TOLERANCE = 0.01


def logits(path, images=None):
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    if images is None:
        images = np.random.default_rng(0).standard_normal((8, *given.shape[1:])).astype(np.float32)
    return images, session.run(None, {given.name: images})[0]


if len(sys.argv) != 3:
    raise SystemExit(__doc__)
whole, half = sys.argv[1:]
images, expected = logits(whole)
_, found = logits(half, images)
difference = float(np.abs(found - expected).max() / np.abs(expected).max())
share = Path(half).stat().st_size / Path(whole).stat().st_size
print(f"16 bits: {share:.2f} of the size, logits within {difference:.1e} of the largest")
if not difference <= TOLERANCE:
    raise SystemExit(f"expected at most {TOLERANCE}")
if not share < 0.75:
    raise SystemExit("the file is hardly smaller: its weights are not in 16 bits")
