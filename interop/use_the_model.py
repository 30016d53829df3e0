#!/usr/bin/env python3
"""Run the snippets of README.md's "Use the model" on a trained model, and compare what they say of the same pictures.

usage: use_the_model.py RUN_DIR --archai PROGRAM --onnxruntime PYTHON --torch PYTHON [--rust PROGRAM] [--crate PROGRAM]

RUN_DIR is the evaluation of a run on the built-in images. Each snippet is run as it stands, in a folder with the model's
files and `picture.png`, and must name the class that the others name. PROGRAMs are the command line, the snippet in Rust
(the example use_model) and the crate that `archai export --to rust` wrote.
"""

import argparse
import gzip
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
ASSETS = HERE / "crates/archai-data/assets/fashion_mnist_mini"
N_PICTURES = 6


def pictures():
    """Test images as the network takes them: 32 x 32, black around."""
    raw = gzip.decompress((ASSETS / "t10k-images-idx3-ubyte.gz").read_bytes())
    _, n, height, width = struct.unpack(">4I", raw[:16])
    step = n // N_PICTURES
    for i in range(0, step * N_PICTURES, step):
        start = 16 + i * height * width
        rows = [raw[start + y * width : start + (y + 1) * width] for y in range(height)]
        left, top = (32 - width) // 2, (32 - height) // 2
        rows = [bytes(left) + row + bytes(32 - width - left) for row in rows]
        yield [bytes(32)] * top + rows + [bytes(32)] * (32 - height - top)


def png(rows):
    """A grey PNG file."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">2I5B", len(rows[0]), len(rows), 8, 0, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def snippets():
    """The blocks of the README's section, by what they are."""
    page = (HERE / "README.md").read_text()
    section = page.split("\n## Use the model\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", section, flags=re.S | re.M)
    found = {}
    for language, text in blocks:
        if language == "python":
            found["onnxruntime" if "onnxruntime" in text else "torch"] = text
        elif language == "rust":
            found["rust"] = text
        elif language == "sh" and "archai predict" in text:
            found["archai"] = next(line for line in text.splitlines() if line.startswith("archai predict"))
    return found


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("run", type=Path)
    # Not resolved: a Python of a virtual environment is a link.
    for name in ["archai", "onnxruntime", "torch"]:
        parser.add_argument(f"--{name}", type=os.path.abspath, required=True)
    for name in ["rust", "crate"]:
        parser.add_argument(f"--{name}", type=os.path.abspath)
    args = parser.parse_args()
    found = snippets()
    wanted = {"archai", "onnxruntime", "torch"} | ({"rust"} if args.rust else set())
    if wanted - found.keys():
        sys.exit(f"the README has no snippet for {', '.join(sorted(wanted - found.keys()))}")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for name in ["model.safetensors", "model.onnx", "model.pt", "model.py"]:
            shutil.copy(args.run / name, folder / name)
        raw = (folder / "model.safetensors").read_bytes()
        header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
        names = json.loads(header["__metadata__"]["class_names"])
        commands = {
            "onnxruntime": [args.onnxruntime, "-c", found["onnxruntime"]],
            "torch": [args.torch, "-c", found["torch"]],
            "archai": [args.archai, *found["archai"].split()[1:]],
        }
        # That the example is what the README shows is a test of the crate `archai`.
        if args.rust:
            commands["rust"] = [args.rust]
        if args.crate:
            commands["crate"] = [args.crate, "model.safetensors", "picture.pgm"]
        said, failures = set(), 0
        for i, rows in enumerate(pictures()):
            (folder / "picture.png").write_bytes(png(rows))
            (folder / "picture.pgm").write_bytes(b"P5\n32 32\n255\n" + b"".join(rows))
            answers = {}
            for name, command in commands.items():
                done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
                if done.returncode:
                    sys.exit(f"{name}: {' '.join(command[:1])} fails:\n{done.stderr}")
                # The class that stands first in what it says.
                places = [(done.stdout.find(label), label) for label in names if label in done.stdout]
                if not places:
                    sys.exit(f"{name} names no class:\n{done.stdout}")
                answers[name] = min(places)[1]
            print(f"picture {i}: " + ", ".join(f"{name} {answer}" for name, answer in answers.items()))
            failures += len(set(answers.values())) != 1
            said.update(answers.values())
        # A network that always says the same would agree with itself.
        if failures or len(said) < 2:
            sys.exit(f"{failures} of {N_PICTURES} pictures are classified differently; {len(said)} classes were named")


main()
