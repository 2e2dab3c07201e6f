"""What this tracker promises about cost, and what it costs here: import, log, bytes, memory, reading back.

    python benchmarks/goals.py

Each figure is the median of several rounds. Nothing is asserted: the machine may be shared. Where a figure is
seconds of one process alone, it is that process's CPU time, which other processes disturb least.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from one import payload

import trackio

METRICS = payload()


def tell(what: str, found: float, unit: str, goal: float | None = None) -> None:
    """Print a figure beside its goal, which is an upper bound."""
    verdict = "" if goal is None else f"goal {goal:g} {unit}  " + ("met" if found <= goal else "MISSED")
    print(f"{what:52} {found:12,.2f} {unit:6} {verdict}", flush=True)


def importing(rounds: int = 21) -> float:
    """Return what `import trackio` adds to the start of Python, in ms of CPU; starts alternate."""
    took: dict[str, list[float]] = {"pass": [], "import trackio": []}
    for _ in range(rounds):
        for code, times in took.items():
            start = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, "-c", code], check=True)
            end = resource.getrusage(resource.RUSAGE_CHILDREN)
            times.append((end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime) * 1000)
    return statistics.median(took["import trackio"]) - statistics.median(took["pass"])


def latency(calls: int) -> tuple[float, float]:
    """Return median and 99th percentile of `log`, in µs."""
    times, now, log = [0] * calls, time.perf_counter_ns, trackio.log
    for i in range(calls):
        start = now()
        log(METRICS)
        times[i] = now() - start
    times.sort()
    return times[calls // 2] / 1000, times[calls * 99 // 100] / 1000


def rounds(count: int, calls: int) -> tuple[float, float]:
    """Return the medians of several rounds of `latency`."""
    found = []
    for _ in range(count):
        trackio.init("goals", resume="never")
        latency(calls // 10)
        found.append(latency(calls))
        trackio.finish()
    return statistics.median(p50 for p50, _ in found), statistics.median(p99 for _, p99 in found)


def resident() -> float:
    """Return the memory this process holds, in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def reading(name: str, part: Callable[[int], None], logs: int) -> float:
    """Log and read back a million points; return seconds of CPU, the median of five readings."""
    trackio.init("goals", name)
    for i in range(logs):
        part(i)
    trackio.finish()
    took = []
    for _ in range(5):
        start = time.process_time()
        count = sum(1 for _ in trackio.Api().run("goals", name).points())
        took.append((time.process_time() - start) / count * 1_000_000)
    return statistics.median(took)


def size(metrics: dict[str, float], logs: int = 1000) -> tuple[float, float]:
    """Return bytes per log in the journal, and in plain JSON lines of the same."""
    run = trackio.init("goals", resume="never")
    for step in range(logs):
        trackio.log(metrics, step=step)
    trackio.finish()
    (path,) = Path(str(run.folder)).glob("w-*")
    lines = (json.dumps({"step": step, "time": time.time(), **metrics}) + "\n" for step in range(logs))
    return path.stat().st_size / logs, sum(map(len, lines)) / logs


def memory(logs: int = 1_000_000) -> list[float]:
    """Return the memory held at the start, and after 10 % and 100 % of a million logs, in MB."""
    trackio.init("goals", "memory")
    found, metrics = [resident()], {"loss": 0.5, "lr": 1e-4}
    for step in range(logs):
        trackio.log(metrics, step=step)
        if step + 1 in (logs // 10, logs):
            found.append(resident())
    trackio.finish()
    return found


def main() -> None:
    print(f"Python {sys.version.split()[0]}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    tell("import trackio", importing(), "ms", 50)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRACKIO_DIR"] = folder
        p50, p99 = rounds(9, 20_000)
        tell("log() of 21 floats, p50", p50, "µs", 5)
        tell("log() of 21 floats, p99", p99, "µs", 25)
        os.environ["TRACKIO_FSYNC"] = "always"
        p50, p99 = rounds(3, 1_000)
        tell("the same with TRACKIO_FSYNC=always, p50", p50, "µs")
        tell("the same with TRACKIO_FSYNC=always, p99", p99, "µs")
        del os.environ["TRACKIO_FSYNC"]
        for count, metrics in ((21, METRICS), (1, {"loss": 0.123456789})):
            here, plain = size(metrics)
            tell(f"bytes of a log of {count} (JSON lines: {plain:.0f})", here, "B", plain)
        start, tenth, end = memory()
        tell("memory added by the first 100,000 logs", tenth - start, "MB")
        tell("memory added by 900,000 more", end - tenth, "MB", 1)
        many = reading("many", lambda _: trackio.log(METRICS), 47_620)
        tell("1,000,000 points read, 21 a log", many, "s", 1)
        one = reading("one", lambda i: trackio.log({"loss": i / 7}, step=i), 1_000_000)
        tell("1,000,000 points read, one a log", one, "s", 1)
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
