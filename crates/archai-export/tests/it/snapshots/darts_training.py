"""A network found by darts, trained by archai on cifar10 for 600 epochs: 10 classes,
images of 3 x 32 x 32, 70314 parameters, 13.28 M multiply-adds. Accuracy on the test
data: 97.31 %.

The weights lie beside this file, under its name with the extension .pt. In a program:

    network = load()
    logits = network(images)  # float32 [N, 3, 32, 32], normalised by MEAN and STD

As a program, with Pillow installed, it classifies pictures: python FILE.py PICTURE...
To go on training, set the probability of drop-path: network.set_drop_path(0.2).
"""

import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

CLASSES = [
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
]
N_CLASSES = len(CLASSES)

# Each channel of an image holds numbers from 0 to 1, of which MEAN is subtracted before
# they are divided by STD.
CHANNELS, HEIGHT, WIDTH = 3, 32, 32
MEAN = [0.4914, 0.4822, 0.4465]
STD = [0.247, 0.2435, 0.2616]


class Names(nn.Module):
    """Holds modules under names, so that parameters are called as in the file."""

    def __init__(self, **modules):
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)


class DropPath(nn.Module):
    """Drops an image's map with probability `p`, which `Network.set_drop_path` sets."""

    p = 0.0

    def forward(self, x):
        if not self.training or self.p == 0:
            return x
        keep = torch.rand(x.shape[0], *[1] * (x.dim() - 1), device=x.device) >= self.p
        return x * keep / (1 - self.p)


