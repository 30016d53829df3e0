#!/usr/bin/env python3
"""archai's loader and torchvision's side by side: the same pictures, the same transforms, in turn (A B A B …), each in a
process of its own.

    apt install python3-torch python3-torchvision python3-pil      # or from PyPI, several GB
    cargo build --release -p archai-data --example loader_speed
    python3 bench/loader.py > table.md

It makes a folder of photograph-like JPEG files (500×375, as ImageNet's), and measures a pass over it for each number of
loader threads (torchvision: processes): a random part of each picture scaled to 224×224, mirrored at random, normalised. Only
on a quiet machine: see compare.py. The table goes to standard output as Markdown, every measurement to standard error.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from compare import run  # noqa: E402


def make(folder, n):
    """Smooth random pictures with some detail, so that their files have the size of photographs."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(1)
    for i in range(n):
        rough = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((500, 375), Image.BICUBIC)
        detail = rng.normal(0, 12, (375, 500, 1))
        pixels = np.clip(np.asarray(rough) + detail, 0, 255).astype(np.uint8)
        place = folder / "train" / f"class{i % 10}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{i:04}.jpg", quality=85)


def peer(args):
    """A pass of torchvision's loader, printed as JSON."""
    import torch
    from torchvision import datasets, transforms

    torch.set_num_threads(1)
    steps = transforms.Compose([
        transforms.RandomResizedCrop(args.size),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ])
    data = datasets.ImageFolder(f"{args.peer}/train", steps)
    loader = torch.utils.data.DataLoader(
        data, batch_size=64, shuffle=True, num_workers=args.workers, persistent_workers=args.workers > 0
    )
    for _ in range(2):
        start = time.monotonic()
        for _batch in loader:
            pass
        seconds = time.monotonic() - start
    print(json.dumps({"images": len(data), "workers": args.workers, "seconds": seconds, "images_per_s": len(data) / seconds}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--example", default=str(HERE.parent / "target/release/examples/loader_speed"))
    parser.add_argument("--python", default=sys.executable, help="a Python with torch and torchvision")
    parser.add_argument("--pictures", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        return peer(args)
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), args.pictures)
        print("| threads | archai, images/s | torchvision, images/s | ratio |\n|---:|---:|---:|---:|")
        for threads in map(int, args.threads.split(",")):
            size = ["--workers", str(threads), "--size", str(args.size)]
            commands = {
                "archai": [args.example, folder, *size],
                "torchvision": [args.python, __file__, "--peer", folder, *size],
            }
            speeds = {name: [] for name in commands}
            for _ in range(args.rounds):
                for name, command in commands.items():
                    found = run(command)
                    print(json.dumps({"by": name, **found}), file=sys.stderr, flush=True)
                    speeds[name].append(found["images_per_s"])
            ours, theirs = (statistics.median(speeds[name]) for name in commands)
            print(f"| {threads} | {ours:.0f} | {theirs:.0f} | {ours / theirs:.2f} |", flush=True)


main()
