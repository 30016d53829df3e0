#!/usr/bin/env python3
"""Writes what Pillow makes of pictures that are scaled, cropped, padded, turned and laid over a background.

    python3 scripts/geometry.py crates/archai-data/tests/geometry

Needs Pillow. The tests of archai-data compare their own pixels with those in scaled.json and turned.json: planes in hexadecimal,
beside shape and settings. Pictures that are scaled are computed (`picture`); those with a tag of their orientation or with
transparency are files.
"""
import json
import math
import pathlib
import sys

from PIL import Image, ImageOps

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
ORIENTATION = 0x0112


def picture(height, width):
    """A picture with slopes and with noise, which the tests compute, too."""
    def pixel(x, y):
        return (37 * x + 11 * y * y) % 256, (255 * x // width + 255 * y // height) // 2, (x * y * 91 + 7 * y) % 256

    image = Image.new("RGB", (width, height))
    for y in range(height):
        for x in range(width):
            image.putpixel((x, y), pixel(x, y))
    return image


def squish(image, size, _, interpolation):
    return image.resize((size[1], size[0]), interpolation)


def crop(image, size, ratio, interpolation):
    """Resize and CenterCrop of torchvision, with timm's crop_pct; sizes that are not square by the same rule."""
    high, wide = (math.floor(side / ratio) for side in size)
    if image.height * wide <= image.width * high:
        scaled = (int(high * image.width / image.height), high)
    else:
        scaled = (wide, int(wide * image.height / image.width))
    image = image.resize(scaled, interpolation)
    top = int(round((image.height - size[0]) / 2.0))
    left = int(round((image.width - size[1]) / 2.0))
    return image.crop((left, top, left + size[1], top + size[0]))


def pad(background):
    return lambda image, size, _, interpolation: ImageOps.pad(
        image, (size[1], size[0]), method=interpolation, color=tuple(background))


def planes(image):
    return b"".join(plane.tobytes() for plane in image.split()).hex()


def scaled():
    cases = []
    for source, size in [((40, 60), (16, 16)), ((61, 37), (12, 20)), ((7, 9), (16, 16)), ((16, 16), (16, 16)),
                         ((3, 50), (8, 10)), ((150, 200), (32, 32)), ((10, 40), (20, 20))]:
        for resize, function, ratios in [("squish", squish, [1]), ("crop", crop, [1, 0.875, 0.5]),
                                         ("pad", pad((0, 0, 0)), [1])]:
            for ratio in ratios:
                for name, interpolation in FILTERS.items():
                    if (name == "bicubic" or source == (150, 200)) and ratio == 0.5:
                        continue
                    image = function(picture(*source), size, ratio, interpolation)
                    cases.append({"from": source, "size": size, "resize": resize, "crop_ratio": ratio,
                                  "interpolation": name, "background": None, "pixels": planes(image)})
    image = pad((200, 100, 50))(picture(40, 60), (16, 16), 1, FILTERS["bilinear"])
    cases.append({"from": (40, 60), "size": (16, 16), "resize": "pad", "crop_ratio": 1, "interpolation": "bilinear",
                  "background": (200, 100, 50), "pixels": planes(image)})
    return cases


def turned(folder):
    """Files with a tag of their orientation, as exif_transpose turns them."""
    small, smooth, files = picture(5, 7), Image.new("RGB", (16, 24)), {}
    for y in range(24):
        for x in range(16):
            smooth.putpixel((x, y), (60 + 4 * x, 60 + 4 * y, 120))
    cases = [(f"{tag}.png", small, tag, {}, 0) for tag in range(1, 9)]
    cases += [("none.png", small, None, {}, 0), ("wrong.png", small, 77, {}, 0),
              ("6.jpg", smooth, 6, {"quality": 95, "subsampling": 0}, 3),
              ("7.jpg", smooth.convert("L"), 7, {"quality": 95}, 3), ("8.webp", small, 8, {"lossless": True}, 0),
              ("5.tiff", small, 5, {}, 0)]
    for name, image, tag, options, off in cases:
        exif = Image.Exif()
        if tag is not None:
            exif[ORIENTATION] = tag
        image.save(folder / name, exif=exif, **options)
        image = Image.open(folder / name)
        image.load()
        image = ImageOps.exif_transpose(image)
        files[name] = {"shape": [len(image.getbands()), image.height, image.width], "off": off, "pixels": planes(image)}
    return files


def laid_over(folder):
    """Transparent pictures over colours."""
    cases = {}
    colour = picture(5, 7)
    levels = Image.new("L", (7, 5))
    levels.putdata([(i * 255) // 34 for i in range(35)])
    colour.putalpha(levels)
    grey = picture(5, 7).convert("L")
    grey.putalpha(levels)
    few = picture(5, 7).quantize(8)
    for name, image, options, backgrounds in [
            ("colour.png", colour, {}, [(255, 255, 255), (200, 100, 50)]),
            ("grey.png", grey, {}, [(128, 128, 128), (200, 100, 50)]),
            ("palette.png", few, {"transparency": 3}, [(10, 20, 30)]),
            ("colour.webp", colour, {"lossless": True, "exact": True}, [(1, 2, 3)])]:
        image.save(folder / name, **options)
        read = Image.open(folder / name).convert("RGBA")
        cases[name] = []
        for background in backgrounds:
            below = Image.new("RGB", read.size, background)
            below.paste(read.convert("RGB"), mask=read.getchannel("A"))
            cases[name].append({"background": background, "shape": [3, 5, 7], "pixels": planes(below)})
    return cases


def write(path, value):
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    lines = (f"  {json.dumps(key)}: {json.dumps(entry)}" if isinstance(value, dict) else f"  {json.dumps(entry)}"
             for key, entry in entries)
    ends = "{}" if isinstance(value, dict) else "[]"
    path.write_text(f"{ends[0]}\n" + ",\n".join(lines) + f"\n{ends[1]}\n")


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "scaled.json", scaled())
    write(folder / "turned.json", turned(folder))
    write(folder / "laid_over.json", laid_over(folder))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
