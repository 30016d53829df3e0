#!/usr/bin/env bash
# Makes docs/results.md: the reduced comparisons of all algorithms on CIFAR-10 and on NAS-Bench-201.
#
#   scripts/results.sh --cifar10 DATASET.yaml --table NB201.csv.gz [--logdir DIR] [--archai PROGRAM] [--threads N]
#
# --cifar10  the data set, as `archai run --datasets` takes it
# --table    accuracies of NAS-Bench-201, as `archai run --table` takes them
#
# It can be stopped at any time and started again: a run whose evaluation left its result.json is not made again, one that was
# cut off is made anew. Results do not depend on the number of threads. At the end it writes docs/results.md.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
archai=$here/../target/release/archai
logdir=$HOME/logdir/results
threads=$(nproc)
cifar10= table=
while [ $# -gt 0 ]; do
    case $1 in
        --cifar10) cifar10=$2 ;;
        --table) table=$2 ;;
        --logdir) logdir=$2 ;;
        --archai) archai=$2 ;;
        --threads) threads=$2 ;;
        *) sed -n 's/^# \{0,1\}//; 2,10p' "$0" >&2; exit 2 ;;
    esac
    shift 2
done
if [ -z "$cifar10" ] || [ -z "$table" ]; then
    echo "--cifar10 and --table are needed; see the head of $0" >&2
    exit 2
fi

# run FOLDER ALGORITHM SEED CONFIGS [MORE…]
run() {
    local dir=$logdir/$1 algo=$2 seed=$3 configs=$4
    shift 4
    local found=("$dir/$algo"*_"seed$seed"_eval/result.json)
    if [ -e "${found[0]}" ]; then
        echo "there: ${found[0]}"
        return
    fi
    # What an interrupted run left counts for nothing.
    rm -rf "$dir/$algo"_*_"seed$seed"_{search,eval} "$dir/$algo"-*_"seed$seed"_{search,eval}
    echo "$(date +%T) $algo, seed $seed, in $dir"
    mkdir -p "$dir"
    "$archai" run --full --algos "$algo" --datasets "$cifar10" --seed "$seed" --exp-prefix "seed$seed" \
        --config "$configs" --logdir "$dir" --threads "$threads" "$@" 2> "$dir/$algo-seed$seed.log" > /dev/null ||
        { tail -n 20 "$dir/$algo-seed$seed.log" >&2; exit 1; }
}

base=$here/results/cifar10.yaml
for seed in 1 2 3; do
    run cifar10 darts $seed "$base"
    run cifar10 gs $seed "$base"
    run cifar10 random $seed "$base;$here/results/random.yaml"
done
for algo in didarts xnas divnas; do
    run cifar10 $algo 1 "$base"
done
run cifar10 petridish 1 "$base;$here/results/petridish.yaml"
run cifar10 manual 1 "$base;$here/results/manual.yaml"
run cifar10 nasbench101 1 "$base;$here/results/nasbench101.yaml"

base=$here/results/nasbench201.yaml
for seed in 1 2 3; do
    run nasbench201 darts $seed "$base" --space nasbench201 --table "$table"
    run nasbench201 random $seed "$base;$here/results/random.yaml" --space nasbench201 --table "$table"
done

# The page: its head, and below it what the reports say, one heading lower.
page=$(dirname "$here")/docs/results.md
new=$(mktemp "$page.XXXXXX")
trap 'rm -f "$new"' EXIT
{
    cat "$here/results/head.md"
    for part in cifar10 nasbench201; do
        case $part in
            cifar10) echo -e "\n## CIFAR-10 (JPEG copy), each algorithm in its own space\n" ;;
            nasbench201) echo -e "\n## NAS-Bench-201\n" ;;
        esac
        "$archai" report collate "$logdir/$part" | sed -e '1,2d' -e "s/^## Group/### Group/" -e "s|$logdir/||g"
    done
} > "$new"
chmod 644 "$new"
mv "$new" "$page"
echo "$page"
