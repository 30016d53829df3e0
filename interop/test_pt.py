#!/usr/bin/env python3
"""Opens a run's weights with PyTorch and compares them with the safetensors file beside them.

    pip install torch safetensors numpy
    python3 interop/test_pt.py RUN_eval
"""

import pathlib
import sys

import torch
from safetensors.torch import load_file

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    state = torch.load(folder / "model.pt", weights_only=True)
    mapped = torch.load(folder / "model.pt", weights_only=True, mmap=True)
    native = load_file(folder / "model.safetensors")
    assert set(state) == set(mapped) == set(native), set(state) ^ set(native)
    for name, tensor in state.items():
        assert tensor.dtype == torch.float32 and tensor.is_contiguous(), name
        assert torch.equal(tensor, native[name]) and torch.equal(tensor, mapped[name]), name
    print(f"{len(state)} tensors, {sum(t.numel() for t in state.values())} numbers: model.pt equals model.safetensors")
