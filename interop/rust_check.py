#!/usr/bin/env python3
"""Compile the written Rust sources and compare their logits with those that archai expects.

usage: rust_check.py CASES --target DIR [--json FILE]

CASES is what `cargo run --release -p archai-export --example interop_cases -- CASES` writes: a folder per network with
`model_rust`, the crate, and `case.safetensors`, images and the output expected for them. A build for each would take hours:
the sources of all networks become modules of one crate, which has the rest of the first (it is the same in all). FILE gets the
largest difference of each group of networks.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

TOLERANCE = 1e-4

MAIN = """//! Runs all networks.
#![allow(dead_code)]

mod builder;
mod networks;
mod weights;

use std::path::Path;

use archai_kernels::Exec;
use weights::Weights;

#[derive(Debug)]
pub struct Error(pub String);

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<archai_kernels::Unsupported> for Error {
    fn from(e: archai_kernels::Unsupported) -> Self {
        Error(e.to_string())
    }
}

fn main() {
    for (folder, network) in networks::ALL {
        let case = Weights::load(&Path::new(folder).join("case.safetensors")).expect("a case");
        let weights = Weights::load(&Path::new(folder).join("model_rust/model.safetensors")).expect("weights");
        let net = network(&weights).expect("a network");
        let given = net.run(&Exec::new(), &case.get("images").expect("images"));
        let expected = case.get("output").expect("the output");
        let worst = match given.len() == expected.len() {
            true => given.iter().zip(&expected).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, |worst, d| {
                // Not-a-number is no number that is small.
                if d.is_nan() || d > worst { d } else { worst }
            }),
            false => f64::NAN,
        };
        println!("{folder}\\t{worst}");
    }
}
"""

MANIFEST = """[package]
name = "networks"
version = "0.1.0"
edition = "2024"

[dependencies]
archai-kernels = {{ path = {kernels} }}

[workspace]

# What counts is how the kernels are compiled; a thousand functions that call them need no care.
[profile.release.package.networks]
opt-level = 0
"""


def texts(path):
    raw = path.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    return header["__metadata__"]


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("cases", type=Path)
    parser.add_argument("--target", type=Path, required=True, help="cargo's folder for what it builds")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found = sorted(path.parent.parent for path in args.cases.glob("*/model_rust/Cargo.toml"))
    # A case whose images are not normalised is one of ONNX files.
    cases = [case for case in found if texts(case / "case.safetensors").get("input", "normalised") == "normalised"]
    cases = [case for case in cases if "softmax" not in case.name]
    if not cases:
        sys.exit(f"{args.cases} holds no cases")
    crate = args.cases / "rust"
    shutil.rmtree(crate, ignore_errors=True)
    (crate / "src/networks").mkdir(parents=True)
    first = cases[0].resolve() / "model_rust"
    (crate / "Cargo.toml").write_text(MANIFEST.format(kernels=json.dumps(str(first / "kernels"))))
    for name in ["builder.rs", "weights.rs"]:
        shutil.copy(first / "src" / name, crate / "src" / name)
        for case in cases:
            if (case / "model_rust/src" / name).read_text() != (first / "src" / name).read_text():
                sys.exit(f"{case}: {name} is not that of the others")
    modules, entries = [], []
    for i, case in enumerate(cases):
        shutil.copy(case / "model_rust/src/network.rs", crate / f"src/networks/n{i}.rs")
        modules.append(f"mod n{i};\n")
        entries.append(f"    ({json.dumps(str(case.resolve()))}, n{i}::network),\n")
    kind = "fn(&crate::weights::Weights) -> Result<archai_kernels::infer::Net, crate::Error>"
    text = "".join(modules) + f"\npub const ALL: [(&str, {kind}); {len(cases)}] = [\n" + "".join(entries) + "];\n"
    (crate / "src/networks/mod.rs").write_text(text)
    (crate / "src/main.rs").write_text(MAIN)
    command = ["cargo", "build", "--release", "--quiet", "--manifest-path", str(crate / "Cargo.toml")]
    subprocess.run([*command, "--target-dir", str(args.target)], check=True)
    output = subprocess.run([str(args.target / "release/networks")], check=True, capture_output=True, text=True).stdout
    groups, failures, seen = {}, 0, 0
    for line in output.splitlines():
        folder, worst = line.split("\t")
        folder, worst, seen = Path(folder), float(worst), seen + 1
        if not worst <= TOLERANCE:
            print(f"FAILED {folder.name}: differs by {worst}")
            failures += 1
        entry = groups.setdefault(texts(folder / "case.safetensors")["group"], {"cases": 0, "largest_difference": 0.0})
        entry["cases"] += 1
        entry["largest_difference"] = max(entry["largest_difference"], worst)
    for group, entry in sorted(groups.items()):
        print(f"{group:32} {entry['cases']:4} cases, largest difference {entry['largest_difference']:.1e}")
    if args.json:
        args.json.write_text(json.dumps({"groups": dict(sorted(groups.items()))}, indent=1) + "\n")
    print(f"{seen - failures} of {len(cases)} cases agree to {TOLERANCE}")
    sys.exit(failures > 0 or seen != len(cases))


main()
