"""Time `log` of 21 numbers in the tracker that this Python has; `compare.py` starts it.

    python one.py trackio|mlflow CALLS FOLDER

Prints one JSON object: `version`; `times`, nanoseconds per call; and `kept`, nanoseconds per call until
`finish` has returned, because what a call leaves to a queue is work too.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import random
import sys
import time
from collections.abc import Callable
from typing import Any


def payload() -> dict[str, Any]:
    """Return what a trainer logs: 20 floats and the step."""
    draw = random.Random(0)
    metrics = {f"train/metric_{i}": draw.random() * 10 ** (i % 8) for i in range(20)}
    return {**metrics, "train/global_step": 1234.0}


def begin(tracker: str, folder: str) -> tuple[Callable[[dict[str, Any]], Any], Callable[[], Any]]:
    """Begin a run in `folder`; return what logs and what finishes."""
    if tracker == "mlflow":
        import mlflow

        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        mlflow.set_experiment("benchmark")
        mlflow.start_run()
        return lambda metrics: mlflow.log_metrics(metrics, step=7), mlflow.end_run
    os.environ["TRACKIO_DIR"] = folder
    import trackio

    trackio.init(project="benchmark", name="log")
    return trackio.log, trackio.finish


def main() -> None:
    tracker, calls, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", MLFLOW_DISABLE_TELEMETRY="true")
    output, sys.stdout = sys.stdout, sys.stderr  # trackers greet
    log, finish = begin(tracker, folder)
    metrics = payload()
    for _ in range(calls // 10):
        log(metrics)
    times, now = [0] * calls, time.perf_counter_ns
    begun = now()
    for i in range(calls):
        start = now()
        log(metrics)
        times[i] = now() - start
    finish()
    kept = (now() - begun) / calls
    json.dump({"version": importlib.metadata.version(tracker), "times": times, "kept": kept}, output)


if __name__ == "__main__":
    main()
