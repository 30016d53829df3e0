#!/usr/bin/env python3
"""Writes what Pillow makes of a picture in each op of the augmentation policies, and in each policy with given draws.

    python3 scripts/augmentations.py crates/archai-data/tests/augment crates/archai-data/assets/policies.txt

Needs Pillow and NumPy. The policies are written down once more here, from torchvision's and Archai's code, and take their random
numbers from the same lists as the tests.
"""
import json
import math
import pathlib
import random
import sys
import zlib

import numpy
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

WIDTH, HEIGHT = 23, 19


def picture(mode):
    """A picture with slopes and with noise, which the tests compute, too."""
    image = Image.new("RGB", (WIDTH, HEIGHT))
    for y in range(HEIGHT):
        for x in range(WIDTH):
            image.putpixel((x, y), (20 + (37 * x + 11 * y * y) % 200, 5 + 200 * x // WIDTH, (x * y * 91 + 7 * y) % 256))
    return image if mode == "RGB" else image.getchannel(0)


def hexadecimal(image):
    return b"".join(plane.tobytes() for plane in image.split()).hex()


def affine(image, *matrix):
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST)


def hue(image, turn):
    if image.mode == "L":
        return image
    h, s, v = image.convert("HSV").split()
    h = Image.fromarray(numpy.array(h) + numpy.uint8(turn))
    return Image.merge("HSV", (h, s, v)).convert("RGB")


def posterize(image, bits):
    """No bits leave black, as in torchvision on tensors and in older versions of Pillow; this one refuses."""
    return ImageOps.posterize(image, bits) if bits > 0 else image.point(lambda _: 0)


def cutout(image, top, left, bottom, right):
    image = image.copy()
    colour = (125, 123, 114)
    if image.mode == "L":
        colour = Image.new("RGB", (1, 1), colour).convert("L").getpixel((0, 0))
    ImageDraw.Draw(image).rectangle((left, top, right, bottom), colour)
    return image


OPS = {
    "shear_x": lambda image, v: affine(image, 1, v, 0, 0, 1, 0),
    "shear_y": lambda image, v: affine(image, 1, 0, 0, v, 1, 0),
    "translate_x": lambda image, v: affine(image, 1, 0, v, 0, 1, 0),
    "translate_y": lambda image, v: affine(image, 1, 0, 0, 0, 1, v),
    "rotate": lambda image, v: image.rotate(v),
    "auto_contrast": lambda image: ImageOps.autocontrast(image),
    "invert": lambda image: ImageOps.invert(image),
    "equalize": lambda image: ImageOps.equalize(image),
    "solarize": lambda image, v: ImageOps.solarize(image, v),
    "posterize": lambda image, v: posterize(image, v),
    "contrast": lambda image, v: ImageEnhance.Contrast(image).enhance(v),
    "color": lambda image, v: ImageEnhance.Color(image).enhance(v),
    "brightness": lambda image, v: ImageEnhance.Brightness(image).enhance(v),
    "sharpness": lambda image, v: ImageEnhance.Sharpness(image).enhance(v),
    "hue": hue,
    "cutout": cutout,
    "affine": affine,
}
FACTORS = [(v,) for v in (0, 0.1, 0.37, 0.9, 1, 1.1, 1.63, 1.9)]
LEVELS = {
    "shear_x": [(v,) for v in (-0.99, -0.3, -0.123, 0, 0.1, 0.3)],
    "shear_y": [(v,) for v in (-0.3, -0.123, 0.1, 0.99)],
    "translate_x": [(v,) for v in (-32, -7, -2.4, 0.5, 3, 8.95)],
    "translate_y": [(v,) for v in (-9, -2.4, 0.5, 3, 32)],
    "rotate": [(v,) for v in (-135, -90, -30, -3.3, 0, 10, 22.5, 30, 45, 90, 180)],
    "auto_contrast": [()],
    "invert": [()],
    "equalize": [()],
    "solarize": [(v,) for v in (0, 85, 127.5, 128, 255, 256)],
    "posterize": [(v,) for v in (0, 1, 4, 6, 8)],
    "contrast": FACTORS,
    "color": FACTORS,
    "brightness": FACTORS,
    "sharpness": FACTORS,
    "hue": [(v,) for v in (0, 1, 25, 128, 231)],
    "cutout": [(0, 0, 3, 3), (5, 17, 12, 22), (16, 20, 30, 30), (4, 4, 4, 4)],
    "affine": [(0.9, 0.2, 1.5, -0.1, 1.1, -2.25), (1.25, 0, -3, 0, 0.8, 2)],
}


class Draws:
    def __init__(self, seed):
        generator = random.Random(seed)
        self.units = [generator.random() for _ in range(60)]
        self.gammas = [generator.gammavariate(1, 1) for _ in range(8)]
        self.next_unit, self.next_gamma = iter(self.units), iter(self.gammas)

    def unit(self):
        return next(self.next_unit)

    def below(self, n):
        return int(self.unit() * n)

    def dirichlet(self, n):
        drawn = [next(self.next_gamma) for _ in range(n)]
        return [v / sum(drawn) for v in drawn]


def linspace(start, end, n):
    """In 32 bits, from the nearer end, as torch.linspace."""
    start, end = numpy.float32(start), numpy.float32(end)
    step = (end - start) / numpy.float32(n - 1)
    return [float(start + step * numpy.float32(i) if i < n // 2 else end - step * numpy.float32(n - i - 1)) for i in range(n)]


def space(name, n, size):
    """torchvision's _augmentation_space: magnitudes and whether they are signed."""
    width, height = size
    shear, degrees, factor = {"wide": (0.99, 135.0, 0.99)}.get(name, (0.3, 30.0, 0.9))
    moved = {"wide": (32.0, 32.0), "mixed": (width / 3.0, height / 3.0)}.get(
        name, (150.0 / 331.0 * width, 150.0 / 331.0 * height))
    most, bits = {"wide": (8, 6), "mixed": (4, 4)}.get(name, (8, 4))
    return {
        "Identity": (None, False),
        "ShearX": (linspace(0.0, shear, n), True),
        "ShearY": (linspace(0.0, shear, n), True),
        "TranslateX": (linspace(0.0, moved[0], n), True),
        "TranslateY": (linspace(0.0, moved[1], n), True),
        "Rotate": (linspace(0.0, degrees, n), True),
        "Brightness": (linspace(0.0, factor, n), True),
        "Color": (linspace(0.0, factor, n), True),
        "Contrast": (linspace(0.0, factor, n), True),
        "Sharpness": (linspace(0.0, factor, n), True),
        "Posterize": ([most - int(numpy.round(numpy.float32(i) / numpy.float32((n - 1) / bits))) for i in range(n)], False),
        "Solarize": (linspace(255.0, 0.0, n), False),
        "AutoContrast": (None, False),
        "Equalize": (None, False),
        "Invert": (None, False),
    }


RANDOM = ["Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast",
          "Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize"]
CHAINED = ["ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Posterize", "Solarize", "AutoContrast", "Equalize",
           "Brightness", "Color", "Contrast", "Sharpness"]


def shifted(image, x, y):
    """F.affine with a translation: its inverse matrix, in torchvision's order of sums."""
    cx, cy = image.width * 0.5, image.height * 0.5
    return affine(image, 1.0, 0.0, (-cx - x) + cx, 0.0, 1.0, (-cy - y) + cy)


def of_torchvision(image, name, magnitude):
    return {
        "Identity": lambda: image,
        "ShearX": lambda: affine(image, 1.0, math.tan(math.radians(math.degrees(math.atan(magnitude)))), 0.0, 0.0, 1.0, 0.0),
        "ShearY": lambda: affine(image, 1.0, 0.0, 0.0, math.tan(math.radians(math.degrees(math.atan(magnitude)))), 1.0, 0.0),
        "TranslateX": lambda: shifted(image, int(magnitude), 0),
        "TranslateY": lambda: shifted(image, 0, int(magnitude)),
        "Rotate": lambda: image.rotate(magnitude),
        "Brightness": lambda: ImageEnhance.Brightness(image).enhance(1.0 + magnitude),
        "Color": lambda: ImageEnhance.Color(image).enhance(1.0 + magnitude),
        "Contrast": lambda: ImageEnhance.Contrast(image).enhance(1.0 + magnitude),
        "Sharpness": lambda: ImageEnhance.Sharpness(image).enhance(1.0 + magnitude),
        "Posterize": lambda: posterize(image, int(magnitude)),
        "Solarize": lambda: ImageOps.solarize(image, magnitude),
        "AutoContrast": lambda: ImageOps.autocontrast(image),
        "Equalize": lambda: ImageOps.equalize(image),
        "Invert": lambda: ImageOps.invert(image),
    }[name]()


def chosen(image, names, ranges, bin_of, draws):
    name = names[draws.below(len(names))]
    magnitudes, signed = ranges[name]
    magnitude = 0.0 if magnitudes is None else magnitudes[bin_of()]
    if signed and draws.below(2):
        magnitude *= -1.0
    return of_torchvision(image, name, magnitude)


def autoaugment(image, table, draws):
    ranges = space("usual", 10, image.size)
    steps = table[draws.below(len(table))]
    probabilities = [draws.unit(), draws.unit()]
    signs = [draws.below(2), draws.below(2)]
    for i, (name, p, level) in enumerate(steps):
        if probabilities[i] <= float(p):
            magnitudes, signed = ranges[name]
            magnitude = magnitudes[int(level)] if level != "-" else 0.0
            if signed and signs[i] == 0:
                magnitude *= -1.0
            image = of_torchvision(image, name, magnitude)
    return image


ARCHAI = {"ShearX": (-0.3, 0.3), "ShearY": (-0.3, 0.3), "TranslateX": (-0.45, 0.45), "TranslateY": (-0.45, 0.45),
          "Rotate": (-30, 30), "AutoContrast": (0, 1), "Invert": (0, 1), "Equalize": (0, 1), "Solarize": (0, 256),
          "Posterize": (4, 8), "Contrast": (0.1, 1.9), "Color": (0.1, 1.9), "Brightness": (0.1, 1.9), "Sharpness": (0.1, 1.9),
          "Cutout": (0, 0.2), "CutoutAbs": (0, 20), "Posterize2": (0, 4), "TranslateXAbs": (0, 10), "TranslateYAbs": (0, 10)}
MIRRORED = {"ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "TranslateXAbs", "TranslateYAbs"}


def of_archai(image, name, v, draws):
    if name in MIRRORED and draws.unit() > 0.5:
        v = -v
    width, height = image.size
    if name == "Cutout":
        if v <= 0.0:
            return image
        name, v = "CutoutAbs", v * width
    if name == "CutoutAbs":
        x0 = int(max(0, draws.unit() * width - v / 2.0))
        x1 = min(width, x0 + v)
        y0 = int(max(0, draws.unit() * height - v / 2.0))
        y1 = min(height, y0 + v)
        return cutout(image, y0, x0, y1, x1)
    return {
        "ShearX": lambda: affine(image, 1, v, 0, 0, 1, 0),
        "ShearY": lambda: affine(image, 1, 0, 0, v, 1, 0),
        "TranslateX": lambda: affine(image, 1, 0, v * width, 0, 1, 0),
        "TranslateY": lambda: affine(image, 1, 0, 0, 0, 1, v * height),
        "TranslateXAbs": lambda: affine(image, 1, 0, v, 0, 1, 0),
        "TranslateYAbs": lambda: affine(image, 1, 0, 0, 0, 1, v),
        "Rotate": lambda: image.rotate(v),
        "AutoContrast": lambda: ImageOps.autocontrast(image),
        "Invert": lambda: ImageOps.invert(image),
        "Equalize": lambda: ImageOps.equalize(image),
        "Solarize": lambda: ImageOps.solarize(image, v),
        "Posterize": lambda: posterize(image, int(v)),
        "Posterize2": lambda: posterize(image, int(v)),
        "Contrast": lambda: ImageEnhance.Contrast(image).enhance(v),
        "Color": lambda: ImageEnhance.Color(image).enhance(v),
        "Brightness": lambda: ImageEnhance.Brightness(image).enhance(v),
        "Sharpness": lambda: ImageEnhance.Sharpness(image).enhance(v),
    }[name]()


def archai(image, table, draws):
    for name, p, level in table[draws.below(len(table))]:
        if draws.unit() > float(p):
            continue
        low, high = ARCHAI[name]
        image = of_archai(image, name, float(level) * (high - low) + low, draws)
    return image


def randaugment(image, n, m, bins, draws):
    ranges = space("usual", bins, image.size)
    for _ in range(n):
        image = chosen(image, RANDOM, ranges, lambda: m, draws)
    return image


def trivialaugment(image, bins, draws):
    return chosen(image, RANDOM, space("wide", bins, image.size), lambda: draws.below(bins), draws)


def augmix(image, severity, width, depth, draws):
    ranges = space("mixed", 10, image.size)
    own = draws.dirichlet(2)
    weights = draws.dirichlet(width)
    mixed = numpy.float32(own[0]) * numpy.array(image, numpy.float32)
    for weight in weights:
        changed = image
        for _ in range(depth if depth > 0 else 1 + draws.below(3)):
            changed = chosen(changed, CHAINED, ranges, lambda: draws.below(severity), draws)
        mixed += numpy.float32(weight * own[1]) * numpy.array(changed, numpy.float32)
    return Image.fromarray(mixed.astype(numpy.uint8))


def tables(path):
    all_tables, name = {}, None
    for line in pathlib.Path(path).read_text().splitlines():
        words = line.split(" ")
        if line.startswith("#"):
            continue
        if len(words) == 2:
            name = words[0]
            all_tables[name] = []
        else:
            all_tables[name].append([words[i:i + 3] for i in range(0, len(words), 3)])
    return all_tables


def policies(path):
    cases = []
    known = tables(path)
    for mode in ("RGB", "L"):
        for seed in range(6):
            for name, table in known.items():
                apply = autoaugment if name.startswith("autoaugment") else archai
                cases.append((name, name, mode, lambda i, d, a=apply, t=table: a(i, t, d), seed))
            cases.append(("randaugment", "randaugment", mode, lambda i, d: randaugment(i, 2, 9, 31, d), seed))
            cases.append(("randaugment 3 4 10", {"randaugment": {"n": 3, "m": 4, "bins": 10}}, mode,
                          lambda i, d: randaugment(i, 3, 4, 10, d), seed))
            cases.append(("trivialaugment", "trivialaugment", mode, lambda i, d: trivialaugment(i, 31, d), seed))
            cases.append(("augmix", "augmix", mode, lambda i, d: augmix(i, 3, 3, -1, d), seed))
            cases.append(("augmix 10 2 2", {"augmix": {"severity": 10, "width": 2, "depth": 2}}, mode,
                          lambda i, d: augmix(i, 10, 2, 2, d), seed))
            cases.append(("own", [[["TranslateXAbs", 1.0, 0.7], ["CutoutAbs", 0.9, 0.4]], [["Posterize2", 1.0, 0.6]]], mode,
                          lambda i, d: archai(i, [[["TranslateXAbs", 1.0, 0.7], ["CutoutAbs", 0.9, 0.4]],
                                                  [["Posterize2", 1.0, 0.6]]], d), seed))
    out = []
    for number, (name, aug, mode, apply, seed) in enumerate(cases):
        draws = Draws(f"{name} {seed} {mode}")
        image = apply(picture(mode), draws)
        # What is compared is short, since there are many.
        out.append({"name": name, "aug": aug, "mode": mode, "units": draws.units, "gammas": draws.gammas,
                    "crc": zlib.crc32(b"".join(plane.tobytes() for plane in image.split()))})
    return out


def write(path, values):
    path.write_text("[\n" + ",\n".join(f"  {json.dumps(value)}" for value in values) + "\n]\n")


def main(folder, path):
    folder.mkdir(parents=True, exist_ok=True)
    ops = []
    for mode in ("RGB", "L"):
        for name, levels in LEVELS.items():
            for level in levels:
                image = OPS[name](picture(mode), *level)
                assert image.mode == mode, (name, mode)
                crc = zlib.crc32(b"".join(plane.tobytes() for plane in image.split()))
                ops.append({"op": name, "args": level, "mode": mode, "crc": crc})
    # One picture of each op is there in full, so that a difference can be looked at.
    for name, levels in LEVELS.items():
        ops.append({"op": name, "args": levels[-1], "mode": "RGB",
                    "pixels": hexadecimal(OPS[name](picture("RGB"), *levels[-1]))})
    # All colours there are, turned by a third of the circle.
    every = numpy.arange(1 << 24, dtype=numpy.uint32).reshape(4096, 4096)
    every = Image.merge("RGB", [Image.fromarray(((every >> shift) & 255).astype(numpy.uint8)) for shift in (16, 8, 0)])
    turned = hue(every, 85)
    ops.append({"op": "hue of all colours", "args": [85], "mode": "RGB",
                "crc": zlib.crc32(b"".join(plane.tobytes() for plane in turned.split()))})
    write(folder / "ops.json", ops)
    write(folder / "policies.json", policies(path))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), sys.argv[2])
