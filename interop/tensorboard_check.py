"""Whether TensorBoard shows what a run logs: its own reader of event files, and its server, as a browser asks it.

    tensorboard_check.py ARCHAI

Also runs the program of docs/tracking.md that sends the log elsewhere.
"""

import io
import json
import socket
import struct
import subprocess
import sys
import tempfile
import time
import types
import urllib.request
from pathlib import Path

from PIL import Image
from tensorboard.backend.event_processing import event_accumulator

import tracking


def read(folder):
    sizes = {kind: 0 for kind in (event_accumulator.SCALARS, event_accumulator.HISTOGRAMS, event_accumulator.IMAGES,
                                  event_accumulator.TENSORS)}
    events = event_accumulator.EventAccumulator(str(folder / "tensorboard"), size_guidance=sizes)
    events.Reload()
    return events


def as_float32(value):
    return struct.unpack("f", struct.pack("f", value))[0]


def compare(folder):
    """The curves of a phase with its log; gives how many points they have."""
    events, expected = read(folder), tracking.expected(folder)
    assert expected, f"{folder} has no log"
    points = 0
    for curve, values in expected.items():
        found = [(event.step, event.value) for event in events.Scalars(curve)]
        wanted = [(step, as_float32(value)) for step, value in values.items()]
        assert found == wanted, f"{folder} {curve}: {found} and not {wanted}"
        points += len(found)
    times = {line["time"][:19] for line in tracking.lines(folder)}
    first = events.Scalars(next(iter(expected)))[0].wall_time
    assert time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(first)) in times
    figures = json.loads((folder / "result.json").read_text())["figures"]
    for name, value in figures.items():
        assert events.Scalars(f"result/{name}")[0].value == as_float32(value), name
    return points


def check_alphas(folder):
    """The histograms and pictures of the search."""
    events = read(folder)
    epochs = {}
    for line in tracking.lines(folder):
        if line.get("path", "").endswith("/alphas"):
            epochs[int(line["path"].split("/")[3])] = line["values"]
    assert len(epochs) == tracking.EPOCHS
    for edge in epochs[0]:
        found = events.Histograms(f"weights/search/{edge}")
        assert [event.step for event in found] == sorted(epochs), edge
        for event in found:
            n = len(epochs[event.step][edge])
            value = event.histogram_value
            assert value.num == n and sum(value.bucket) == n and abs(value.sum - 1) < 1e-9, edge
    pictures = [tag for tag in events.Tags()["images"] if tag.startswith("weights/search/cell")]
    assert len(pictures) == 2, pictures
    for tag in pictures:
        for event in events.Images(tag):
            picture = Image.open(io.BytesIO(event.encoded_image_string))
            picture.load()
            assert picture.size == (event.width, event.height) and len(picture.getcolors(10000)) > 2
    return len(epochs[0]), len(pictures)


class Server:
    """TensorBoard's server, as a browser asks it."""

    def __init__(self, logdir):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir), "--port", str(self.port),
             "--host", "127.0.0.1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ask(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{path}", data=data)
        if data:
            request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def wait(self, runs):
        for _ in range(300):
            try:
                if set(runs) <= set(self.ask("data/runs")):
                    return
            except OSError:
                pass
            time.sleep(0.2)
        raise AssertionError(f"TensorBoard does not show {runs}")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def check_server(logdir):
    folders = tracking.phases(logdir)
    runs = [f"{folder.name}/tensorboard" for folder in folders]
    server = Server(logdir)
    try:
        server.wait(runs)
        time.sleep(2)
        scalars = server.ask("data/plugin/scalars/tags")
        for folder, run in zip(folders, runs):
            expected = tracking.expected(folder)
            assert set(expected) <= set(scalars[run]), set(expected) - set(scalars[run])
            curve = next(iter(expected))
            found = server.ask(f"data/plugin/scalars/scalars?tag={curve}&run={run}")
            assert [row[1] for row in found] == list(expected[curve]), found
        search, evaluation = runs
        assert "weights/search/cell0.node0.edge0" in server.ask("data/plugin/histograms/tags")[search]
        assert any(tag.startswith("weights/search/cell0") for tag in server.ask("data/plugin/images/tags")[search])
        texts = server.ask("data/plugin/text/tags")
        assert {"summary", "run"} <= set(texts[evaluation]), texts
        experiment = server.ask("data/plugin/hparams/experiment", {"experimentName": "", "hparamsLimit": 0})
        names = {info["name"] for info in experiment["hparamInfos"]}
        assert {"common.seed", "algorithm", "nas.search.trainer.epochs"} <= names, names
        groups = server.ask("data/plugin/hparams/session_groups", {
            "experimentName": "", "allowedStatuses": ["STATUS_SUCCESS"], "colParams": [], "startIndex": 0, "sliceSize": 10})
        found = {group["sessions"][0]["name"]: group for group in groups["sessionGroups"]}
        assert len(found) == 2, list(found)
        for folder in folders:
            group = next(group for name, group in found.items() if folder.name in name)
            settings = json.loads((folder / "run.json").read_text())["settings"]
            assert group["hparams"]["common.seed"] == settings["common.seed"], group["hparams"]
            assert group["sessions"][0]["status"] == "STATUS_SUCCESS"
        return len(scalars[search]) + len(scalars[evaluation]), len(names)
    finally:
        server.stop()


