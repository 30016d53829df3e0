#!/usr/bin/env bash
# Fuzzes every reader of files, one after the other, and says what was tried and found. Needs Rust and a C++ compiler;
# installs cargo-fuzz below target/ where it is missing. The first build takes several minutes.
#
#   scripts/fuzz.sh [SECONDS] [TARGET ...]      so many seconds for each target (60), or for those named
#
# Inputs that are worth keeping grow in fuzz/work; what crashed, or took too much time or memory, lies in fuzz/artifacts.
# The kept corpus, fuzz/corpus, is only read: after a finding is mended, its input is copied there by hand, and
# `cargo test -p archai-fuzz` replays it for ever.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
shift || true

tool=$(command -v cargo-fuzz || true)
if [ -z "$tool" ]; then
    tool=$PWD/target/ci-tools/bin/cargo-fuzz
    if [ ! -x "$tool" ]; then
        cargo install --quiet --locked --debug --version 0.13.2 --root target/ci-tools cargo-fuzz
    fi
fi

# The readers have no `unsafe` code of their own, so there is no need of a sanitizer, nor of a nightly compiler for it.
options=(-s none --fuzz-dir fuzz)
"$tool" build "${options[@]}"
if [ $# -eq 0 ]; then
    mapfile -t targets < <("$tool" list --fuzz-dir fuzz)
else
    targets=("$@")
fi

host=$(rustc -vV | sed -n 's/^host: //p')
found=0
printf '%-14s %12s %10s %8s %8s\n' target executions 'per second' inputs found
for target in "${targets[@]}"; do
    mkdir -p "fuzz/work/$target" "fuzz/artifacts/$target"
    before=$(find "fuzz/artifacts/$target" -type f | wc -l)
    log=fuzz/artifacts/$target.log
    # Findings end a round, so the rest of the time goes to further rounds.
    executions=0 start=$SECONDS
    : >"$log"
    while left=$((seconds - (SECONDS - start))) && [ "$left" -gt 0 ]; do
        "fuzz/target/$host/release/$target" "fuzz/work/$target" "fuzz/corpus/$target" \
            -max_total_time="$left" -timeout=60 -rss_limit_mb=4096 -max_len=65536 -print_final_stats=1 \
            -artifact_prefix="fuzz/artifacts/$target/" >"$log.round" 2>&1 && ok=1 || ok=0
        cat "$log.round" >>"$log"
        n=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log.round")
        executions=$((executions + ${n:-0}))
        rm "$log.round"
        if [ "$ok" = 1 ]; then break; fi
    done
    took=$((SECONDS - start))
    new=$(($(find "fuzz/artifacts/$target" -type f | wc -l) - before))
    found=$((found + new))
    inputs=$(find "fuzz/work/$target" -type f | wc -l)
    printf '%-14s %12d %10d %8d %8d\n' "$target" "$executions" $((executions / (took > 0 ? took : 1))) "$inputs" "$new"
done
if [ "$found" -gt 0 ]; then
    echo "$found findings in fuzz/artifacts" >&2
    exit 1
fi
