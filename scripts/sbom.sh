#!/usr/bin/env bash
# Writes the software bill of materials of the program as CycloneDX JSON: every crate that it is built of, with version,
# licence, source and hash. Installs cargo-cyclonedx below target/ where it is missing.
#
#   scripts/sbom.sh [FILE]      to FILE (target/archai.cdx.json)
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-target/archai.cdx.json}

if ! command -v cargo-cyclonedx >/dev/null; then
    export PATH="$PWD/target/ci-tools/bin:$PATH"
    if ! command -v cargo-cyclonedx >/dev/null; then
        cargo install --quiet --locked --debug --version 0.5.9 --root target/ci-tools cargo-cyclonedx
    fi
fi

# The tool writes a file beside each manifest of the workspace.
name=archai-sbom-$$
trap 'rm -f crates/*/"$name".json' EXIT
cargo cyclonedx --quiet --format json --override-filename "$name"
mkdir -p "$(dirname "$out")"
mv "crates/archai/$name.json" "$out"
echo "$out: $(grep -c '"purl": "pkg:cargo/' "$out") crates"
