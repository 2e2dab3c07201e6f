"""What a dataset costs: bytes and requests per 1,000 logs, and what `log()` feels of it.

    python benchmarks/hub.py [--seconds 25] [--rounds 5]

The first table is counted at the Hub in memory of trl-conformance. In the second, a process logs 21 numbers
100 times a second and pushes every ten seconds, thirty times as often as by default, to a Hub in another
process, to one that is down, and to none; rounds alternate. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

CHILD = """
import json, os, sys, time
import trackio
from one import payload
metrics, seconds = payload(), float(sys.argv[1])
repo = sys.argv[2] or None
run = trackio.init("p", resume="never", dataset_id=repo)
log, now, times = trackio.log, time.perf_counter_ns, []
end = time.monotonic() + seconds
while time.monotonic() < end:
    time.sleep(0.01)
    start = now()
    log(metrics)
    times.append(now() - start)
os.environ["TRACKIO_PUSH_TIMEOUT"] = "5"
trackio.finish()
times.sort()
found = [times[len(times) // 2], times[len(times) * 99 // 100], times[-1]]
print(json.dumps([time / 1000 for time in found] + [len(times)]))
"""

SERVER = """
import sys
from conformance.hub import Hub
from conformance.hub.server import served
with served(Hub("user", sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.read()
"""

TOKEN = "hf_" + "b" * 34


def counted(keys: int, flushes: int) -> str:
    """Push 1,000 logs of so many numbers in so many flushes and a last one; return a line of the table."""
    from conformance.hub import Request, Response, memory_hub

    import trackio
    from trackio.hub.push import Pusher
    from trackio.hub.remote import Remote

    heads = 0

    def count(state: Any, request: Request, proceed: Callable[[], Response]) -> Response:
        nonlocal heads
        heads += len(f"{request.method} {request.path} HTTP/1.1\r\n\r\n")
        heads += sum(len(name) + len(value) + 4 for name, value in request.headers.items())
        return proceed()

    draw = random.Random(0)
    with memory_hub() as hub:
        hub.fail(with_=count, times=None)
        run = trackio.init("p", resume="never")
        pusher = Pusher(Remote("user/data"), [str(run.folder)])
        starts = []
        for step in range(1000):
            trackio.log({f"train/metric_{key}": draw.random() for key in range(keys)}, step=step)
            if (step + 1) % (1000 // flushes) == 0:
                starts.append(len(hub.requests))
                pusher.once()
        journal = sum(path.stat().st_size for path in Path(str(run.folder)).glob("w-*"))
        starts.append(len(hub.requests))
        trackio.finish()
        while pusher.once(final=True):
            pass
        sent, received = (sum(getattr(each, what) for each in hub.requests) for what in ("sent", "received"))
        # The first one also looks at the repository and makes it.
        each = Counter(end - start for start, end in pairwise(starts[1:]))
        told = ", ".join(f"{times} of {requests}" for requests, times in sorted(each.items()))
        return (
            f"{keys:7} {flushes:8} {journal / 1e6:8.2f} {sent / 1e6:8.3f} {heads / 1e6:8.3f} "
            f"{received / 1e6:9.2f} {len(hub.requests):9} {len(hub.commits('user/data')) - 1:8}   "
            f"{told}; {(starts[-1] - starts[1]) / (flushes - 1):.2f} on average"
        )


@contextmanager
def hub() -> Iterator[str]:
    """Serve a Hub from a process of its own, and yield its address."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, TOKEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdin and server.stdout
    try:
        yield server.stdout.readline().strip()
    finally:
        server.stdin.close()
        server.wait()


def felt(where: str, url: str, seconds: float) -> list[float]:
    """Return median, 99th percentile and maximum of `log()` in µs, and how often it was called."""
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "TRACKIO_DIR": folder, "HF_HOME": folder, "HF_TOKEN": TOKEN, "HF_ENDPOINT": url}
        env |= {"TRACKIO_SYSTEM": "0", "TRACKIO_PUSH_INTERVAL": "10", "HF_HUB_DISABLE_XET": "1"}
        env["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), env.get("PYTHONPATH", "")])
        repo = "" if where == "none" else f"user/data-{time.time_ns()}"
        command = [sys.executable, "-W", "ignore", "-c", CHILD, str(seconds), repo]
        found: list[float] = json.loads(subprocess.check_output(command, env=env, cwd=folder))
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=25.0)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    print(f"Python {sys.version.split()[0]}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"TRACKIO_DIR": folder, "TRACKIO_SYSTEM": "0"}
        print(
            "1,000 logs: numbers, flushes | journal, sent, headers, received (MB) | requests, commits "
            "| requests of the flushes after the first"
        )
        for keys, flushes in ((5, 100), (5, 5), (21, 100), (21, 5)):
            print(counted(keys, flushes), flush=True)
    times: dict[str, list[list[float]]] = {"up": [], "down": [], "none": []}
    with hub() as url:
        for _ in range(args.rounds):
            for where, rounds in times.items():
                rounds.append(felt(where, url if where != "down" else "http://127.0.0.1:9", args.seconds))
    for where, rounds in times.items():
        p50, p99, most, calls = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(
            f"Hub {where:5} log() p50 {p50:7.1f} µs, p99 {p99:7.1f} µs, max {most:9.1f} µs, {calls:.0f} calls"
        )
    p99 = {where: statistics.median(round_[1] for round_ in rounds) for where, rounds in times.items()}
    print(f"p99: up / down {p99['up'] / p99['down']:.2f}, up / none {p99['up'] / p99['none']:.2f}")
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
