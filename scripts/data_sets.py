#!/usr/bin/env python3
"""Writes small data sets of every format that archai reads, and what the libraries that people read them with find in them.

    python3 scripts/data_sets.py crates/archai-data/tests/sets

Needs NumPy, Pillow, SciPy and PyArrow. Each data set has a folder of its own and an entry in cases.json: the section of a
configuration, and for each part the labels, the names of the classes, and the SHA-256 of all pixels, plane after plane. The
pixels are not those that were written but those that NumPy, Pillow, SciPy and PyArrow read back.
"""
import argparse
import csv
import gzip
import hashlib
import io
import json
import pathlib
import pickle
import struct
import tarfile

import numpy
import pyarrow
import pyarrow.parquet
import scipy.io
from PIL import Image

HEIGHT, WIDTH = 4, 5
NAMES = ["daisy", "rose", "tulip"]
# How many pictures the parts of a data set have.
COUNTS = {"train": 4, "test": 2}
# Archives are padded to this; the usual 10 KiB would be most of them.
tarfile.RECORDSIZE = 2 * tarfile.BLOCKSIZE


class Sets:
    """What is written, and the cases about it."""

    def __init__(self, folder, seed, times):
        self.folder, self.cases = folder, {}
        # The mean and the deviation of each channel of the training pictures, by the names of cases.
        self.statistics = {}
        self.random = numpy.random.RandomState(seed)
        self.counts = {split: times * n for split, n in COUNTS.items()}

    def pictures(self, n, shape=(HEIGHT, WIDTH, 3)):
        """Pictures that compress a little, as those of cameras do."""
        noise = self.random.randint(0, 64, (n, *shape))
        ramp = numpy.arange(numpy.prod(shape)).reshape(shape) % 192
        return (noise + ramp).astype(numpy.uint8)

    def labels(self, n, n_classes=len(NAMES)):
        return numpy.arange(n) % n_classes

    def place(self, name):
        place = self.folder / name
        place.mkdir(parents=True)
        return place

    def case(self, name, format, parts, classes=(), n_classes=len(NAMES), channels=3, path=".", **section):
        """An entry: parts are pairs of pictures (rows, columns, channels or grey) and labels, as they were read back."""
        size = next(iter(parts.values()))[0][0].shape[:2]
        expected = {}
        for split, (pictures, labels) in parts.items():
            digest, all_planes = hashlib.sha256(), []
            for picture in pictures:
                planes = picture[None] if picture.ndim == 2 else numpy.moveaxis(picture, 2, 0)
                planes = numpy.repeat(planes, channels // len(planes), 0)
                digest.update(numpy.ascontiguousarray(planes).tobytes())
                all_planes.append(planes / 255)
            if split == "train":
                self.statistics[name] = [getattr(numpy, what)(all_planes, axis=(0, 2, 3)).tolist() for what in ("mean", "std")]
            expected[split] = {"labels": [int(label) for label in labels], "classes": list(classes), "sha256": digest.hexdigest()}
        self.cases[name] = {
            "section": {
                "name": name,
                "format": format,
                "path": f"{name}/{path}".removesuffix("/."),
                "n_classes": n_classes,
                "channels": channels,
                "size": list(size),
                "mean": [0.0] * channels,
                "std": [1.0] * channels,
                **section,
            },
            "expected": expected,
        }


def png(picture, path=None):
    """Encodes a picture, and gives what Pillow reads in it."""
    where = io.BytesIO()
    Image.fromarray(picture).save(where, "PNG")
    data = where.getvalue()
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return data, numpy.array(Image.open(io.BytesIO(data)))


def folders(sets):
    place, parts = sets.place("folder"), {}
    for split, n in sets.counts.items():
        labels = sets.labels(n)
        read = [
            png(picture, place / split / NAMES[label] / f"{index:03}.png")[1]
            for index, (picture, label) in enumerate(zip(sets.pictures(n), labels))
        ]
        order = sorted(range(n), key=lambda index: (labels[index], index))
        parts[split] = [read[index] for index in order], [labels[index] for index in order]
    sets.case("folder", "image_folder", parts, NAMES)


def tables_of_paths(sets):
    for name, header, delimiter, texts, section in [
        ("csv", ["path", "class"], ",", True, {}),
        ("csv_columns", ["which", "what"], ",", False, {"columns": {"image": "which", "label": "what"}}),
        ("tsv", ["image", "label"], "\t", False, {}),
    ]:
        place, parts = sets.place(name), {}
        for split, n in sets.counts.items():
            labels = sets.labels(n)
            read = []
            with open(place / f"{split}.{'tsv' if name == 'tsv' else 'csv'}", "w", newline="") as file:
                table = csv.writer(file, delimiter=delimiter)
                table.writerow(["id", *header])
                for index, (picture, label) in enumerate(zip(sets.pictures(n), labels)):
                    path = f"{split}, all/{index}.png"
                    read.append(png(picture, place / path)[1])
                    table.writerow([index, path, NAMES[label] if texts else label])
            parts[split] = read, labels
        sets.case(name, "csv", parts, NAMES if texts else (), **section)


def archives(sets):
    for name, ending, label_of, classes, section in [
        ("tar_cls", "cls", lambda label: NAMES[label], NAMES, {}),
        ("tar_json", "json", lambda label: json.dumps({"label": int(label), "width": 7}), (), {}),
        ("tar_columns", "meta.json", lambda label: "?", (), {"columns": {"image": "left.png", "label": "class.txt"}}),
        ("tar_key", "json", lambda label: json.dumps({"kind": NAMES[label]}), NAMES, {"columns": {"label": "json.kind"}}),
        ("tar_shards", "cls", lambda label: str(label), (), {"train": "s-{000..001}.tar", "test": "s-002.tar"}),
    ]:
        place, parts = sets.place(name), {}
        for split, n in sets.counts.items():
            labels, read = sets.labels(n), []
            shards = {"train": ["s-000.tar", "s-001.tar"], "test": ["s-002.tar"]}[split]
            shards = shards if name == "tar_shards" else [f"{split}-0.tar"]
            pictures = sets.pictures(n)
            for shard, of_shard in zip(shards, numpy.array_split(range(n), len(shards))):
                with tarfile.open(place / shard, "w") as tar:
                    for index in of_shard:
                        data, pixels = png(pictures[index])
                        read.append(pixels)
                        key = f"{'long/' * 30 if index == 1 else ''}{split}/{index:04}"
                        image, members = "png", [(ending, label_of(labels[index]).encode())]
                        if name == "tar_columns":
                            image = "left.png"
                            members += [("right.png", png(pictures[0])[0]), ("class.txt", f"{labels[index]}\n".encode())]
                        for ending_of, content in [(image, data), *members]:
                            entry = tarfile.TarInfo(f"{key}.{ending_of}")
                            entry.size = len(content)
                            tar.addfile(entry, io.BytesIO(content))
            parts[split] = read, labels
        sets.case(name, "webdataset", parts, classes, **section)


def arrays(sets):
    keras = {"train": ["x_train", "y_train"], "test": ["x_test", "y_test"]}
    medical = {"train": ["train_images", "train_labels"], "test": ["test_images", "test_labels"]}
    own = {"train": ["a", "b"], "test": ["c", "d"]}
    columns = {"image": "a", "label": "b", "test_image": "c", "test_label": "d"}
    for name, names, save, shape, change, of_label, section in [
        ("npz_keras", keras, numpy.savez, (HEIGHT, WIDTH, 3), lambda x: x, lambda y: y[:, None].astype("u1"), {}),
        ("npz_medical", medical, numpy.savez_compressed, (HEIGHT, WIDTH), lambda x: x, lambda y: y[:, None].astype("<i8"), {}),
        ("npz_first", keras, numpy.savez_compressed, (HEIGHT, WIDTH, 3), lambda x: numpy.moveaxis(x, 3, 1), lambda y: y.astype(">i2"), {}),
        ("npz_fortran", own, numpy.savez, (HEIGHT, WIDTH, 3), numpy.asfortranarray, lambda y: y.astype("<u4"), {"columns": columns}),
        ("npy", keras, None, (HEIGHT, WIDTH, 1), lambda x: x, lambda y: y.astype("i1"), {}),
    ]:
        place, parts, written = sets.place(name), {}, {}
        for split, n in sets.counts.items():
            x, y = names[split]
            written[x], written[y] = change(sets.pictures(n, shape)), of_label(sets.labels(n))
        if save:
            save(place / "all.npz", **written)
            read = numpy.load(place / "all.npz")
        else:
            for key, value in written.items():
                numpy.save(place / f"{key}.npy", value)
            read = {key: numpy.load(place / f"{key}.npy") for key in written}
        for split in sets.counts:
            x, y = (read[key] for key in names[split])
            x = numpy.moveaxis(x, 1, 3) if name == "npz_first" else x
            parts[split] = x, y.ravel()
        sets.case(name, "npz", parts, channels=3 if len(shape) == 3 and shape[2] == 3 else 1, **section)


def matlab(sets):
    for name, compressed, kind in [("mat", False, "u1"), ("mat_compressed", True, "f8")]:
        place, parts = sets.place(name), {}
        for split, n in sets.counts.items():
            x = numpy.moveaxis(sets.pictures(n), 0, 3)
            # From 1, as MATLAB counts; 3 of 3 classes is class 0.
            y = (sets.labels(n) + 1).astype(kind)[:, None]
            path = place / f"{split}_32x32.mat"
            scipy.io.savemat(path, {"note": "photographs", "X": x, "y": y}, do_compression=compressed)
            read = scipy.io.loadmat(path)
            parts[split] = numpy.moveaxis(read["X"], 3, 0), read["y"].ravel().astype(int) % len(NAMES)
        sets.case(name, "mat", parts)


def python2(batch):
    """A batch as Python 2 wrote it, which is how CIFAR is published: texts are bytes."""
    out = io.BytesIO()
    counter = iter(range(1 << 16))

    def put():
        slot = next(counter)
        out.write(b"q" + bytes([slot]) if slot < 256 else b"r" + struct.pack("<I", slot))

    def text(value):
        out.write((b"U" + bytes([len(value)]) if len(value) < 256 else b"T" + struct.pack("<I", len(value))) + value)
        put()

    def number(value):
        out.write(b"K" + bytes([value]) if value < 256 else b"M" + struct.pack("<H", value))

    out.write(b"\x80\x02}")
    put()
    out.write(b"(")
    for key, value in batch.items():
        text(key.encode())
        if isinstance(value, list):
            out.write(b"]")
            put()
            out.write(b"(")
            for item in value:
                number(item) if isinstance(item, int) else text(item.encode())
            out.write(b"e")
        elif isinstance(value, str):
            text(value.encode())
        elif isinstance(value, int):
            number(value)
        else:
            out.write(b"cnumpy.core.multiarray\n_reconstruct\n")
            put()
            out.write(b"cnumpy\nndarray\n")
            put()
            out.write(b"K\x00\x85")
            put()
            out.write(b"U\x01b\x87Rq\xc8(K\x01")
            number(value.shape[0])
            number(value.shape[1])
            out.write(b"\x86cnumpy\ndtype\n")
            put()
            out.write(b"U\x02u1K\x00K\x01\x87Rq\xc9(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89")
            text(value.tobytes())
            out.write(b"tb")
    out.write(b"u.")
    return out.getvalue()


def batches(sets):
    writers = [("2", python2), *((f"3_{p}", lambda batch, p=p: pickle.dumps(batch, protocol=p)) for p in (2, 3, 4))]
    for kind, write in writers:
        place, parts = sets.place(f"cifar10_python{kind}"), {}
        folder = place / "cifar-10-batches-py"
        folder.mkdir()
        (folder / "batches.meta").write_bytes(write({"label_names": NAMES, "num_vis": 3072}))
        for split, files in {"train": [f"data_batch_{i}" for i in range(1, 6)] if kind == "2" else ["data_batch_1"], "test": ["test_batch"]}.items():
            read = []
            for file in files:
                n = 1
                labels = [int(label) for label in sets.labels(n)]
                data = sets.pictures(n, (3072,))
                (folder / file).write_bytes(write({"batch_label": file, "labels": labels, "data": data, "filenames": ["x.png"] * n}))
                found = pickle.loads((folder / file).read_bytes(), encoding="bytes")
                found = {key if isinstance(key, str) else key.decode(): value for key, value in found.items()}
                read.append((found["data"], found["labels"]))
            pixels = numpy.concatenate([data for data, _ in read]).reshape(-1, 3, 32, 32)
            parts[split] = numpy.moveaxis(pixels, 1, 3), sum((labels for _, labels in read), [])
        section = {} if kind == "2" else {"train": "data_batch_1"}
        sets.case(f"cifar10_python{kind}", "cifar10_python", parts, NAMES, **section)
    place, parts = sets.place("cifar100_python"), {}
    coarse = ["flowers", "trees"]
    (place / "meta").write_bytes(python2({"fine_label_names": NAMES, "coarse_label_names": coarse}))
    for split in sets.counts:
        batch = {"data": sets.pictures(1, (3072,)), "fine_labels": [2], "coarse_labels": [1]}
        (place / split).write_bytes(python2(batch))
        found = pickle.loads((place / split).read_bytes(), encoding="bytes")
        parts[split] = numpy.moveaxis(found[b"data"].reshape(-1, 3, 32, 32), 1, 3), found[b"fine_labels"]
    sets.case("cifar100_python", "cifar100_python", parts, NAMES)


def records(sets):
    place, parts = sets.place("cifar10_binary"), {}
    for split, files in {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}.items():
        read = []
        for file in files:
            data = sets.pictures(1, (3072,))
            (place / file).write_bytes(b"\x01" + data.tobytes())
            read.append(numpy.frombuffer((place / file).read_bytes(), "u1").reshape(-1, 3073))
        read = numpy.concatenate(read)
        parts[split] = numpy.moveaxis(read[:, 1:].reshape(-1, 3, 32, 32), 1, 3), read[:, 0]
    sets.case("cifar10_binary", "cifar10_binary", parts)
    place, parts = sets.place("cifar100_binary"), {}
    for split in sets.counts:
        data = sets.pictures(1, (3072,))
        (place / f"{split}.bin").write_bytes(b"\x01\x02" + data.tobytes())
        read = numpy.frombuffer((place / f"{split}.bin").read_bytes(), "u1").reshape(-1, 3074)
        parts[split] = numpy.moveaxis(read[:, 2:].reshape(-1, 3, 32, 32), 1, 3), read[:, 1]
    sets.case("cifar100_binary", "cifar100_binary", parts)
    for name, opener, ending in [("idx", open, ""), ("idx_gz", lambda path, mode: gzip.GzipFile(path, mode, mtime=0), ".gz")]:
        place, parts = sets.place(name), {}
        for split, n in sets.counts.items():
            x, y = sets.pictures(n, (HEIGHT, WIDTH)), sets.labels(n)
            prefix = {"train": "train", "test": "t10k"}[split]
            images, labels = place / f"{prefix}-images-idx3-ubyte{ending}", place / f"{prefix}-labels-idx1-ubyte{ending}"
            with opener(images, "wb") as file:
                file.write(struct.pack(">IIII", 0x803, n, HEIGHT, WIDTH) + x.tobytes())
            with opener(labels, "wb") as file:
                file.write(struct.pack(">II", 0x801, n) + y.astype("u1").tobytes())
            read = [numpy.frombuffer(opener(path, "rb").read(), "u1") for path in (images, labels)]
            parts[split] = read[0][16:].reshape(n, HEIGHT, WIDTH), read[1][8:]
        sets.case(name, "idx", parts, channels=1)


def parquet(sets):
    def pictures(kind, encoded):
        if kind == "struct":
            return pyarrow.array([{"bytes": data, "path": None} for data in encoded])
        return pyarrow.array(encoded, pyarrow.large_binary() if kind == "large" else pyarrow.binary())

    def category(labels):
        return pyarrow.array([NAMES[label] for label in labels]).dictionary_encode()

    def texts(labels):
        return pyarrow.array([NAMES[label] for label in labels])

    whole = lambda kind: lambda labels: pyarrow.array(labels, getattr(pyarrow, kind)())
    cases = [(f"parquet_{codec}", "struct", "image", whole("int64"), {"compression": codec}, {})
             for codec in ("none", "snappy", "gzip", "brotli", "zstd", "lz4")]
    cases += [(f"parquet_{kind}", "binary", "img", whole(kind), {}, {}) for kind in ("int8", "uint16", "int32", "uint64")]
    cases += [
        ("parquet_pages2", "struct", "image", whole("int64"), {"data_page_version": "2.0", "compression": "gzip"}, {}),
        ("parquet_large", "large", "image", whole("int64"), {"use_dictionary": False, "compression": "brotli"}, {}),
        ("parquet_text", "struct", "image", texts, {}, {}),
        ("parquet_category", "binary", "image", category, {}, {}),
        ("parquet_columns", "struct", "photo", texts, {}, {"columns": {"image": "photo", "label": "kind"}}),
    ]
    for name, kind, image, of_labels, options, section in cases:
        place, parts = sets.place(name), {}
        label = section.get("columns", {}).get("label", "label")
        for split, n in sets.counts.items():
            labels, encoded = sets.labels(n), [png(picture)[0] for picture in sets.pictures(n)]
            shards = 2 if name == "parquet_text" and split == "train" else 1
            for shard, of_shard in enumerate(numpy.array_split(range(n), shards)):
                table = {image: pictures(kind, [encoded[i] for i in of_shard]), label: of_labels(labels[of_shard]),
                         "note": pyarrow.array(["x"] * len(of_shard))}
                pyarrow.parquet.write_table(pyarrow.table(table), place / f"{split}-{shard}.parquet", row_group_size=3, **options)
            read = pyarrow.parquet.read_table(sorted(place.glob(f"{split}-*.parquet"))[0]) if shards == 1 else pyarrow.concat_tables(
                pyarrow.parquet.read_table(path) for path in sorted(place.glob(f"{split}-*.parquet")))
            found = [row["bytes"] if kind == "struct" else row for row in read[image].to_pylist()]
            pixels = [numpy.array(Image.open(io.BytesIO(data))) for data in found]
            found = read[label].to_pylist()
            parts[split] = pixels, [NAMES.index(value) if isinstance(value, str) else value for value in found]
        classes = NAMES if of_labels in (texts, category) else ()
        sets.case(name, "parquet", parts, classes, **section)


def layouts(sets):
    """The archives of known sets, small: what is read is the list of each, as torchvision reads it."""
    for name, folder, lists, line, order in [
        ("food101", "images", {"train": "meta/train.txt", "test": "meta/test.txt"}, "{label}/{index}", "by list"),
        ("mit67", "Images", {"train": "TrainImages.txt", "test": "TestImages.txt"}, "{label}/{index}.jpg", "by list"),
        ("fgvc_aircraft", "data/images", {"train": "data/images_variant_trainval.txt", "test": "data/images_variant_test.txt"},
         "{index} {label}", "flat"),
    ]:
        place, parts = sets.place(name), {}
        for split, n in sets.counts.items():
            labels = sets.labels(n)
            names = [f"{NAMES[label]} {label}" if order == "flat" else NAMES[label] for label in labels]
            lines, read = [], []
            for index, (picture, label) in enumerate(zip(sets.pictures(n), names)):
                path = f"{split}{index}.jpg" if order == "flat" else f"{label}/{split}{index}.jpg"
                read.append(png(picture, place / folder / path)[1])
                lines.append(line.format(label=label, index=f"{split}{index}"))
            (place / lists[split]).parent.mkdir(exist_ok=True)
            (place / lists[split]).write_text("\n".join(lines))
            parts[split] = read, labels
        classes = [f"{name_of} {label}" for label, name_of in enumerate(NAMES)] if order == "flat" else NAMES
        sets.case(name, name, parts, classes)
    place, parts, total = sets.place("flowers102"), {}, sum(sets.counts.values())
    labels = sets.labels(total) + 1
    read = [png(picture, place / "jpg" / f"image_{index:05}.jpg")[1] for index, picture in enumerate(sets.pictures(total), 1)]
    numbers = numpy.arange(total, 0, -1)
    cut = sets.counts["train"]
    scipy.io.savemat(place / "imagelabels.mat", {"labels": labels[None].astype(float)}, do_compression=True)
    scipy.io.savemat(place / "setid.mat", {"trnid": numbers[None, :1], "valid": numbers[None, 1:cut], "tstid": numbers[None, cut:]})
    ids, found = scipy.io.loadmat(place / "setid.mat"), scipy.io.loadmat(place / "imagelabels.mat")["labels"].ravel()
    for split, keys in {"train": ["trnid", "valid"], "test": ["tstid"]}.items():
        of_part = numpy.concatenate([ids[key].ravel() for key in keys])
        parts[split] = [read[number - 1] for number in of_part], [found[number - 1] - 1 for number in of_part]
    sets.case("flowers102", "flowers102", parts)


def write(folder, seed=1, times=1):
    """Writes everything, and gives the cases and the statistics of their training pictures."""
    sets = Sets(pathlib.Path(folder), seed, times)
    for part in (folders, tables_of_paths, archives, arrays, matlab, batches, records, parquet, layouts):
        part(sets)
    lines = (f"  {json.dumps(name)}: {json.dumps(case)}" for name, case in sorted(sets.cases.items()))
    (sets.folder / "cases.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    return sets.cases, sets.statistics


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--times", type=int, default=1, help="so many times as many pictures")
    asked = parser.parse_args()
    write(asked.folder, asked.seed, asked.times)
