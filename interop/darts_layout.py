"""The networks of the original DARTS code, as far as the names and shapes of their tensors and what they compute are concerned.

Written from the paper and from the names that published weights have, so that files of that layout can be made here:
`stem.0.weight`, `cells.0.preprocess0.op.1.weight`, `cells.3._ops.2.op.1.weight`, `auxiliary_head.features.2.weight`,
`classifier.weight`. Two networks: for CIFAR (one stem), and for ImageNet (two stems, of which the second reads the first).
"""

import random

import torch
from torch import nn


def conv(cin, cout, kernel, stride=1, padding=0, dilation=1, groups=1):
    return nn.Conv2d(cin, cout, kernel, stride, padding, dilation, groups, bias=False)


class Op(nn.Module):
    """Layers under the name `op`."""

    def __init__(self, *layers):
        super().__init__()
        self.op = nn.Sequential(*layers)

    def forward(self, x):
        return self.op(x)


class Halve(nn.Module):
    """The factorised reduce."""

    def __init__(self, cin, cout):
        super().__init__()
        self.conv_1 = conv(cin, cout // 2, 1, 2)
        self.conv_2 = conv(cin, cout // 2, 1, 2)
        self.bn = nn.BatchNorm2d(cout)

    def forward(self, x):
        x = torch.relu(x)
        return self.bn(torch.cat([self.conv_1(x), self.conv_2(x[:, :, 1:, 1:])], 1))


class Zero(nn.Module):
    def __init__(self, stride):
        super().__init__()
        self.stride = stride

    def forward(self, x):
        return x[:, :, :: self.stride, :: self.stride] * 0.0


def depthwise(c, k, stride, dilation=1):
    return [nn.ReLU(), conv(c, c, k, stride, dilation * (k // 2), dilation, c), conv(c, c, 1), nn.BatchNorm2d(c)]


def make(name, c, stride):
    if name == "none":
        return Zero(stride)
    if name == "skip_connect":
        return nn.Identity() if stride == 1 else Halve(c, c)
    if name == "max_pool_3x3":
        return nn.MaxPool2d(3, stride, padding=1)
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)
    if name.startswith("sep_conv_"):
        k = int(name[-1])
        return Op(*depthwise(c, k, stride), *depthwise(c, k, 1))
    if name.startswith("dil_conv_"):
        return Op(*depthwise(c, int(name[-1]), stride, 2))
    if name == "conv_7x1_1x7":
        return nn.Sequential(
            nn.ReLU(),
            conv(c, c, (1, 7), (1, stride), (0, 3)),
            conv(c, c, (7, 1), (stride, 1), (3, 0)),
            nn.BatchNorm2d(c),
        )
    raise ValueError(name)


class Cell(nn.Module):
    def __init__(self, edges, concat, cpp, cp, c, reduction, after_reduction):
        super().__init__()
        pointwise = lambda cin: Op(nn.ReLU(), conv(cin, c, 1), nn.BatchNorm2d(c))
        self.preprocess0 = Halve(cpp, c) if after_reduction else pointwise(cpp)
        self.preprocess1 = pointwise(cp)
        self._ops = nn.ModuleList(make(name, c, 2 if reduction and state < 2 else 1) for name, state in edges)
        self.reads = [state for _, state in edges]
        self.concat = concat

    def forward(self, s0, s1):
        states = [self.preprocess0(s0), self.preprocess1(s1)]
        for i in range(0, len(self._ops), 2):
            pair = [self._ops[j](states[self.reads[j]]) for j in (i, i + 1)]
            states.append(pair[0] + pair[1])
        return torch.cat([states[i] for i in self.concat], 1)


class Tower(nn.Module):
    def __init__(self, c, classes, stride, second_norm):
        super().__init__()
        layers = [nn.ReLU(), nn.AvgPool2d(5, stride, count_include_pad=False), conv(c, 128, 1), nn.BatchNorm2d(128)]
        layers += [nn.ReLU(), conv(128, 768, 2)] + [nn.BatchNorm2d(768)] * second_norm + [nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(768, classes)


class Network(nn.Module):
    """`genotype` is a dictionary of `normal`, `normal_concat`, `reduce` and `reduce_concat`."""

    def __init__(self, genotype, c, layers, classes, imagenet=False, tower=False):
        super().__init__()
        self.imagenet = imagenet
        if imagenet:
            first = [conv(3, c // 2, 3, 2, 1), nn.BatchNorm2d(c // 2), nn.ReLU()]
            self.stem0 = nn.Sequential(*first, conv(c // 2, c, 3, 2, 1), nn.BatchNorm2d(c))
            self.stem1 = nn.Sequential(nn.ReLU(), conv(c, c, 3, 2, 1), nn.BatchNorm2d(c))
            cpp, cp = c, c
        else:
            self.stem = nn.Sequential(conv(3, 3 * c, 3, 1, 1), nn.BatchNorm2d(3 * c))
            cpp, cp = 3 * c, 3 * c
        self.cells = nn.ModuleList()
        after_reduction = imagenet
        for i in range(layers):
            reduction = i in (layers // 3, 2 * layers // 3)
            kind = "reduce" if reduction else "normal"
            c = 2 * c if reduction else c
            concat = genotype[kind + "_concat"]
            self.cells.append(Cell(genotype[kind], concat, cpp, cp, c, reduction, after_reduction))
            after_reduction = reduction
            cpp, cp = cp, len(concat) * c
            if tower and i == 2 * layers // 3:
                self.auxiliary_head = Tower(cp, classes, 2 if imagenet else 3, not imagenet)
        self.classifier = nn.Linear(cp, classes)

    def forward(self, x):
        s0 = self.stem0(x) if self.imagenet else self.stem(x)
        s1 = self.stem1(s0) if self.imagenet else s0
        for cell in self.cells:
            s0, s1 = s1, cell(s0, s1)
        return self.classifier(s1.mean((2, 3)))


OPS = ["none", "skip_connect", "max_pool_3x3", "avg_pool_3x3", "sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7"]
OPS += ["dil_conv_3x3", "dil_conv_5x5", "conv_7x1_1x7"]


def random_genotype(seed, nodes=4):
    """Two cells of random ops, of which each occurs; every other one leaves a node out of its output."""
    rng = random.Random(seed)
    names = OPS + [rng.choice(OPS) for _ in range(4 * nodes - len(OPS))]
    rng.shuffle(names)
    genotype = {}
    for kind in ("normal", "reduce"):
        edges = []
        for node in range(nodes):
            edges += [(names.pop(), state) for state in rng.sample(range(node + 2), 2)]
        genotype[kind] = edges
        genotype[kind + "_concat"] = list(range(2 + seed % 2, nodes + 2))
    return genotype


def text_of(genotype):
    return "Genotype(" + ", ".join(f"{key}={value!r}" for key, value in genotype.items()) + ")"


def randomise(network, seed):
    """Numbers everywhere that would show if they were left out or mixed up, running statistics too."""
    g = torch.Generator().manual_seed(seed)
    for name, t in network.state_dict().items():
        if name.endswith("running_var"):
            t.copy_(0.5 + torch.rand(t.shape, generator=g))
        elif name.endswith("running_mean") or name.endswith("bias"):
            t.copy_(0.3 * torch.randn(t.shape, generator=g))
        elif t.dim() == 1:
            t.copy_(0.7 + 0.6 * torch.rand(t.shape, generator=g))
        elif t.dim() > 1:
            t.copy_(torch.randn(t.shape, generator=g) / t[0].numel() ** 0.5)
        else:
            t.fill_(1234)
    return network.eval()
