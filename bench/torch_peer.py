#!/usr/bin/env python3
"""The same steps as `archai bench`, in plain PyTorch: the peer that archai's engine is measured against.

One measurement per process:  torch_peer.py --only supernet|bilevel|cell|eval|infer|nasbench201|resnet20 --layout nchw|channels_last
prints one JSON object: {"ms": median milliseconds of a step, "peak_rss_mb": …, …}.

The networks are written here from the DARTS paper's description (Liu et al., 2019, sections 2 and 3 and appendix A),
with PyTorch's own modules and autograd: a user's straightforward implementation, running statistics included.
"""

import argparse
import json
import resource
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F

PRIMITIVES = ["max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5", "none"]
V2_NORMAL = [("sep_conv_3x3", 0), ("sep_conv_3x3", 1), ("sep_conv_3x3", 0), ("sep_conv_3x3", 1),
             ("sep_conv_3x3", 1), ("skip_connect", 0), ("skip_connect", 0), ("dil_conv_3x3", 2)]
V2_REDUCE = [("max_pool_3x3", 0), ("max_pool_3x3", 1), ("skip_connect", 2), ("max_pool_3x3", 1),
             ("max_pool_3x3", 0), ("skip_connect", 2), ("skip_connect", 2), ("max_pool_3x3", 1)]


def norm(c, affine):
    return nn.BatchNorm2d(c, affine=affine)


