"""A network found by darts, trained by archai on cifar10 for 600 epochs: 10 classes,
images of 3 x 32 x 32, 0.27 M parameters, 40.55 M multiply-adds. Accuracy on the test
data: 97.31 %.

The weights lie beside this file, under its name with the extension .pt. In a program:

    network = load()
    logits = network(images)  # float32 [N, 3, 32, 32], normalised by MEAN and STD

As a program, with Pillow installed, it classifies pictures: python FILE.py PICTURE...
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


class Stem(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)

    def forward(self, x):
        return F.relu(self.bn1(self.conv1(x)))


class ConvNorm(nn.Module):
    """Convolution, batch norm (convbn_3x3)."""

    def __init__(self, c_in, c_out, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)

    def forward(self, x):
        return self.bn1(self.conv1(x))


class ReluConvNorm(nn.Module):
    """ReLU, convolution, batch norm (nor_conv_3x3)."""

    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)

    def forward(self, x):
        return self.bn1(self.conv1(F.relu(x)))


class Cell(nn.Module):
    """Cells 0–2, 4, 5, 7, 8."""

    def __init__(self, channels):
        super().__init__()
        self.node0 = Names(edge0=Names(convbn_3x3=ConvNorm(channels, channels)))
        self.node1 = Names(edge0=Names(nor_conv_3x3=ReluConvNorm(channels)))

    def forward(self, x):
        node0 = self.node0.edge0.convbn_3x3(x)
        return F.relu(self.node1.edge0.nor_conv_3x3(node0) + x)


class ReductionCell(nn.Module):
    """Cells 3, 6."""

    def __init__(self, channels):
        super().__init__()
        self.channels = channels
        self.node0 = Names(
            edge0=Names(convbn_3x3=ConvNorm(channels, 2 * channels, stride=2))
        )
        self.node1 = Names(edge0=Names(nor_conv_3x3=ReluConvNorm(2 * channels)))

    def forward(self, x):
        node0 = self.node0.edge0.convbn_3x3(x)
        node1 = self.node1.edge0.nor_conv_3x3(node0)
        node1 = node1 + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.channels))
        return F.relu(node1)


class Network(nn.Module):
    """Normalised images `[N, CHANNELS, HEIGHT, WIDTH]` to logits `[N, N_CLASSES]`."""

    def __init__(self):
        super().__init__()
        self.stem = Stem()
        for i in range(3):
            self.add_module(f"cell{i}", Cell(16))
        self.cell3 = ReductionCell(16)
        self.cell4 = Cell(32)
        self.cell5 = Cell(32)
        self.cell6 = ReductionCell(32)
        self.cell7 = Cell(64)
        self.cell8 = Cell(64)
        self.classifier = Names(linear1=nn.Linear(64, N_CLASSES))

    def forward(self, images):
        x = self.stem(images)
        for i in range(9):
            x = getattr(self, f"cell{i}")(x)
        return self.classifier.linear1(x.mean((2, 3)))


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
