#!/usr/bin/env python3
"""Data sets of every format: what archai reads, beside what NumPy, Pillow, SciPy and PyArrow read in the same files.

    python interop/data_check.py target/release/examples/read_sets target/release/archai

The arguments are the example of the crate archai-data that prints every pixel that it reads, and the program. Fresh files are
written by scripts/data_sets.py, with more pictures and other pixels than those that the crate's tests read. The table of
docs/data.md names what is compared, by which commands: each of its rows must be executed, and whatever is executed must have a row.
"""
import csv
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy
import scipy.io
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import data_sets  # noqa: E402

# The table stands below this heading, and its rows begin with the name of a format; the commands have a column.
HEADING = "## What is compared with what"
ROW = re.compile(r"^\| `(\w+)` \|.*\| ([^|]*) \| [^|]* \|$")


def run(program, *args, folder=None, home=None):
    """Standard output of a command that must end well."""
    home = home or folder or tempfile.gettempdir()
    env = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(pathlib.Path(home) / "cache")}
    done = subprocess.run([program, *map(str, args)], capture_output=True, text=True, cwd=folder, env=env)
    if done.returncode:
        sys.exit(f"{program} {' '.join(map(str, args))} failed: {done.stdout}{done.stderr}")
    return done.stdout


def check(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: archai finds {found}, expected {expected}")


def near(what, found, expected):
    """Numbers that archai rounds to four digits."""
    if len(found) != len(expected) or numpy.max(numpy.abs(numpy.subtract(found, expected))) > 6e-5:
        sys.exit(f"{what}: archai finds {found}, expected {expected}")


def pixels(program, folder, cases):
    """Labels, names of classes and every pixel."""
    found = json.loads(run(program, folder))
    for name, case in cases.items():
        for split, expected in case["expected"].items():
            for what, value in expected.items():
                check(f"{name}, {split}: {what}", found[name][split][what], value)


def inspected(archai, folder, name, case, statistics):
    """Counts, classes, sizes, mean and deviation, as `archai data inspect` prints them of a data set that is described."""
    section = {**case["section"], "path": str(folder / case["section"]["path"])}
    file = folder / f"{name}.yaml"
    file.write_text("dataset: " + json.dumps(section))
    found = json.loads(run(archai, "data", "inspect", file, "--json", home=folder))
    parts = case["expected"]
    classes = parts["train"]["classes"] or [str(label) for label in range(section["n_classes"])]
    counts = {split: [parts[split]["labels"].count(label) for label in range(len(classes))] for split in parts}
    expected = [{"name": name_of, "train": counts["train"][label], "test": counts["test"][label]}
                for label, name_of in enumerate(classes)]
    check(f"{name}: classes", found["classes"], expected)
    check(f"{name}: counts", [found["train"], found["test"]], [len(parts["train"]["labels"]), len(parts["test"]["labels"])])
    check(f"{name}: size", found["size"], section["size"])
    check(f"{name}: format", found["format"], section["format"])
    if sides := found["pictures"]["sides"]:
        height, width = section["size"]
        check(f"{name}: sides", [sides["height"]["min"], sides["width"]["max"], sides["same"]], [height, width, True])
    mean, deviation = statistics
    near(f"{name}: mean", found["mean"], mean)
    near(f"{name}: deviation", found["std"], deviation)


MODES = {"png": ["RGB", "L", "RGBA", "LA", "P", "I;16"], "jpg": ["RGB", "L"], "webp": ["RGB", "RGBA"], "bmp": ["RGB", "L"],
         "gif": ["P"], "tif": ["RGB", "L"]}


def mixed(folder, n=300):
    """Pictures as people have them: every kind of file, mode and size, some that their camera noted as turned. Gives the height and
    width of each as it shows, its class, and whether it is grey."""
    random, classes, all_of_them = numpy.random.RandomState(5), ["circles", "crosses", "stripes"], []
    kinds = [(ending, mode) for ending, modes in MODES.items() for mode in modes]
    for i in range(n):
        (ending, mode), label = kinds[i % len(kinds)], i % len(classes)
        height, width = random.randint(20, 200, 2)
        y, x = numpy.mgrid[-1:1:height * 1j, -1:1:width * 1j]
        shape = [x * x + y * y < 0.4, (abs(x) < 0.2) | (abs(y) < 0.2), numpy.sin(12 * x) > 0][label]
        colours = random.randint(0, 256, (2, 3))
        picture = Image.fromarray(colours[shape.astype(int)].astype(numpy.uint8))
        if mode == "I;16":
            picture = Image.fromarray(numpy.asarray(picture.convert("L")).astype(numpy.uint16) * 257)
        elif mode in ("RGBA", "LA"):
            picture.putalpha(Image.fromarray((255 * shape).astype(numpy.uint8)))
            picture = picture.convert(mode)
        else:
            picture = picture.convert(mode)
        place, exif = folder / classes[label] / f"{i:03}.{ending}", Image.Exif()
        place.parent.mkdir(parents=True, exist_ok=True)
        turned = ending == "jpg" and i % 4 == 0
        if turned:
            exif[0x0112] = 6
            height, width = width, height
        picture.save(place, **({"exif": exif} if turned else {}))
        all_of_them.append((height, width, classes[label], turned))
    return classes, all_of_them


# A network that trains in seconds.
QUICK = ["nas.search.loader.dataset.max_batches=4", "nas.search.loader.train_batch=8", "nas.search.model_desc.n_cells=3",
         "nas.search.model_desc.cell.n_nodes=1", "nas.search.model_desc.model_stems.init_node_ch=2",
         "nas.eval.loader.dataset.max_batches=-1", "nas.eval.loader.train_batch=16", "nas.eval.model_desc.n_cells=5",
         "nas.eval.model_desc.model_stems.init_node_ch=4", "nas.eval.trainer.epochs=1"]


def end_to_end(archai):
    """One folder of 300 mixed pictures through all commands that take one."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        classes, pictures = mixed(folder / "photos")
        # Nothing set apart, so that all of them are looked at.
        found = json.loads(run(archai, "data", "inspect", "photos", "--json", "--dataset.test_ratio=0.0", folder=folder))
        counts = {row["name"]: row["train"] for row in found["classes"]}
        check("mixed: classes", counts, {name: sum(of == name for _, _, of, _ in pictures) for name in classes})
        shorter = sorted(min(height, width) for height, width, _, _ in pictures)
        sides = {"min": shorter[0], "median": shorter[(len(shorter) - 1) // 2], "max": shorter[-1]}
        check("mixed: sides", found["pictures"]["sides"]["shorter"], sides)
        check("mixed: turned", found["pictures"]["turned"], sum(turned for *_, turned in pictures))
        run(archai, "run", "--data", "photos", "--algos", "darts", "--exp-prefix", "mixed", "--logdir", folder / "runs", *QUICK,
            folder=folder)
        model = folder / "runs/darts_photos_mixed_eval"
        result = json.loads((model / "result.json").read_text())
        measured = json.loads(run(archai, "evaluate", "--model", model, "--data", "photos", "--json", folder=folder))
        check("mixed: test pictures", [measured["pictures"], measured["split"]], [60, "test"])
        if abs(measured["top1"] - result["figures"]["test_top1"]) > 2 / 60:
            sys.exit(f"mixed: the run's accuracy is {result['figures']['test_top1']}, measured again it is {measured['top1']}")
        rows = list(csv.DictReader(io.StringIO(run(archai, "predict", "--model", model, "--data", "photos", "--format", "csv",
                                                   folder=folder))))
        check("mixed: predictions", len(rows), 60)
        check("mixed: labels", {row["label"] for row in rows if pathlib.Path(row["picture"]).parent.name != row["label"]}, set())
        check("mixed: correct", sum(row["name"] == row["label"] for row in rows), measured["correct"])
        # Without labels, as a folder of files.
        rows = list(csv.DictReader(io.StringIO(run(archai, "predict", "--model", model, "photos", "--format", "csv", folder=folder))))
        check("mixed: all pictures", len(rows), len(pictures))
    print(f"{len(pictures)} mixed pictures: inspected, searched and trained on, evaluated and predicted")
    return [f"archai {command}" for command in ("run --data", "evaluate --data", "predict --data")]


def stanford_cars(archai):
    """The lines of Python that the data set's file gives, on annotations as Stanford Cars has them."""
    lines = (ROOT / "confs/datasets/stanfordcars.yaml").read_text().splitlines()
    lines = [line[1:] for line in lines if line.startswith("#   ")]
    indent = len(lines[0]) - len(lines[0].lstrip())
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        fields = [(name, object) for name in ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")]
        labels = {"train": [3, 1, 2, 3, 1, 2, 2], "test": [2, 3, 1, 1]}
        (folder / "devkit").mkdir()
        for part, file in [("train", "devkit/cars_train_annos.mat"), ("test", "cars_test_annos_withlabels.mat")]:
            rows = [(1, 2, 30, 40, label, f"{index:05}.jpg") for index, label in enumerate(labels[part], 1)]
            scipy.io.savemat(folder / file, {"annotations": numpy.array(rows, dtype=fields)})
            (folder / f"cars_{part}").mkdir()
            for *_, name in rows:
                Image.new("RGB", (300, 260), (90, 120, 60)).save(folder / f"cars_{part}" / name)
        run(sys.executable, "-c", "\n".join(line[indent:] for line in lines), folder=folder)
        found = json.loads(run(archai, "data", "inspect", "stanfordcars", f"--dataset.path={folder}", "--dataset.n_classes=3", "--json",
                               home=folder))
    expected = [{"name": str(label), **{part: labels[part].count(label + 1) for part in labels}} for label in range(3)]
    check("stanfordcars: classes", found["classes"], expected)
    print("stanfordcars: the tables that its file says how to make")


def main(program, archai):
    program, archai = (str(pathlib.Path(path).resolve()) for path in (program, archai))
    done, n = {}, {}
    for seed in (2, 3):
        with tempfile.TemporaryDirectory() as folder:
            cases, statistics = data_sets.write(folder, seed=seed, times=12)
            pixels(program, folder, cases)
            for name, case in cases.items():
                inspected(archai, pathlib.Path(folder), name, case, statistics[name])
                format = case["section"]["format"]
                n[format] = n.get(format, 0) + 1
                done[format] = {"read_sets", "archai data inspect"}
    done["image_folder"].update(end_to_end(archai))
    stanford_cars(archai)
    page = (ROOT / "docs/data.md").read_text()
    section = page.split(HEADING)[1].split("\n## ")[0]
    rows = {match.group(1): set(re.findall(r"`([^`]+)`", match.group(2)))
            for match in map(ROW.match, section.splitlines()) if match}
    if rows != done:
        differ = sorted(format for format in rows.keys() | done.keys() if rows.get(format) != done.get(format))
        sys.exit("\n".join(["the table of docs/data.md and what is executed differ:",
                            *(f"{format}: {rows.get(format)} and {done.get(format)}" for format in differ)]))
    for format, count in sorted(n.items()):
        print(f"{format:18} {count:3} data sets: {', '.join(sorted(done[format]))}")


if __name__ == "__main__":
    main(*sys.argv[1:])
