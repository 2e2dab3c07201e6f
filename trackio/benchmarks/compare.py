"""What `log()` of 21 numbers costs, beside Hugging Face's Trackio and MLflow's SQLite store, in one run.

    python benchmarks/compare.py [--trackio-python PATH] [--mlflow-python PATH] [--rounds 5]

Hugging Face's Trackio and this one are both called `trackio`, so the other needs an environment of its own:
give its Python, here or in `$TRACKIO_PYTHON` and `$MLFLOW_PYTHON`. What is not there is left out, in words.
Rounds alternate; each is a fresh process and a fresh folder.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ONE = Path(__file__).with_name("one.py")
CALLS = {"reference": 20_000, "trackio": 3_000, "mlflow": 100}


def run(name: str, python: str) -> tuple[str, list[float]]:
    """Run one round; return the tracker's version, and µs a call: median, 99th percentile, until kept."""
    tracker = "mlflow" if name == "mlflow" else "trackio"
    with tempfile.TemporaryDirectory() as folder:
        command = [python, str(ONE), tracker, str(CALLS[name]), folder]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    if done.returncode:
        sys.exit(f"{name} ({python}) failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    if tracker == "trackio" and ("reference" in found["version"]) != (name == "reference"):
        sys.exit(f"{python} has trackio {found['version']}, which is not what is compared as {name!r}")
    times = sorted(found["times"])
    return found["version"], [
        nanoseconds / 1000
        for nanoseconds in (times[len(times) // 2], times[len(times) * 99 // 100], found["kept"])
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="log() beside other trackers")
    parser.add_argument("--trackio-python", default=os.environ.get("TRACKIO_PYTHON"))
    parser.add_argument("--mlflow-python", default=os.environ.get("MLFLOW_PYTHON"))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    here = importlib.util.find_spec("mlflow") is not None
    pythons = {
        "reference": sys.executable,
        "trackio": options.trackio_python,
        "mlflow": options.mlflow_python or (sys.executable if here else None),
    }
    for name in [name for name, python in pythons.items() if python is None]:
        print(f"{name}: left out; give --{name}-python or ${name.upper()}_PYTHON")
        del pythons[name]

    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, {options.rounds} rounds")
    rounds: dict[str, list[list[float]]] = {name: [] for name in pythons}
    versions = {}
    for _ in range(options.rounds):
        for name, python in pythons.items():
            versions[name], figures = run(name, str(python))
            rounds[name].append(figures)
    medians = {
        name: [statistics.median(column) for column in zip(*found, strict=True)]
        for name, found in rounds.items()
    }
    print(f"{'µs a call':30}{'p50':>20}{'p99':>20}{'until kept':>20}")
    for name, figures in medians.items():
        cells = [
            f"{figure:10,.2f} {figure / base:7,.1f} x"
            for figure, base in zip(figures, medians["reference"], strict=True)
        ]
        print(f"{name + ' ' + versions[name]:30}" + "".join(f"{cell:>20}" for cell in cells))
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