class Stem(nn.Module):
    """Convolution, batch norm."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 24, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(24)

    def forward(self, x):
        return self.bn1(self.conv1(x))


class ReluConvNorm(nn.Module):
    """ReLU, 1×1 convolution, batch norm."""

    def __init__(self, c_in, c_out):
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)

    def forward(self, x):
        return self.bn1(self.conv1(F.relu(x)))


class SepConv3x3(nn.Module):
    """ReLU, depthwise convolution, 1×1 convolution, batch norm; twice
    (sep_conv_3x3).
    """

    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(
            channels, channels, 3, padding=1, groups=channels, bias=False
        )
        self.conv2 = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(
            channels, channels, 3, padding=1, groups=channels, bias=False
        )
        self.conv4 = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x):
        x = self.bn1(self.conv2(self.conv1(F.relu(x))))
        return self.bn2(self.conv4(self.conv3(F.relu(x))))


class DilConv3x3(nn.Module):
    """ReLU, depthwise convolution, 1×1 convolution, batch norm (dil_conv_3x3)."""

    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(
            channels, channels, 3, padding=2, dilation=2, groups=channels, bias=False
        )
        self.conv2 = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)

    def forward(self, x):
        return self.bn1(self.conv2(self.conv1(F.relu(x))))


class FactorizedReduce(nn.Module):
    """ReLU, 1×1 convolution, crop, 1×1 convolution, concatenation, batch norm."""

    def __init__(self, c_in, c_out):
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out // 2, 1, stride=2, bias=False)
        self.conv2 = nn.Conv2d(c_in, c_out // 2, 1, stride=2, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)

    def forward(self, x):
        x = F.relu(x)
        return self.bn1(torch.cat([self.conv1(x), self.conv2(x[:, :, 1:, 1:])], 1))


class AuxiliaryTower(nn.Module):
    """ReLU, average pool, 1×1 convolution, batch norm, ReLU, convolution, batch
    norm, ReLU, flatten, linear.
    """

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(128, 128, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(128)
        self.conv2 = nn.Conv2d(128, 768, 2, bias=False)
        self.bn2 = nn.BatchNorm2d(768)
        self.linear1 = nn.Linear(768, N_CLASSES)

    def forward(self, x):
        x = self.bn1(self.conv1(F.avg_pool2d(F.relu(x), 5, 3)))
        x = self.bn2(self.conv2(F.relu(x)))
        return self.linear1(F.relu(x).flatten(1))


class Cell(nn.Module):
    """Cells 0, 1, 3, 4, 6, 7."""

    def __init__(self, pre0, c_in, channels):
        super().__init__()
        self.drop_path = DropPath()
        self.pre0 = pre0
        self.pre1 = ReluConvNorm(c_in, channels)
        self.node0 = Names(
            edge0=Names(sep_conv_3x3=SepConv3x3(channels)),
            edge1=Names(sep_conv_3x3=SepConv3x3(channels)),
        )
        self.node1 = Names(
            edge0=Names(sep_conv_3x3=SepConv3x3(channels)),
            edge1=Names(sep_conv_3x3=SepConv3x3(channels)),
        )
        self.node2 = Names(edge0=Names(sep_conv_3x3=SepConv3x3(channels)))
        self.node3 = Names(edge1=Names(dil_conv_3x3=DilConv3x3(channels)))

    def forward(self, s0, s1):
        pre0 = self.pre0(s0)
        pre1 = self.pre1(s1)
        node0 = self.drop_path(self.node0.edge0.sep_conv_3x3(pre0))
        node0 = node0 + self.drop_path(self.node0.edge1.sep_conv_3x3(pre1))
        node1 = self.drop_path(self.node1.edge0.sep_conv_3x3(pre0))
        node1 = node1 + self.drop_path(self.node1.edge1.sep_conv_3x3(pre1))
        node2 = self.drop_path(self.node2.edge0.sep_conv_3x3(pre1)) + pre0
        node3 = pre0 + self.drop_path(self.node3.edge1.dil_conv_3x3(node0))
        return torch.cat([node0, node1, node2, node3], 1)


class ReductionCell(nn.Module):
    """Cells 2, 5."""

    def __init__(self, c_in, channels):
        super().__init__()
        self.drop_path = DropPath()
        self.pre0 = ReluConvNorm(c_in, channels)
        self.pre1 = ReluConvNorm(c_in, channels)

    def forward(self, s0, s1):
        pre0 = self.pre0(s0)
        pre1 = self.pre1(s1)
        node0 = self.drop_path(F.max_pool2d(pre0, 3, 2, 1))
        node0 = node0 + self.drop_path(F.max_pool2d(pre1, 3, 2, 1))
        node1 = node0 + self.drop_path(F.max_pool2d(pre1, 3, 2, 1))
        node2 = self.drop_path(F.max_pool2d(pre0, 3, 2, 1)) + node0
        node3 = node0 + self.drop_path(F.max_pool2d(pre1, 3, 2, 1))
        return torch.cat([node0, node1, node2, node3], 1)


class Network(nn.Module):
    """Normalised images `[N, CHANNELS, HEIGHT, WIDTH]` to logits `[N, N_CLASSES]`;
    in training to a tuple of these and the logits of the auxiliary tower, whose loss
    is added with a small weight (0.4 in DARTS).
    """

    def __init__(self):
        super().__init__()
        self.stem0 = Stem()
        self.stem1 = Stem()
        self.cell0 = Cell(ReluConvNorm(24, 8), 24, 8)
        self.cell1 = Cell(ReluConvNorm(24, 8), 32, 8)
        self.cell2 = ReductionCell(32, 16)
        self.cell3 = Cell(FactorizedReduce(32, 16), 64, 16)
        self.cell4 = Cell(ReluConvNorm(64, 16), 64, 16)
        self.cell5 = ReductionCell(64, 32)
        self.aux = AuxiliaryTower()
        self.cell6 = Cell(FactorizedReduce(64, 32), 128, 32)
        self.cell7 = Cell(ReluConvNorm(128, 32), 128, 32)
        self.classifier = Names(linear1=nn.Linear(128, N_CLASSES))

    def forward(self, images):
        s0 = self.stem0(images)
        s1 = self.stem1(images)
        for i in range(6):
            s0, s1 = s1, getattr(self, f"cell{i}")(s0, s1)
        if self.training:
            aux = self.aux(s1)
        cell6 = self.cell6(s0, s1)
        logits = self.classifier.linear1(self.cell7(s1, cell6).mean((2, 3)))
        return (logits, aux) if self.training else logits

    def set_drop_path(self, p):
        for module in self.modules():
            if isinstance(module, DropPath):
                module.p = p


def load(weights=Path(__file__).with_suffix(".pt")):
    """The trained network; `load().train()` goes on learning."""
    network = Network()
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return network.eval()


def prepare(picture):
    """A picture (of Pillow) as the network takes it: `[CHANNELS, HEIGHT, WIDTH]`.

    Sides that are too long are shrunk, those that are too short get black borders.
    """
    import numpy as np
    from PIL import Image

    picture = picture.convert("RGB")
    size = (min(WIDTH, picture.width), min(HEIGHT, picture.height))
    picture = picture.resize(size, Image.BILINEAR)
    canvas = Image.new(picture.mode, (WIDTH, HEIGHT))
    canvas.paste(picture, ((WIDTH - size[0]) // 2, (HEIGHT - size[1]) // 2))
    pixels = torch.from_numpy(np.array(canvas)).reshape(HEIGHT, WIDTH, CHANNELS)
    pixels = pixels.permute(2, 0, 1).float() / 255
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    return (pixels - mean[:, None, None]) / std[:, None, None]


def main(paths):
    from PIL import Image

    if not paths:
        raise SystemExit(f"usage: {sys.argv[0]} PICTURE...")
    network = load()
    for path in paths:
        with torch.no_grad(), Image.open(path) as picture:
            chances = network(prepare(picture)[None]).softmax(1)[0]
        best = zip(*chances.topk(min(5, N_CLASSES)))
        print(path, *(f"{CLASSES[i]} {chance:.1%}" for chance, i in best), sep="\t")


if __name__ == "__main__":
    main(sys.argv[1:])
