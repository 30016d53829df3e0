#!/usr/bin/env python3
"""Writes the small pictures that the tests of archai-data read, and what Pillow reads in them.

    python3 scripts/pictures.py crates/archai-data/tests/pictures

Needs Pillow. Each file's pixels stand in pixels.json: channels, height, width, and the planes in hexadecimal; beside them how
far a decoder may differ, which is 0 for all formats without loss.
"""
import json
import pathlib
import sys

from PIL import Image

WIDTH, HEIGHT = 7, 5


def rgb(shift=0):
    picture = Image.new("RGB", (WIDTH, HEIGHT))
    for y in range(HEIGHT):
        for x in range(WIDTH):
            picture.putpixel((x, y), ((37 * x + 11 * y + shift) % 256, (5 * x + 53 * y) % 256, (91 * x + 7 * y) % 256))
    return picture


def smooth(size=32):
    """What codecs with loss are made for."""
    picture = Image.new("RGB", (size, size))
    for y in range(size):
        for x in range(size):
            picture.putpixel((x, y), (60 + 4 * x, 60 + 4 * y, 120))
    return picture


def transparent():
    picture = rgb().convert("RGBA")
    picture.putpixel((1, 1), (200, 100, 50, 0))
    picture.putpixel((2, 1), (10, 20, 30, 128))
    return picture


def sixteen():
    picture = Image.new("I;16", (WIDTH, HEIGHT))
    for y in range(HEIGHT):
        for x in range(WIDTH):
            picture.putpixel((x, y), (9000 * x + 777 * y) % 65536)
    return picture


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    grey, few = rgb().convert("L"), rgb().quantize(8)
    lossy = 3
    files = [
        ("rgb.png", rgb(), {}, 0),
        ("grey.png", grey, {}, 0),
        ("palette.png", few, {}, 0),
        ("transparent.png", transparent(), {}, 0),
        ("rgb.bmp", rgb(), {}, 0),
        ("grey.bmp", grey, {}, 0),
        ("palette.bmp", few, {}, 0),
        ("bits.bmp", grey.convert("1"), {}, 0),
        ("transparent.bmp", transparent(), {}, 0),
        ("palette.gif", few, {}, 0),
        ("moving.gif", few, {"save_all": True, "append_images": [rgb(99).quantize(8)]}, 0),
        ("lossless.webp", rgb(), {"lossless": True}, 0),
        ("transparent.webp", transparent(), {"lossless": True, "exact": True}, 0),
        ("lossy.webp", smooth(), {"quality": 90}, lossy),
        ("moving.webp", rgb(), {"save_all": True, "append_images": [rgb(99)], "lossless": True}, 0),
        ("raw.tiff", rgb(), {}, 0),
        ("grey.tiff", grey, {}, 0),
        ("bits.tiff", grey.convert("1"), {}, 0),
        ("transparent.tiff", transparent(), {}, 0),
        ("lzw.tiff", rgb(), {"compression": "tiff_lzw"}, 0),
        ("deflate.tiff", rgb(), {"compression": "tiff_adobe_deflate"}, 0),
        ("packbits.tiff", rgb(), {"compression": "packbits"}, 0),
        ("pages.tiff", rgb(), {"save_all": True, "append_images": [rgb(99)]}, 0),
        ("lossy.jpg", smooth(), {"quality": 95, "subsampling": 0}, lossy),
    ]
    pixels = {}
    for name, picture, options, off in files:
        picture.save(folder / name, **options)
        read = Image.open(folder / name)
        has_colour = read.mode not in ("1", "L", "LA", "I;16")
        if read.mode in ("RGBA", "RGBX"):
            # Transparency is dropped: what lies below it counts.
            read = Image.merge("RGB", read.split()[:3])
        read = read.convert("RGB" if has_colour else "L")
        planes = b"".join(plane.tobytes() for plane in read.split())
        pixels[name] = {"shape": [len(read.getbands()), read.height, read.width], "pixels": planes.hex(), "off": off}
    # Sixteen bits become eight by rounding v / 257, as most programs do; Pillow itself clips them.
    for name in ("sixteen.png", "sixteen.tiff"):
        deep = sixteen()
        deep.save(folder / name)
        values = [(deep.getpixel((x, y)) + 128) // 257 for y in range(HEIGHT) for x in range(WIDTH)]
        pixels[name] = {"shape": [1, HEIGHT, WIDTH], "pixels": bytes(values).hex(), "off": 0}
    lines = (f"  {json.dumps(name)}: {json.dumps(entry)}" for name, entry in sorted(pixels.items()))
    (folder / "pixels.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
