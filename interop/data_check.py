#!/usr/bin/env python3
"""Data sets of every format: what archai reads, beside what NumPy, Pillow, SciPy and PyArrow read in the same files.

    python interop/data_check.py target/release/examples/read_sets

The argument is the example of the crate archai-data that prints what it reads. Fresh files are written by
scripts/data_sets.py, with more pictures and other pixels than those that the crate's tests read. The table of docs/data.md
names what is compared: each of its rows must be executed, and each format that is executed must have a row.
"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import data_sets  # noqa: E402

# The table stands below this heading, and its rows begin with the name of a format.
HEADING = "## What is compared with what"
ROW = re.compile(r"^\| `(\w+)` \|")


def compare(program, seed):
    """Runs the program on fresh files; gives the number of data sets by format, and what differs."""
    done, wrong = {}, []
    with tempfile.TemporaryDirectory() as folder:
        cases = data_sets.write(folder, seed=seed, times=12)
        run = subprocess.run([program, folder], capture_output=True, text=True)
        if run.returncode:
            sys.exit(f"{program} failed: {run.stderr}")
        found = json.loads(run.stdout)
        for name, case in cases.items():
            format = case["section"]["format"]
            done[format] = done.get(format, 0) + 1
            for split, expected in case["expected"].items():
                for what, value in expected.items():
                    if found[name][split][what] != value:
                        wrong.append(f"{name}, {split}: {what} are {found[name][split][what]}, expected {value}")
    return done, wrong


def main(program):
    done = {}
    for seed in (2, 3):
        done, wrong = compare(program, seed)
        if wrong:
            sys.exit("archai reads something else:\n" + "\n".join(wrong))
    page = (ROOT / "docs/data.md").read_text()
    section = page.split(HEADING)[1].split("\n## ")[0]
    rows = {match.group(1) for match in map(ROW.match, section.splitlines()) if match}
    if rows != set(done):
        sys.exit(f"the table of docs/data.md and the data sets differ by {sorted(rows ^ set(done))}")
    for format, n in sorted(done.items()):
        print(f"{format:18} {n:3} data sets: labels, classes and pixels are equal")


if __name__ == "__main__":
    main(*sys.argv[1:])
