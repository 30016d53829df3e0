#!/usr/bin/env python3
"""Makes the embedded data set `fashion_mnist_mini` from the four files of Fashion-MNIST.

    apt-get install dataset-fashion-mnist
    python3 scripts/make_fashion_mnist_mini.py
    python3 scripts/make_fashion_mnist_mini.py --check    # compares, writes nothing

The first images of every class are taken, in their original order: 200 per class for training, 50 for testing.
Images stay as they are (28 x 28, grey). The result depends on the source files alone; the compressed bytes also on
the zlib that Python was built with, so --check compares what the files contain.
"""

import argparse
import gzip
import pathlib
import struct
import sys

CLASSES = 10
SPLITS = {"train": 200, "t10k": 50}
HERE = pathlib.Path(__file__).resolve().parent
OUT = HERE.parent / "crates" / "archai-data" / "assets" / "fashion_mnist_mini"


def read_idx(path):
    """The dimensions and the bytes of a gzip'd IDX file of unsigned bytes."""
    data = gzip.decompress(path.read_bytes())
    zeros, kind, n_dims = struct.unpack(">HBB", data[:4])
    if zeros != 0 or kind != 8:
        sys.exit(f"{path}: not an IDX file of unsigned bytes")
    dims = struct.unpack(f">{n_dims}I", data[4 : 4 + 4 * n_dims])
    return dims, data[4 + 4 * n_dims :]


def write_idx(dims, data):
    """An IDX file of unsigned bytes."""
    return struct.pack(">HBB", 0, 8, len(dims)) + struct.pack(f">{len(dims)}I", *dims) + data


def subset(source, split, per_class):
    """File name -> contents of the subset of one split."""
    (n, height, width), pixels = read_idx(source / f"{split}-images-idx3-ubyte.gz")
    (n_labels,), labels = read_idx(source / f"{split}-labels-idx1-ubyte.gz")
    if n != n_labels:
        sys.exit(f"{source}: {n} images but {n_labels} labels in '{split}'")
    size, left, chosen = height * width, [per_class] * CLASSES, []
    for index, label in enumerate(labels):
        if left[label] > 0:
            left[label] -= 1
            chosen.append(index)
    if any(left):
        sys.exit(f"{source}: too few images of some class in '{split}'")
    return {
        f"{split}-images-idx3-ubyte.gz": write_idx(
            (len(chosen), height, width), b"".join(pixels[i * size : (i + 1) * size] for i in chosen)
        ),
        f"{split}-labels-idx1-ubyte.gz": write_idx((len(chosen),), bytes(labels[i] for i in chosen)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=pathlib.Path, default=pathlib.Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--check", action="store_true", help="compare with the files in the repository")
    args = parser.parse_args()
    files = {}
    for split, per_class in SPLITS.items():
        files.update(subset(args.source, split, per_class))
    for name, contents in files.items():
        path = OUT / name
        if args.check:
            if gzip.decompress(path.read_bytes()) != contents:
                sys.exit(f"{path}: differs from what {args.source} gives")
        else:
            OUT.mkdir(parents=True, exist_ok=True)
            path.write_bytes(gzip.compress(contents, compresslevel=9, mtime=0))


if __name__ == "__main__":
    main()
