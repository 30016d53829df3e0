#!/usr/bin/env python3
"""The table of docs/export.md: ops, spaces and networks by formats, with the largest difference that the checks saw.

    differences.py onnx=onnx.json tract=tract.json …                           prints the table
    differences.py --page docs/export.md onnx=onnx.json ...                     puts it into the page

Each file is what onnx_check.py, tract-check, pytorch_check.py or rust_check.py wrote with --json.
"""

import argparse
import json
import re
from pathlib import Path

BEGIN, END = "<!-- differences: interop/differences.py -->", "<!-- end of differences -->"


def groups(path):
    """The largest difference of each group of cases."""
    report = json.loads(Path(path).read_text())
    report = report.get("groups", report)
    return {name: entry.get("largest_difference", entry.get("difference")) for name, entry in report.items()}


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--page", type=Path)
    parser.add_argument("reports", nargs="+", metavar="FORMAT=FILE")
    args = parser.parse_args()
    reports = {name: groups(path) for name, path in (report.split("=", 1) for report in args.reports)}
    names = sorted({name for found in reports.values() for name in found})
    if not names:
        raise SystemExit("the reports hold no cases")
    lines = ["| network | " + " | ".join(reports) + " |", "|---|" + "---:|" * len(reports)]
    for name in names:
        cells = [f"{found[name]:.1e}" if name in found else "–" for found in reports.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    table = "\n".join(lines)
    if not args.page:
        print(table)
        return
    page = args.page.read_text()
    new, n = re.subn(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: f"{BEGIN}\n{table}\n{END}", page, flags=re.S)
    if n != 1:
        raise SystemExit(f"{args.page} has {n} places for the table, expected 1")
    args.page.write_text(new)


main()
