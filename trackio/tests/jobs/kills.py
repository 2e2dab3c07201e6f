"""Kill writers at random instants and compare what they acknowledged with what is kept."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import trackio

WRITER = Path(__file__).with_name("writer.py")
MODES = ("one", "threads", "finish", "fork")


def begin(root: Path, mode: str, seed: int, name: str = "n") -> subprocess.Popen[bytes]:
    """Start a writer on the store `root`."""
    command = [sys.executable, str(WRITER), mode, str(seed), name]
    return subprocess.Popen(command, env={**os.environ, "TRACKIO_DIR": str(root)}, stdout=subprocess.PIPE)


def acknowledged(output: bytes) -> Counter[str]:
    """Return how many records each writer acknowledged; they must have come in order."""
    counts: Counter[str] = Counter()
    lines = output.split(b"\n")
    for line in lines[:-1]:  # what follows the last newline is a line that was not written whole
        writer, number = line.decode().split()
        assert int(number) == counts[writer], f"{writer} acknowledged {number} after {counts[writer] - 1}"
        counts[writer] += 1
    return counts


def kept(run: Any) -> dict[str, list[int]]:
    """Return the numbers of the records of each writer, in the order they are read; each must be whole."""
    found = defaultdict(list)
    for _, _, kind, step, body in run.records():
        if kind == "log":
            assert body["loss"] == body["i"] / 7 and step == body["i"]
            assert body.get("long", "x" * 30_000) == "x" * 30_000
            found[body["writer"]].append(body["i"])
    return found


def compare(output: bytes, run: Any, ended: bool) -> Counter[str]:
    """Assert that all that was acknowledged is kept, gapless and in order; return figures.

    A writer that was killed may have kept one more than it acknowledged; one that `ended` may not.
    """
    said, found = acknowledged(output), kept(run)
    for writer in {*said, *found}:
        numbers = found.get(writer, [])
        assert numbers == list(range(len(numbers))), f"{writer}: gaps, or out of order"
        more = len(numbers) - said[writer]
        assert more in ((0,) if ended else (0, 1)), f"{writer} acknowledged {said[writer]}, {more:+} are kept"
    assert not run.damage.lines and (not ended or not run.damage)
    return Counter(
        records=said.total(), torn=run.damage.torn, more=sum(map(len, found.values())) - said.total()
    )


def kill(root: Path, mode: str, seed: int) -> Counter[str]:
    """Start a writer, kill it at an instant that `seed` draws, compare. Return figures."""
    process = begin(root, mode, seed)
    assert process.stdout is not None
    output = [process.stdout.readline()]
    reader = threading.Thread(target=lambda: output.append(process.stdout.read()))
    reader.start()
    time.sleep(random.Random(seed).uniform(0, 0.06))
    process.kill()
    process.wait()
    reader.join()  # ends when forked children have ended, too
    run = trackio.Api(root).run("p", "n")
    figures = compare(b"".join(output), run, ended=False)
    status = run.status
    assert status in (("crashed", "finished") if mode == "finish" else ("crashed",)), status
    return figures + Counter(kills=1, **{status: 1})
