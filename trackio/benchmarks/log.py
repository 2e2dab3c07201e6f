"""What `log()` of 21 scalars costs, and what its parts cost: encodings side by side, in one run.

    python benchmarks/log.py [calls]

Prints median and 99th percentile in microseconds. Packages that are not installed are left out.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any


def measure(call: Callable[[], Any], calls: int) -> str:
    """Return median and 99th percentile of `call`, in µs, after a warm-up."""
    for _ in range(calls // 10):
        call()
    times = []
    for _ in range(calls):
        begin = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - begin)
    times.sort()
    return f"p50 {times[calls // 2] / 1000:7.2f}   p99 {times[calls * 99 // 100] / 1000:7.2f}"


def main() -> None:
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    draw = random.Random(0)
    metrics: dict[str, Any] = {f"train/metric_{i}": draw.random() * 10**i for i in range(20)}
    metrics["train/global_step"] = 1234
    record = [1, time.time_ns(), "log", 1234, metrics]

    encoders: dict[str, Callable[[], Any]] = {"json": lambda: json.dumps(record).encode()}
    for name, function in (("orjson", "dumps"), ("msgpack", "packb")):
        try:
            encode = getattr(importlib.import_module(name), function)
        except ImportError:
            continue
        encoders[name] = lambda encode=encode: encode(record)

    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRACKIO_DIR"] = folder
        for name, call in encoders.items():
            print(f"encode {name:20}", measure(call, calls))
        fd = os.open(os.path.join(folder, "plain"), os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        for name, call in encoders.items():
            print(f"encode + write {name:12}", measure(lambda call=call: os.write(fd, call()), calls))
        os.close(fd)

        import trackio

        run = trackio.init("benchmark", "log")
        print(f"{'trackio.log':27}", measure(lambda: trackio.log(metrics), calls))
        print(f"{'run.log(step=)':27}", measure(lambda: run.log(metrics, step=7), calls))
        exact = {**metrics, "train/metric_0": float("nan")}
        print(f"{'trackio.log with a NaN':27}", measure(lambda: trackio.log(exact), calls // 5))
        run.finish()
        begin = time.perf_counter()
        points = sum(1 for _ in trackio.Api().run("benchmark", "log").points())
        took = time.perf_counter() - begin
        print(f"read back {points:,} points in {took:.2f} s ({took / points * 1e6:.2f} s per million)")


if __name__ == "__main__":
    main()
