"""Opens the journal that `archai search export --to optuna` writes with the real Optuna, and compares what is in it with the table
of the same search.

    python optuna_check.py target/release/archai

Needs optuna."""

import csv
import pathlib
import subprocess
import sys
import tempfile

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

SPACE = """\
space: tiny
version: 1
input: {channels: 1, size: [32, 32]}
classes: 10
network:
  - conv_bn: {out: {one_of: [4, 8, 16]}, kernel: {one_of: [3, 5]}, stride: 2, act: relu}
  - repeat: {times: {one_of: [1, 2]}, body: {conv_bn: {out: {one_of: [8, 16]}, kernel: 3, stride: 2, act: relu}}}
  - pool: {kind: mean}
  - linear: {out: $classes}
"""

STATES = {"done": "COMPLETE", "stopped": "PRUNED", "infeasible": "PRUNED", "failed": "FAIL", "paused": "RUNNING"}


def main():
    archai = pathlib.Path(sys.argv[1]).resolve()
    folder = pathlib.Path(tempfile.mkdtemp())
    (folder / "tiny.yaml").write_text(SPACE)

    def run(*args):
        done = subprocess.run([archai, *args], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{args} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"

    # Trials of all kinds: some wait at a rung or are given up.
    command = ["--optimiser", "halving", "--rungs", "1,2,4", "--set", "eta=2", "--budget", "8", "--limit", "params<=2k"]
    run("search", "run", "tiny.yaml", "--smoke", *command, "--dir", "s")
    run("search", "export", "s", "--to", "optuna", "-o", "optuna.log")
    run("search", "export", "s", "--to", "search_state", "-o", "state.csv")
    rows = list(csv.DictReader((folder / "state.csv").open()))

    storage = JournalStorage(JournalFileBackend(str(folder / "optuna.log")))
    study = optuna.load_study(study_name="tiny", storage=storage)
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert len(study.trials) == len(rows) == 8
    for trial, row in zip(study.trials, rows):
        assert trial.state.name == STATES[row["state"]], (trial.state, row)
        assert trial.user_attrs["archid"] == row["archid"]
        assert trial.user_attrs["params"] == float(row["params"])
        assert len(trial.params) >= 4, trial.params
        assert trial.intermediate_values, "a training has reports"
        if row["state"] == "done":
            assert trial.values == [float(row["accuracy"]), float(row["params"])]
    pareto = {row["archid"] for row in rows if row["is_pareto"] == "True"}
    best = {trial.user_attrs["archid"] for trial in study.best_trials}
    assert pareto == best and pareto, (pareto, best)
    print(f"optuna {optuna.__version__} opens the journal: {len(rows)} trials, {len(best)} on the front")


if __name__ == "__main__":
    main()
