"""Break every request of a push, one at a time: is a record lost, or there twice?

    python benchmarks/hub_faults.py [--logs 1000] [--writers 4] [--effects NAME …]

Four writers, each a thread with a folder of its own, log to one dataset and push at the same time. Before
that, rounds without a fault count the requests; then there is a round for each of them, in which this one
fails: the connection is reset before the Hub does it, or after; the answer is cut off; the Hub says 429 or
503. At the end the dataset is compared with the journals, record by record. Needs trl-conformance,
whose Hub in memory it pushes to, and any huggingface_hub. Exits with 1 if a record is lost or is there twice.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import huggingface_hub.utils._http as http
from conformance.hub import Hub, Reset, Status, Truncate, memory_hub

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from hubs import here, machine, more, push, pusher, there, twice

from trackio.hub import push as push_module

EFFECTS: dict[str, Any] = {
    "reset before": Reset(),
    "reset after": Reset(after=True),
    "truncated": Truncate(),
    "429": Status(429, retry_after=0),
    "503": Status(503),
}

#: Pushes of each writer before its last: tables, a text, tables that take it in.
FLUSHES, EVERY = 3, 2


def work(top: Path, number: int, logs: int, runs: list[Any]) -> None:
    """Be one writer."""
    run = machine(top / str(number), logs=0)
    its = pusher(run)
    for _ in range(FLUSHES):
        more(run, logs // (FLUSHES + 1))
        push(its)
    more(run, logs - FLUSHES * (logs // (FLUSHES + 1)))
    run.finish()
    push(its, final=True)
    runs[number] = run


def a_round(hub: Hub, writers: int, logs: int) -> tuple[int, int, int, int]:
    """Return how many requests there were, records written, lost, and found twice."""
    start = len(hub.requests)
    with tempfile.TemporaryDirectory() as folder:
        runs: list[Any] = [None] * writers
        threads = [
            threading.Thread(target=work, args=(Path(folder), number, logs // writers, runs))
            for number in range(writers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        written, found = here(*filter(None, runs)), there(hub)
        lost = sum(record not in found.get(who, []) for who, records in written.items() for record in records)
        lost += logs * runs.count(None)
        double = len(twice(hub)) + sum(len(found[who]) - len(written.get(who, [])) for who in found)
    hub.calm()
    hub.state.repos.clear()
    return len(hub.requests) - start, sum(map(len, written.values())), lost, double


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--logs", type=int, default=1000)
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--effects", nargs="+", choices=EFFECTS, default=list(EFFECTS))
    args = parser.parse_args()
    os.environ["TRACKIO_SYSTEM"] = "0"
    # The client sleeps seconds between its own attempts.
    http.time = SimpleNamespace(**{**vars(time), "sleep": lambda wait: None})
    push_module.EVERY, push_module.MANY = EVERY, 2  # so that the last push makes one shard of several
    stack = next(name for name in ("httpx2", "httpx", "requests") if hasattr(http, name))
    print(
        f"huggingface_hub {huggingface_hub.__version__} ({stack}), {args.writers} writers, {args.logs} logs"
    )
    bad = 0
    with memory_hub() as hub:
        calm = max(a_round(hub, args.writers, args.logs)[0] for _ in range(3))
        for name in args.effects:
            rounds, requests, records, lost, double, struck = 0, 0, 0, 0, 0, 0
            for number in range(1, calm + 1):
                fault = hub.fail(on=number, with_=EFFECTS[name])
                made, written, missing, again = a_round(hub, args.writers, args.logs)
                struck += len(fault.hits)
                rounds, requests, records = rounds + 1, requests + made, records + written
                lost, double = lost + missing, double + again
            print(
                f"{name:13} {rounds} rounds, {struck} faults, {requests} requests, {records} records: "
                f"{lost} lost, {double} twice",
                flush=True,
            )
            bad += lost + double
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
