#!/usr/bin/env python3
"""Run the written PyTorch sources and compare their logits with those that archai expects.

usage: pytorch_check.py CASES [--json FILE]

CASES is what `cargo run --release -p archai-export --example interop_cases -- CASES` writes: a folder per network with
  model.py, model.pt     the source and the state dict
  case.safetensors       images, the output expected for them, and which group of networks it stands for; where training
                         can go on from the file, `training0`, … are the outputs in training: logits, then towers

Each network is loaded as a user would load it (`load()`, which is strict), classifies the images, and then learns for
a few steps: the loss must fall, and afterwards the state dict must fit a new network. The largest difference of each group,
as a share of the largest output (or of 1), goes to FILE: {group: {"cases": number, "difference": largest}}.
"""

import argparse
import importlib.util
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

TOLERANCE = 1e-4


def read_safetensors(path):
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    body = raw[8 + size :]
    texts = header.pop("__metadata__", {})
    tensors = {}
    for name, info in header.items():
        begin, end = info["data_offsets"]
        numbers = np.frombuffer(body[begin:end], np.float32).reshape(info["shape"])
        tensors[name] = torch.from_numpy(numbers.copy())
    return tensors, texts


def import_source(path):
    spec = importlib.util.spec_from_file_location("model", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def learns(module, images):
    """Whether the loss falls when training goes on from the file."""
    network = module.load().train()
    if hasattr(network, "set_drop_path"):
        # A few steps show that training goes on, not how noise averages out.
        network.set_drop_path(0.0)
    labels = torch.arange(len(images)) % module.N_CLASSES
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01)
    losses = []
    for _ in range(5):
        logits, *aux = outputs(network, images)
        loss = F.cross_entropy(logits, labels) + sum(0.4 * F.cross_entropy(a, labels) for a in aux)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    module.Network().load_state_dict(network.state_dict())
    return min(losses[1:]) < losses[0]


def outputs(network, images):
    """Logits, then those of auxiliary towers."""
    given = network(images)
    return given if isinstance(given, tuple) else (given,)


def distance(given, expected):
    """The largest difference, as a share of the largest number expected or of 1."""
    if given.shape != expected.shape:
        raise AssertionError(f"shape {tuple(given.shape)}, expected {tuple(expected.shape)}")
    return (given - expected).abs().max().item() / max(1.0, expected.abs().max().item())


def check(case):
    """Group and largest difference of a case; none if it is about something that PyTorch's files have no choice of."""
    tensors, texts = read_safetensors(case / "case.safetensors")
    if texts["input"] != "normalised" or texts["group"].startswith("input"):
        return None
    module = import_source(case / "model.py")
    network = module.load()
    with torch.no_grad():
        logits = network(tensors["images"])
    difference = distance(logits, tensors["output"])
    in_training = [tensors[name] for name in sorted(tensors) if name.startswith("training")]
    if in_training:
        with torch.no_grad():
            given = outputs(network.train(), tensors["images"])
        if len(given) != len(in_training):
            raise AssertionError(f"{len(given)} outputs in training, expected {len(in_training)}")
        difference = max(difference, *map(distance, given, in_training))
    if not difference <= TOLERANCE:
        raise AssertionError(f"outputs differ by {difference:.2e} of the largest")
    if not learns(module, tensors["images"]):
        raise AssertionError("the loss does not fall")
    return texts["group"], difference


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.manual_seed(0)
    groups = defaultdict(list)
    failed = 0
    for path in sorted(args.cases.glob("*/model.py")):
        try:
            checked = check(path.parent)
            if checked:
                groups[checked[0]].append(checked[1])
        except Exception as error:
            failed += 1
            print(f"{path.parent.name}: {type(error).__name__}: {error}", file=sys.stderr)
    summary = {group: {"cases": len(own), "difference": max(own)} for group, own in sorted(groups.items())}
    if args.json:
        args.json.write_text(json.dumps(summary, indent=1) + "\n")
    for group, figures in summary.items():
        print(f"{group:40} {figures['cases']:4} {figures['difference']:.1e}")
    passed = sum(len(own) for own in groups.values())
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
