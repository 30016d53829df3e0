#!/usr/bin/env python3
"""Weights of the original DARTS code's layout, taken over by `archai import`, and what becomes of them.

usage: darts_import.py --fixtures DIR        write the small files that the tests of archai-export read
       darts_import.py ARCHAI [WORK]         make networks of that layout, import them, export them as PyTorch, compare logits

The second form fails if any logit differs by more than 1e-4 (relative to the largest logit, if that is above 1), and prints the
largest difference.
"""

import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from darts_layout import Network, random_genotype, randomise, text_of


def write_safetensors(path, tensors):
    header, body = {}, b""
    for name, t in tensors.items():
        data = t.detach().contiguous().numpy().astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(t.shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(len(text).to_bytes(8, "little") + text + body)


def images(n, size, seed):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


def fixtures(folder):
    folder.mkdir(parents=True, exist_ok=True)
    small = random_genotype(1)
    net = randomise(Network(small, c=2, layers=5, classes=3), 1)
    torch.save(net.state_dict(), folder / "cifar.pt")
    # The older form, within a checkpoint of a parallel training.
    parallel = {f"module.{name}": t for name, t in net.state_dict().items()}
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    sum(p.sum() for p in net.parameters()).backward()
    optimizer.step()
    randomise(net, 1)
    checkpoint = {"epoch": 7, "best_acc_top1": 97.5, "state_dict": parallel}
    torch.save(checkpoint, folder / "cifar_checkpoint_old.pt", _use_new_zipfile_serialization=False)
    large = random_genotype(2)
    big = randomise(Network(large, c=2, layers=5, classes=5, imagenet=True), 2)
    torch.save(big.state_dict(), folder / "imagenet.pt")
    (folder / "genotypes.py").write_text(f"CIFAR = {text_of(small)}\nIMAGENET = {text_of(large)}\n")
    for name, network, size in (("cifar", net, 32), ("imagenet", big, 224)):
        x = images(1, size, 3)
        # Images are many numbers: the test makes the same ones from the formula.
        x = torch.sin(torch.arange(x.numel(), dtype=torch.float64) * 0.37).reshape(x.shape)
        logits = network.double()(x)
        write_safetensors(folder / f"{name}_logits.safetensors", {"logits": logits})
    # Numbers of all kinds that are read, and views that are not contiguous.
    t = torch.arange(12, dtype=torch.float32).reshape(3, 4) / 8 - 0.5
    kinds = {"f64": t.double(), "f32": t, "f16": t.half(), "bf16": t.bfloat16(), "i64": torch.arange(5)}
    kinds |= {"transposed": t.t(), "column": t[:, 1], "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3)}
    kinds["parameter"] = torch.nn.Parameter(t)
    torch.save(kinds, folder / "kinds.pt")
    torch.save(kinds, folder / "kinds_old.pt", _use_new_zipfile_serialization=False)


def module_of(path):
    spec = importlib.util.spec_from_file_location("model", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check(archai, work):
    worst = 0.0
    for seed in range(6):
        imagenet, old, parallel, tower = seed in (4, 5), seed % 2 == 1, seed % 3 == 0, seed % 2 == 0
        genotype = random_genotype(seed)
        network = Network(genotype, c=4, layers=5 + seed, classes=7, imagenet=imagenet, tower=tower)
        randomise(network, seed)
        state = network.state_dict()
        state = {f"module.{name}": t for name, t in state.items()} if parallel else state
        weights, model, out = work / f"{seed}.pt", work / f"{seed}.safetensors", work / f"exported_{seed}"
        torch.save({"epoch": 3, "state_dict": state} if seed == 2 else state, weights, _use_new_zipfile_serialization=not old)
        run = lambda *words: subprocess.run([archai, *map(str, words)], check=True)
        run("import", weights, "--genotype", text_of(genotype), "--out", model)
        run("export", model, "--to", "pytorch", "--out", out)
        exported = module_of(next(out.rglob("*.py"))).Network()
        exported.load_state_dict(torch.load(next(out.rglob("*.pt"))), strict=True)
        x = images(2, 224 if imagenet else 32, seed)
        with torch.no_grad():
            ours, theirs = exported.eval()(x), network(x)
        difference = (ours - theirs).abs().max().item() / max(1.0, theirs.abs().max().item())
        worst = max(worst, difference)
        print(f"network {seed}: largest difference of a logit {difference:.2e}")
        if not difference <= 1e-4:
            sys.exit(f"the imported network {seed} computes something else; its files are in {work}")
    print(f"largest difference {worst:.2e}")


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--fixtures":
        fixtures(Path(sys.argv[2]))
    elif len(sys.argv) in (2, 3) and not sys.argv[1].startswith("-"):
        work = Path(sys.argv[2]) if len(sys.argv) == 3 else Path(tempfile.mkdtemp())
        work.mkdir(parents=True, exist_ok=True)
        check(sys.argv[1], work)
    else:
        sys.exit(__doc__)
