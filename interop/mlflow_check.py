"""Whether an MLflow server shows what a run logs, also when it goes away in the middle.

    mlflow_check.py ARCHAI

Starts a real server on a database of SQLite that takes artefacts, and reads back through MLflow's own client.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
from mlflow.tracking import MlflowClient

import tracking


class Server:
    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        program = Path(sys.executable).parent / "mlflow"
        with open(self.folder / "server.log", "a") as log:
            self.process = subprocess.Popen(
                [str(program), "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1",
                 "--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db",
                 "--artifacts-destination", str(self.folder / "artefacts"), "--serve-artifacts"],
                stdout=log, stderr=log, start_new_session=True)
        for _ in range(1500):
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.2)
            assert self.process.poll() is None, (self.folder / "server.log").read_text()
        raise AssertionError("the server does not start")

    def pause(self):
        os.killpg(self.process.pid, signal.SIGSTOP)

    def go_on(self):
        os.killpg(self.process.pid, signal.SIGCONT)

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def compare(client, folder, status="FINISHED"):
    """The run of a phase with its files; gives how many rows its metrics have."""
    experiment = client.get_experiment_by_name("archai")
    runs = [run for run in client.search_runs([experiment.experiment_id])
            if run.data.tags["archai.directory"] == str(folder)]
    assert len(runs) == 1, f"{len(runs)} runs of {folder}"
    run = runs[0]
    assert run.info.status == status, run.info.status
    assert run.info.run_name == folder.name
    rows = 0
    for curve, values in tracking.expected(folder).items():
        found = sorted((row.step, row.value) for row in client.get_metric_history(run.info.run_id, curve))
        wanted = sorted((step, float(value)) for step, value in values.items())
        if curve.startswith("speed/"):
            # A run that was resumed takes other times; the server has the first.
            assert [step for step, _ in found] == [step for step, _ in wanted], f"{curve}: {found} and not {wanted}"
        else:
            assert found == wanted, f"{folder.name} {curve}: {found} and not {wanted}"
        rows += len(found)
    started = json.loads((folder / "run.json").read_text())
    other = "nas.eval." if folder.name.endswith("_search") else "nas.search."
    for name, value in started["settings"].items():
        if value is None or name.startswith(other):
            assert name not in run.data.params
        else:
            text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
            assert run.data.params[name] == text[:500], f"{name}: {run.data.params[name]} and not {text}"
    assert run.data.tags["archai.version"] == started["program"]
    assert run.data.tags["mlflow.source.name"] == "archai"
    if status == "FINISHED":
        figures = json.loads((folder / "result.json").read_text())["figures"]
        for name, value in figures.items():
            assert run.data.metrics[name] == value, name
        with tempfile.TemporaryDirectory() as below:
            for name in ("config_used.yaml", "final_model_desc.yaml", "final_model_desc.svg", "result.json", "model.safetensors",
                         "summary.md"):
                if (folder / name).exists():
                    copy = client.download_artifacts(run.info.run_id, name, below)
                    assert Path(copy).read_bytes() == (folder / name).read_bytes(), name
    return rows


def start(command, **more):
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **more)


def wait_for_steps(folder, count, running):
    while sum("/steps/" in line.get("path", "") for line in tracking.lines(folder)) < count:
        assert running.poll() is None, "the run ended too early"
        time.sleep(0.02)


def main():
    archai = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        server = Server(folder / "server")
        begun = time.time()
        server.start()
        print(f"mlflow: the server takes {time.time() - begun:.1f} s to start")
        client = MlflowClient(server.url)
        to = ["--track", f"mlflow={server.url}", "common.track.wait_seconds=60"]
        try:
            said = tracking.run(archai, folder / "whole", *to)
            assert f"MLflow: {server.url}/#/experiments/" in said, said
            rows = sum(compare(client, phase) for phase in tracking.phases(folder / "whole"))
            print(f"mlflow: {rows} rows of metrics as logged, parameters, tags and files")

            # The server goes away in the middle and comes back: the run does not notice, and the server gets what it missed.
            running = start(tracking.command(archai, folder / "down", *to))
            wait_for_steps(tracking.phases(folder / "down")[0], 3, running)
            time.sleep(1.5)
            server.kill()
            wait_for_steps(tracking.phases(folder / "down")[1], 2, running)
            time.sleep(3)
            server.start()
            _, said = running.communicate(timeout=300)
            assert running.returncode == 0, said
            assert "gets nothing at the moment" in said and "is back" in said, said
            rows = sum(compare(client, phase) for phase in tracking.phases(folder / "down"))
            print(f"mlflow: {rows} rows of a run during which the server was away")

            # The run is killed and resumed: the same run of the server, each step once.
            tracking.kill_after(archai, folder / "killed", 7, *to)
            search = tracking.phases(folder / "killed")[0]
            done = subprocess.run([str(archai), "resume", str(search)], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            rows = sum(compare(client, phase) for phase in tracking.phases(folder / "killed"))
            print(f"mlflow: {rows} rows of a run that was killed and resumed, each once")

            # The server stays away: the end says how to catch up, and that command does.
            server.kill()
            command = tracking.command(archai, folder / "late", "--track", f"mlflow={server.url}",
                                       "common.track.wait_seconds=1")
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            phases = [str(phase) for phase in tracking.phases(folder / "late")]
            for phase in phases:
                assert f"archai track {phase} --to mlflow={server.url}" in " ".join(done.stderr.split()), done.stderr
            server.start()
            subprocess.run([str(archai), "track", *phases, "--to", f"mlflow={server.url}"], check=True,
                           stdout=subprocess.DEVNULL)
            rows = sum(compare(client, phase) for phase in tracking.phases(folder / "late"))
            print(f"mlflow: {rows} rows of a run that was given afterwards")

            # The server hangs at the end, and the user interrupts the wait: the run is closed as it is.
            running = start(tracking.command(archai, folder / "haste", *to))
            last = tracking.phases(folder / "haste")[1]
            wait_for_steps(last, 1, running)
            server.pause()
            # What comes after the page is the wait.
            while not (last / "report.html").exists():
                assert running.poll() is None, "the run ended too early"
                time.sleep(0.02)
            time.sleep(1)
            running.send_signal(signal.SIGINT)
            time.sleep(0.2)
            server.go_on()
            _, said = running.communicate(timeout=60)
            assert "waiting no longer for trackers" in said, said[-1000:]
            experiment = client.get_experiment_by_name("archai")
            states = [run.info.status for run in client.search_runs([experiment.experiment_id])
                      if run.data.tags["archai.directory"].startswith(str(folder / "haste"))]
            # A phase of which the server has not heard yet is not shown at all.
            assert set(states) == {"FINISHED"}, (states, said[-1000:])
            phases = [str(phase) for phase in tracking.phases(folder / "haste")]
            subprocess.run([str(archai), "track", *phases, "--to", f"mlflow={server.url}"], check=True,
                           stdout=subprocess.DEVNULL)
            rows = sum(compare(client, phase) for phase in tracking.phases(folder / "haste"))
            print(f"mlflow: {rows} rows of a run whose end was interrupted")

            # No bit of the results depends on any of this.
            tracking.run(archai, folder / "plain")
            contents = {(tracking.phases(folder / name)[1] / "model.pt").read_bytes()
                        for name in ("plain", "whole", "down", "killed", "late")}
            assert len(contents) == 1, "the weights depend on the tracker"
        finally:
            server.kill()


main()