class FactorizedReduce(nn.Module):
    def __init__(self, cin, cout, affine):
        super().__init__()
        self.a = nn.Conv2d(cin, cout // 2, 1, 2, bias=False)
        self.b = nn.Conv2d(cin, cout - cout // 2, 1, 2, bias=False)
        self.norm = norm(cout, affine)

    def forward(self, x):
        x = F.relu(x)
        return self.norm(torch.cat([self.a(x), self.b(x[:, :, 1:, 1:])], 1))


def relu_conv_norm(cin, cout, affine):
    return nn.Sequential(nn.ReLU(), nn.Conv2d(cin, cout, 1, bias=False), norm(cout, affine))


def separable_part(c, k, stride, dilation, affine):
    return [nn.ReLU(), nn.Conv2d(c, c, k, stride, dilation * (k // 2), dilation, c, bias=False),
            nn.Conv2d(c, c, 1, bias=False), norm(c, affine)]


class Zero(nn.Module):
    def __init__(self, stride):
        super().__init__()
        self.stride = stride

    def forward(self, x):
        return x[:, :, :: self.stride, :: self.stride] * 0.0


def make(name, c, stride, affine, pool_norm):
    if name == "none":
        return Zero(stride)
    if name == "skip_connect":
        return nn.Identity() if stride == 1 else FactorizedReduce(c, c, affine)
    if name in ("max_pool_3x3", "avg_pool_3x3"):
        pool = nn.MaxPool2d(3, stride, 1) if name[0] == "m" else nn.AvgPool2d(3, stride, 1, count_include_pad=False)
        return nn.Sequential(pool, norm(c, False)) if pool_norm else pool
    k = int(name[-1])
    if name.startswith("sep"):
        return nn.Sequential(*separable_part(c, k, stride, 1, affine), *separable_part(c, k, 1, 1, affine))
    return nn.Sequential(*separable_part(c, k, stride, 2, affine))


class Mixed(nn.Module):
    def __init__(self, c, stride):
        super().__init__()
        self.ops = nn.ModuleList([make(p, c, stride, False, True) for p in PRIMITIVES])

    def forward(self, x, w):
        return sum(wi * op(x) for wi, op in zip(w, self.ops))


class SearchCell(nn.Module):
    def __init__(self, cpp, cp, c, reduction, reduction_prev, nodes=4, pre=True):
        super().__init__()
        self.nodes = nodes
        self.pre = pre
        if pre:
            self.pre0 = FactorizedReduce(cpp, c, False) if reduction_prev else relu_conv_norm(cpp, c, False)
            self.pre1 = relu_conv_norm(cp, c, False)
        self.edges = nn.ModuleList([Mixed(c, 2 if reduction and j < 2 else 1) for i in range(nodes) for j in range(i + 2)])

    def forward(self, s0, s1, w):
        states = [self.pre0(s0), self.pre1(s1)] if self.pre else [s0, s1]
        offset = 0
        for _ in range(self.nodes):
            states.append(sum(self.edges[offset + j](s, w[offset + j]) for j, s in enumerate(states)))
            offset += len(states) - 1
        return torch.cat(states[-self.nodes:], 1)


class SearchNet(nn.Module):
    def __init__(self, c=16, cells=8, classes=10, nodes=4):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 3 * c, 3, padding=1, bias=False), norm(3 * c, True))
        self.cells = nn.ModuleList()
        cpp, cp, prev = 3 * c, 3 * c, False
        for i in range(cells):
            reduction = i in (cells // 3, 2 * cells // 3)
            c = 2 * c if reduction else c
            self.cells.append(SearchCell(cpp, cp, c, reduction, prev, nodes))
            self.cells[-1].reduction = reduction
            cpp, cp, prev = cp, nodes * c, reduction
        self.classifier = nn.Linear(cp, classes)
        k = nodes * (nodes + 3) // 2
        self.alphas = [torch.randn(k, len(PRIMITIVES)).mul_(1e-3).requires_grad_() for _ in range(2)]

    def forward(self, x):
        s0 = s1 = self.stem(x)
        w = [F.softmax(a, -1) for a in self.alphas]
        for cell in self.cells:
            s0, s1 = s1, cell(s0, s1, w[int(cell.reduction)])
        return self.classifier(s1.mean((2, 3)))


class EvalCell(nn.Module):
    def __init__(self, genes, cpp, cp, c, reduction, reduction_prev):
        super().__init__()
        self.pre0 = FactorizedReduce(cpp, c, True) if reduction_prev else relu_conv_norm(cpp, c, True)
        self.pre1 = relu_conv_norm(cp, c, True)
        self.inputs = [j for _, j in genes]
        self.ops = nn.ModuleList([make(n, c, 2 if reduction and j < 2 else 1, True, False) for n, j in genes])

    def forward(self, s0, s1):
        states = [self.pre0(s0), self.pre1(s1)]
        for n in range(len(self.ops) // 2):
            states.append(sum(self.ops[e](states[self.inputs[e]]) for e in (2 * n, 2 * n + 1)))
        return torch.cat(states[2:], 1)


class EvalNet(nn.Module):
    def __init__(self, c=36, cells=20, classes=10, aux=True):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 3 * c, 3, padding=1, bias=False), norm(3 * c, True))
        self.cells = nn.ModuleList()
        cpp, cp, prev = 3 * c, 3 * c, False
        for i in range(cells):
            reduction = i in (cells // 3, 2 * cells // 3)
            c = 2 * c if reduction else c
            self.cells.append(EvalCell(V2_REDUCE if reduction else V2_NORMAL, cpp, cp, c, reduction, prev))
            cpp, cp, prev = cp, 4 * c, reduction
            if i == 2 * cells // 3:
                caux = cp
        self.aux_at = 2 * cells // 3
        self.aux = nn.Sequential(nn.ReLU(), nn.AvgPool2d(5, 3, 0, count_include_pad=False), nn.Conv2d(caux, 128, 1, bias=False),
                                 norm(128, True), nn.ReLU(), nn.Conv2d(128, 768, 2, bias=False), norm(768, True), nn.ReLU(),
                                 nn.Flatten(), nn.Linear(768, classes)) if aux else None
        self.classifier = nn.Linear(cp, classes)

    def forward(self, x):
        s0 = s1 = self.stem(x)
        aux = None
        for i, cell in enumerate(self.cells):
            s0, s1 = s1, cell(s0, s1)
            if i == self.aux_at and self.aux is not None and self.training:
                aux = self.aux(s1)
        return self.classifier(s1.mean((2, 3))), aux


def relu_conv_bn(cin, cout, k, stride=1):
    return nn.Sequential(nn.ReLU(), nn.Conv2d(cin, cout, k, stride, k // 2, bias=False), nn.BatchNorm2d(cout))


class Cell201(nn.Module):
    """A cell of NAS-Bench-201 (Dong and Yang, 2020): six edges in the order (0,1) (0,2) (0,3) (1,2) (1,3) (2,3)."""

    def __init__(self, c, ops):
        super().__init__()
        make = {
            "nor_conv_3x3": lambda: relu_conv_bn(c, c, 3),
            "nor_conv_1x1": lambda: relu_conv_bn(c, c, 1),
            "skip_connect": nn.Identity,
            "avg_pool_3x3": lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=False),
        }
        self.edges = nn.ModuleList([make[o]() for o in ops])

    def forward(self, x):
        e = self.edges
        n1 = e[0](x)
        n2 = e[1](x) + e[3](n1)
        return e[2](x) + e[4](n1) + e[5](n2)


class Residual201(nn.Module):
    """The block between the stages of NAS-Bench-201: halves the size, doubles the channels."""

    def __init__(self, cin, cout):
        super().__init__()
        self.a, self.b = relu_conv_bn(cin, cout, 3, 2), relu_conv_bn(cout, cout, 3)
        self.down = nn.Sequential(nn.AvgPool2d(2, 2), nn.Conv2d(cin, cout, 1, bias=False))

    def forward(self, x):
        return self.down(x) + self.b(self.a(x))


# The best cell of the table on CIFAR-10 (index 6111).
BEST201 = ["nor_conv_3x3", "nor_conv_3x3", "skip_connect", "nor_conv_3x3", "nor_conv_3x3", "nor_conv_1x1"]


def nasbench201(c=16, n=5, classes=10):
    layers = [nn.Conv2d(3, c, 3, padding=1, bias=False), nn.BatchNorm2d(c)]
    for stage in range(3):
        layers += [Residual201(c // 2, c)] if stage else []
        layers += [Cell201(c, BEST201) for _ in range(n)]
        last, c = c, 2 * c
    return nn.Sequential(*layers, nn.BatchNorm2d(last), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, classes))


class Basic(nn.Module):
    """Two 3×3 convolutions; the shortcut takes every other pixel and zeros for the new channels (option A)."""

    def __init__(self, cin, cout, stride):
        super().__init__()
        self.stride, self.new = stride, cout - cin
        self.body = nn.Sequential(nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(),
                                  nn.Conv2d(cout, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        y = self.body(x)
        if self.stride > 1:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.new // 2, self.new - self.new // 2))
        return F.relu(y + x)


def resnet20(classes=10):
    """ResNet-20 for CIFAR (He et al., 2016, section 4.2)."""
    layers, c = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()], 16
    for stage in range(3):
        for block in range(3):
            out = 16 << stage
            layers.append(Basic(c, out, 2 if stage and not block else 1))
            c = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, classes))


def sgd(params):
    return torch.optim.SGD(params, lr=0.025, momentum=0.9, weight_decay=3e-4)


def bilevel(net, xt, yt, xv, yv, opt, opt_alpha, lr):
    """A whole second-order DARTS step: the alpha step (equations 6 to 8), then the weight step."""
    ws, loss = list(net.parameters()), nn.CrossEntropyLoss()
    g = torch.autograd.grad(loss(net(xt), yt), ws)
    saved = [w.detach().clone() for w in ws]
    with torch.no_grad():
        for w, gw in zip(ws, g):
            m = opt.state[w].get("momentum_buffer")
            d = gw + 3e-4 * w
            w -= lr * (d if m is None else d + 0.9 * m)
    both = torch.autograd.grad(loss(net(xv), yv), net.alphas + ws)
    da, dw = both[:2], both[2:]
    eps = 0.01 / torch.sqrt(sum((d * d).sum() for d in dw))
    sides = []
    for sign in (1, -1):
        with torch.no_grad():
            for w, s, d in zip(ws, saved, dw):
                w.copy_(s + sign * eps * d)
        sides.append(torch.autograd.grad(loss(net(xt), yt), net.alphas))
    with torch.no_grad():
        for w, s in zip(ws, saved):
            w.copy_(s)
    for a, d, p, n in zip(net.alphas, da, *sides):
        a.grad = d - lr * (p - n) / (2 * eps)
    opt_alpha.step()
    opt.zero_grad(set_to_none=True)
    value = loss(net(xt), yt)
    value.backward(inputs=ws)
    nn.utils.clip_grad_norm_(ws, 5.0)
    opt.step()
    return value


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", required=True, choices=["supernet", "bilevel", "cell", "eval", "infer", "nasbench201", "resnet20"])
    p.add_argument("--layout", default="nchw", choices=["nchw", "channels_last"])
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--steps", type=int, default=5)
    p.add_argument("--warmup", type=int, default=1)
    p.add_argument("--compile", action="store_true")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    memory = torch.channels_last if a.layout == "channels_last" else torch.contiguous_format
    image = lambda c=3: torch.randn(a.batch, c, 32, 32).to(memory_format=memory)
    label = lambda: torch.randint(0, 10, (a.batch,))
    loss = nn.CrossEntropyLoss()
    if a.only == "cell":
        net = SearchCell(16, 16, 16, False, False, pre=False).to(memory_format=memory)
        s0, s1 = image(16).requires_grad_(), image(16).requires_grad_()
        w = torch.softmax(torch.randn(14, 8) * 1e-3, -1).requires_grad_()
        run = torch.compile(net) if a.compile else net
        def step():
            for t in [s0, s1, w, *net.parameters()]:
                t.grad = None
            run(s0, s1, w).sum().backward()
    elif a.only in ("supernet", "bilevel"):
        net = SearchNet().to(memory_format=memory)
        opt, x, y, xv, yv = sgd(net.parameters()), image(), label(), image(), label()
        run = torch.compile(net) if a.compile else net
        if a.only == "supernet":
            def step():
                opt.zero_grad(set_to_none=True)
                for al in net.alphas:
                    al.grad = None
                loss(run(x), y).backward()
                nn.utils.clip_grad_norm_(net.parameters(), 5.0)
                opt.step()
        else:
            opt_alpha = torch.optim.Adam(net.alphas, lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
            step = lambda: bilevel(net, x, y, xv, yv, opt, opt_alpha, 0.025)
    elif a.only in ("nasbench201", "resnet20"):
        net = (nasbench201 if a.only == "nasbench201" else resnet20)().to(memory_format=memory)
        opt, x, y = sgd(net.parameters()), image(), label()
        run = torch.compile(net) if a.compile else net
        def step():
            opt.zero_grad(set_to_none=True)
            loss(run(x), y).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            opt.step()
    else:
        net = EvalNet().to(memory_format=memory)
        opt, x, y = sgd(net.parameters()), image(), label()
        run = torch.compile(net) if a.compile else net
        if a.only == "eval":
            def step():
                opt.zero_grad(set_to_none=True)
                out, aux = run(x)
                (loss(out, y) + 0.4 * loss(aux, y)).backward()
                nn.utils.clip_grad_norm_(net.parameters(), 5.0)
                opt.step()
        else:
            net.eval()
            def step():
                with torch.no_grad():
                    run(x)
    times = []
    for i in range(a.warmup + a.steps):
        t = time.perf_counter()
        step()
        if i >= a.warmup:
            times.append((time.perf_counter() - t) * 1e3)
    print(json.dumps({"only": a.only, "layout": a.layout, "batch": a.batch, "threads": a.threads, "torch": torch.__version__,
                      "compiled": a.compile, "ms": statistics.median(times), "min_ms": min(times), "max_ms": max(times),
                      "parameters": sum(t.numel() for t in net.parameters()),
                      "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


if __name__ == "__main__":
    main()
