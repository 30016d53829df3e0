#!/usr/bin/env python3
"""Rebuild an evaluated network in plain PyTorch and compare its logits with archai's.

usage: torch_eval.py EVAL_DIR

EVAL_DIR is a run's evaluation directory. Read from it:
  full_model_desc.yaml    the description, from which the network is built here, independently of archai's code
  model.pt                opened with torch.load(weights_only=True) and a strict load_state_dict; auxiliary towers, which are
                          for training, are not in it
  model.py                the network's source, written by archai: must give the same logits
  model.yaml              class names, image size and normalisation
  model.safetensors       must hold the same numbers
  reference.safetensors   images and logits written by `cargo run --release --example load_model -- EVAL_DIR`
"""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import nn
from torch.nn import functional as F


def read_safetensors(path):
    raw = Path(path).read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    body = raw[8 + size :]
    types = {"F32": np.float32, "F64": np.float64, "I64": np.int64}
    out = {}
    for name, info in header.items():
        if name == "__metadata__":
            continue
        begin, end = info["data_offsets"]
        out[name] = np.frombuffer(body[begin:end], types[info["dtype"]]).reshape(info["shape"])
    return out


def import_source(path):
    spec = importlib.util.spec_from_file_location("model", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def norm(channels):
    return nn.BatchNorm2d(channels)


def conv(cin, cout, k, stride=1, padding=0, dilation=1, groups=1):
    return nn.Conv2d(cin, cout, k, stride, padding, dilation, groups, bias=False)


class Separable(nn.Module):
    """ReLU, depthwise, pointwise, norm; once (dilated) or twice (separable)."""

    def __init__(self, op, k, dilation, times):
        super().__init__()
        self.times = times
        for t in range(times):
            stride = op["stride"] if t == 0 else 1
            cin, cout = op["ch_in"], op["ch_in"] if t + 1 < times else op["ch_out"]
            setattr(self, f"conv{2 * t + 1}", conv(cin, cin, k, stride, dilation * (k // 2), dilation, cin))
            setattr(self, f"conv{2 * t + 2}", conv(cin, cout, 1))
            setattr(self, f"bn{t + 1}", norm(cout))

    def forward(self, x):
        for t in range(self.times):
            x = getattr(self, f"conv{2 * t + 1}")(F.relu(x))
            x = getattr(self, f"bn{t + 1}")(getattr(self, f"conv{2 * t + 2}")(x))
        return x


class FactorizedReduce(nn.Module):
    def __init__(self, op):
        super().__init__()
        self.conv1 = conv(op["ch_in"], op["ch_out"] // 2, 1, 2)
        self.conv2 = conv(op["ch_in"], op["ch_out"] // 2, 1, 2)
        self.bn1 = norm(op["ch_out"])

    def forward(self, x):
        x = F.relu(x)
        return self.bn1(torch.cat([self.conv1(x), self.conv2(x[:, :, 1:, 1:])], 1))


class ReluConvNorm(nn.Module):
    def __init__(self, op):
        super().__init__()
        self.conv1 = conv(op["ch_in"], op["ch_out"], 1)
        self.bn1 = norm(op["ch_out"])

    def forward(self, x):
        return self.bn1(self.conv1(F.relu(x)))


class Stem(nn.Module):
    def __init__(self, op):
        super().__init__()
        self.conv1 = conv(op["ch_in"], op["ch_out"], 3, 1, 1)
        self.bn1 = norm(op["ch_out"])

    def forward(self, x):
        return self.bn1(self.conv1(x))


def make(op):
    op = {"stride": 1, **op}
    name = op["name"]
    if name in ("max_pool_3x3", "avg_pool_3x3"):
        pool = nn.MaxPool2d if name.startswith("max") else lambda *a, **k: nn.AvgPool2d(*a, **k, count_include_pad=False)
        return pool(3, op["stride"], padding=1)
    if name == "skip_connect":
        return nn.Identity() if op["stride"] == 1 else FactorizedReduce(op)
    if name.startswith("sep_conv_"):
        return Separable(op, int(name[-1]), 1, 2)
    if name.startswith("dil_conv_"):
        return Separable(op, int(name[-1]), 2, 1)
    if name == "prepr_reduce":
        return FactorizedReduce(op)
    if name == "prepr_normal":
        return ReluConvNorm(op)
    if name == "stem_conv3x3":
        return Stem(op)
    raise SystemExit(f"this script does not know the op {name}")


class Classifier(nn.Module):
    def __init__(self, cin, classes):
        super().__init__()
        self.linear1 = nn.Linear(cin, classes)

    def forward(self, x):
        return self.linear1(x.flatten(1))


class Named(nn.Module):
    """Children under arbitrary names, so that the state dict has archai's names."""

    def __init__(self, **children):
        super().__init__()
        for key, child in children.items():
            self.add_module(key, child)


class Network(nn.Module):
    def __init__(self, desc):
        super().__init__()
        self.desc = desc
        shared = len(desc["stems"]) == 1
        for i, stem in enumerate(desc["stems"]):
            self.add_module("stem" if shared else f"stem{i}", make(stem["op"]))
        for i, cell in enumerate(desc["cells"]):
            nodes = {}
            for n, node in enumerate(cell["nodes"]):
                nodes[f"node{n}"] = Named(
                    **{f"edge{e}": Named(**{edge["op"]["name"]: make(edge["op"])}) for e, edge in enumerate(node["edges"])}
                )
            self.add_module(f"cell{i}", Named(pre0=make(cell["stems"][0]), pre1=make(cell["stems"][1]), **nodes))
        self.classifier = Classifier(desc["logits"]["ch_in"], desc["n_classes"])

    def forward(self, x):
        stems = []
        for i, stem in enumerate(self.desc["stems"]):
            module = self.stem if len(self.desc["stems"]) == 1 else getattr(self, f"stem{i}")
            source = x if stem["input"] == "image" else stems[stem["input"]["stem"]]
            stems.append(module(source))
        s0, s1 = (stems[i] for i in self.desc["stem_outputs"])
        for i, cell in enumerate(self.desc["cells"]):
            module = getattr(self, f"cell{i}")
            states = [module.pre0(s0), module.pre1(s1)]
            for n, node in enumerate(cell["nodes"]):
                total = 0
                for e, edge in enumerate(node["edges"]):
                    op = getattr(getattr(getattr(module, f"node{n}"), f"edge{e}"), edge["op"]["name"])
                    total = total + op(states[edge["inputs"][0]])
                states.append(total)
            s0, s1 = s1, torch.cat([states[k] for k in cell["concat"]], 1)
        return self.classifier(s1.mean((2, 3)))


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    run = Path(sys.argv[1])
    desc = yaml.safe_load((run / "full_model_desc.yaml").read_text())
    state = torch.load(run / "model.pt", weights_only=True)
    native = read_safetensors(run / "model.safetensors")
    info = yaml.safe_load((run / "model.yaml").read_text())
    assert info["n_classes"] == desc["n_classes"] and len(info["mean"]) == len(info["std"]) == info["channels"], info
    assert info["size"] == [desc["input"]["height"], desc["input"]["width"]], info
    assert set(state) == set(native), set(state) ^ set(native)
    for name, tensor in state.items():
        assert np.array_equal(tensor.numpy(), native[name]), name

    net = Network(desc)
    missing, unexpected = net.load_state_dict(state, strict=False)
    # PyTorch counts the batches that a norm has seen; archai has no such buffer.
    missing = [m for m in missing if not m.endswith("num_batches_tracked")]
    assert not missing and not unexpected, (missing, unexpected)

    reference = read_safetensors(run / "reference.safetensors")
    net.eval()
    with torch.no_grad():
        logits = net(torch.from_numpy(reference["images"].copy())).numpy()
        written = import_source(run / "model.py").load()
        from_source = written(torch.from_numpy(reference["images"].copy())).numpy()
    error = float(max(np.abs(given - reference["logits"]).max() for given in (logits, from_source)))
    size = float(np.abs(reference["logits"]).max())
    print(f"{len(state)} tensors, {sum(t.numel() for t in state.values())} numbers; "
          f"logits differ by at most {error:.2e} (largest logit {size:.3f})")
    assert size > 1e-3 and error <= 1e-5 * max(size, 1.0), "PyTorch and archai disagree"
    print("1 passed, 0 failed")


if __name__ == "__main__":
    main()
