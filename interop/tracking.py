"""What the checks of trackers share: a small search and evaluation, and the log that they are compared with."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

# Long enough that a search can be killed in its middle.
EPOCHS = 40
# So small that a phase takes seconds, with a log line for each step.
SMALL = [
    "nas.search.loader.dataset.max_batches=6",
    "nas.search.loader.train_batch=4",
    "nas.search.loader.test_batch=4",
    "nas.search.model_desc.n_cells=3",
    "nas.search.model_desc.n_reductions=1",
    "nas.search.model_desc.cell.n_nodes=2",
    "nas.search.model_desc.model_stems.init_node_ch=2",
    f"nas.search.trainer.epochs={EPOCHS}",
    "nas.search.trainer.logger_freq=1",
    "nas.eval.loader.dataset.max_batches=4",
    "nas.eval.loader.train_batch=4",
    "nas.eval.loader.test_batch=4",
    "nas.eval.model_desc.n_cells=3",
    "nas.eval.model_desc.n_reductions=1",
    "nas.eval.model_desc.aux_weight=0",
    "nas.eval.model_desc.model_stems.init_node_ch=2",
    "nas.eval.trainer.epochs=2",
    "nas.eval.trainer.logger_freq=1",
    "common.checkpoint.every_steps=1",
]
NAME = "darts_fashion_mnist_mini_tracked"


def command(archai, logdir, *more):
    return [str(archai), "run", "--algos", "darts", "--threads", "2", "--exp-prefix", "tracked", "--logdir", str(logdir),
            *more, *SMALL]


def run(archai, logdir, *more):
    """Runs to the end, and gives what was said on standard error."""
    done = subprocess.run(command(archai, logdir, *more), capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stderr


def phases(logdir):
    return [Path(logdir) / f"{NAME}_{phase}" for phase in ("search", "eval")]


def lines(folder):
    """The lines of a log that are there as a whole."""
    path = Path(folder) / "log.jsonl"
    if not path.exists():
        return []
    whole = path.read_text().rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines()]


def kill_after(archai, logdir, count, *more):
    """Kills a run when its search has logged so many steps."""
    running = subprocess.Popen(command(archai, logdir, *more), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    search = phases(logdir)[0]
    while sum("/steps/" in line.get("path", "") for line in lines(search)) < count:
        assert running.poll() is None, "the run ended before it was killed"
        time.sleep(0.02)
    # A tracker looks once a second.
    time.sleep(1.2)
    assert not (search / "result.json").exists(), "the search was over before it was killed"
    os.kill(running.pid, signal.SIGKILL)
    running.wait()


def expected(folder):
    """What docs/tracking.md says of the log: {curve: {step: value}} for the curves that the checks compare."""
    curves, batches = {}, {}
    for line in lines(folder):
        path, values = line.get("path"), line.get("values", {})
        if path is None:
            continue
        for title, group in (("arch_search/arch_train", "search"), ("eval_arch/eval_train", "eval")):
            if path == f"{title}__init__":
                batches[group] = values
            parts = path.split("/")
            if not path.startswith(f"{title}/epochs/"):
                continue
            epoch, below = int(parts[3]), parts[4:]
            if below[-2:-1] == ["steps"]:
                part = "train" if len(below) == 2 else below[0]
                place, step = f"{part}_steps", epoch * batches[group][f"{part}_batches"] + int(below[-1])
            else:
                place, step = "/".join(below), epoch
            for name, value in values.items():
                if isinstance(value, (int, float)) and not isinstance(value, bool):
                    speed = "speed/" if name in ("duration", "step_time", "images_per_s") else ""
                    curve = f"{speed}{group}/{place}/{name}"
                    assert step not in curves.setdefault(curve, {}), f"{curve} has step {step} twice in the log"
                    curves[curve][step] = value
    return curves
