#!/usr/bin/env python3
"""Checks that a model.pt is what PyTorch's safe loader accepts, with Python's standard library alone.

    python3 interop/check_pt.py RUN_eval/model.pt

The unpickler below admits the calls that `torch.load(..., weights_only=True)` admits for a plain state dict, and the
opcodes of pickle protocol 2; everything else is an error. With PyTorch at hand, interop/test_pt.py goes further.
"""

import collections
import io
import math
import pickle
import pickletools
import struct
import sys
import zipfile

OPCODES = {
    "PROTO", "GLOBAL", "EMPTY_TUPLE", "REDUCE", "MARK", "BINUNICODE", "TUPLE", "BINPERSID", "BININT1", "BININT2",
    "BININT", "LONG1", "NEWFALSE", "SETITEMS", "STOP",
}


class FloatStorage:
    """Stands for torch.FloatStorage."""


Tensor = collections.namedtuple("Tensor", "shape values")


def rebuild_tensor(storage, offset, size, stride, requires_grad, hooks):
    expected, run = [], 1
    for n in reversed(size):
        expected.insert(0, run)
        run *= max(n, 1)
    assert offset == 0 and tuple(expected) == stride, f"stride {stride} of {size} is not row-major"
    assert requires_grad is False and hooks == collections.OrderedDict()
    assert len(storage) == math.prod(size), f"{len(storage)} numbers for shape {size}"
    return Tensor(size, storage)


class Unpickler(pickle.Unpickler):
    def __init__(self, data, archive, folder):
        super().__init__(io.BytesIO(data))
        self.archive, self.folder = archive, folder

    def find_class(self, module, name):
        allowed = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
            ("torch", "FloatStorage"): FloatStorage,
        }
        return allowed[module, name]

    def persistent_load(self, pid):
        kind, storage, key, place, count = pid
        assert (kind, storage, place) == ("storage", FloatStorage, "cpu"), pid
        data = self.archive.read(f"{self.folder}/data/{key}")
        assert len(data) == 4 * count, f"data/{key}: {len(data)} bytes for {count} numbers"
        return struct.unpack(f"<{count}f", data)


def load(path):
    """The state dict as an ordered dictionary of shapes and numbers."""
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None, "checksum"
        folders = {name.split("/")[0] for name in archive.namelist()}
        assert len(folders) == 1, f"one top folder expected, found {folders}"
        folder = folders.pop()
        with open(path, "rb") as raw:
            for info in archive.infolist():
                assert info.compress_type == zipfile.ZIP_STORED, f"{info.filename} is compressed"
                raw.seek(info.header_offset + 26)
                name_length, extra_length = struct.unpack("<HH", raw.read(4))
                start = info.header_offset + 30 + name_length + extra_length
                assert start % 64 == 0, f"{info.filename} starts at {start}, not at a multiple of 64"
        assert archive.read(f"{folder}/version") == b"3\n"
        assert archive.read(f"{folder}/byteorder") == b"little"
        data = archive.read(f"{folder}/data.pkl")
        for opcode, argument, _ in pickletools.genops(data):
            assert opcode.name in OPCODES, f"opcode {opcode.name}"
            assert opcode.name != "PROTO" or argument == 2, f"protocol {argument}"
        return Unpickler(data, archive, folder).load()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    state = load(sys.argv[1])
    assert type(state) is collections.OrderedDict and state, "an ordered dictionary with something in it expected"
    for name, tensor in state.items():
        assert isinstance(name, str) and all(map(math.isfinite, tensor.values)), f"{name} holds NaN or infinity"
    print(f"{sys.argv[1]}: {len(state)} tensors, {sum(math.prod(t.shape) for t in state.values())} numbers, all well")
