#!/usr/bin/env bash
# Runs tests of the kernels, the one crate with `unsafe`, under valgrind: it sees reads and writes outside of blocks and
# decisions on memory that nobody wrote. valgrind knows AVX2 and FMA, so the fast kernels run and not only the portable
# ones. Takes about a minute.
#
#   scripts/valgrind.sh              the tests below
#   scripts/valgrind.sh NAME ...     tests whose names contain one of these
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v valgrind >/dev/null; then
    echo "valgrind is not installed (Debian and Ubuntu: apt-get install valgrind): nothing was checked" >&2
    exit 2
fi
if [ $# -eq 0 ]; then
    # Every kernel at least once.
    set -- pointwise_and_factorized_reduce many_channels separable conv::dense affine_norms any_subset \
        norm_pool_mix elementwise packing::ops infer_few
fi

test=$(cargo test --release -p archai-kernels --test it --no-run 2>&1 | sed -n 's/.*Executable .*(\(.*\))$/\1/p')
if [ -z "$test" ]; then
    echo "the tests of archai-kernels were not built; see: cargo test --release -p archai-kernels --test it --no-run" >&2
    exit 1
fi
exec valgrind --quiet --error-exitcode=1 --leak-check=no "$test" --test-threads=1 "$@"