def check_uploader(logdir):
    """The program of docs/tracking.md, with a module in the place of `wandb` that notes what it is given."""
    page = (Path(__file__).parent / "../docs/tracking.md").read_text()
    program = page.split("```python\n")[1].split("```")[0]
    noted = []
    wandb = types.ModuleType("wandb")
    wandb.init = lambda **given: noted.append(given)
    wandb.log = lambda values: noted.append(values)
    wandb.finish = lambda: None
    sys.modules["wandb"] = wandb
    folder = tracking.phases(logdir)[0]
    argv, sys.argv = sys.argv, ["upload.py", str(folder)]
    try:
        exec(compile(program, "docs/tracking.md", "exec"), {"__name__": "__main__"})
    finally:
        sys.argv = argv
    assert noted[0]["config"]["common.seed"] == 2
    for part, name in (("train", "loss"), ("train", "top1"), ("val", "loss"), ("guard", "entropy")):
        found = [(values["epoch"], values[f"{part}/{name}"]) for values in noted[1:] if f"{part}/{name}" in values]
        wanted = list(tracking.expected(folder)[f"search/{part}/{name}"].items())
        assert found == wanted, f"{part}/{name}: {found} and not {wanted}"
    return len(noted) - 1


def main():
    archai = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        plain, tracked, killed = (Path(folder) / name for name in ("plain", "tracked", "killed"))
        said = tracking.run(archai, tracked, "--track", "tensorboard")
        assert f"tensorboard --logdir {tracked}" in said, said
        points = sum(compare(phase) for phase in tracking.phases(tracked))
        edges, pictures = check_alphas(tracking.phases(tracked)[0])
        tags, settings = check_server(tracked)
        print(f"tensorboard: {points} points, {edges} histograms and {pictures} pictures an epoch as logged; "
              f"its server shows {tags} tags and {settings} settings")
        # Killed in the middle and resumed, from its directory alone: each step once, and the same result.
        tracking.kill_after(archai, killed, 7, "--track", "tensorboard")
        assert read(tracking.phases(killed)[0]).Scalars("search/train_steps/loss"), "nothing was shown before the end"
        done = subprocess.run([str(archai), "resume", str(tracking.phases(killed)[0])], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        points = sum(compare(phase) for phase in tracking.phases(killed))
        print(f"tensorboard: {points} points of a run that was killed and resumed, each once")
        # Without, and given afterwards.
        tracking.run(archai, plain)
        assert not any((phase / "tensorboard").exists() for phase in tracking.phases(plain))
        for name in ("final_model_desc.yaml", "model.safetensors", "model.pt"):
            contents = [(tracking.phases(logdir)[1] / name).read_bytes() for logdir in (plain, tracked, killed)]
            # The weights; what stands beside them says where and when.
            if name != "model.safetensors":
                assert contents[0] == contents[1] == contents[2], f"{name} depends on the tracker"
        given = [str(phase) for phase in tracking.phases(plain)]
        subprocess.run([str(archai), "track", *given, "--to", "tensorboard"], check=True, stdout=subprocess.DEVNULL)
        points = sum(compare(phase) for phase in tracking.phases(plain))
        print(f"tensorboard: {points} points of a run that was given afterwards")
        print(f"log.jsonl: {check_uploader(tracked)} lines sent on by the program of docs/tracking.md")


main()
