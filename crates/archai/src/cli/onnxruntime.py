# Run by `archai export --latency-with PYTHON` and `archai latency measure --runtime onnxruntime`: prints as JSON how long
# onnxruntime takes for each ONNX file among the arguments.
import json
import statistics
import sys
import time

import numpy as np
import onnxruntime

WARM_UP, LEAST = 3, 10

asked, *files = sys.argv[1:]
asked = json.loads(asked)
# Seconds and turns for each file and size of batches at most, runs of each file in a turn.
seconds, most, turn = asked["seconds"], asked["most"], asked["turn"]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = asked["threads"]
options.log_severity_level = 3
sessions = [onnxruntime.InferenceSession(f, options, providers=["CPUExecutionProvider"]) for f in files]


def images(session, batch):
    spec = session.get_inputs()[0]
    rng = np.random.default_rng(1)
    shape = (batch, *spec.shape[1:])
    if spec.type == "tensor(uint8)":
        return {spec.name: rng.integers(0, 256, shape, np.uint8)}
    # Pixels from 0 to 1 are as good as normalised ones: the time does not depend on them.
    return {spec.name: rng.random(shape, np.float32)}


rows = []
for batch in asked["batches"]:
    inputs = [images(session, batch) for session in sessions]
    times = [[] for _ in sessions]
    begun = time.perf_counter()
    runs = 0
    # In turn, so that whatever else the machine does meets all of them.
    while sessions and (
        runs < WARM_UP + LEAST or (time.perf_counter() - begun < seconds * len(files) and runs < most)
    ):
        for session, given, taken in zip(sessions, inputs, times):
            for _ in range(turn):
                start = time.perf_counter()
                session.run(None, given)
                taken.append(1e3 * (time.perf_counter() - start))
        runs += 1
    for taken in times:
        taken = taken[WARM_UP * turn :]
        rows.append({"batch": batch, "median_ms": statistics.median(taken), "times_ms": taken})
# By file, then by batch.
by_file = [rows[i :: len(files)] for i in range(len(files))]
print(json.dumps({"version": onnxruntime.__version__, "files": by_file}))
