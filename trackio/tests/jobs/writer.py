"""A process that logs without end, or a fixed number of times, and acknowledges each record.

    python writer.py one|threads|finish|fork|swarm seed [name]

A line `<writer> <i>` on standard output says that `log` returned for record i of that writer: a thread of
this process or of a forked child. `swarm` ends by itself; the others want to be killed.
"""

from __future__ import annotations

import os
import random
import sys
import threading

import trackio

MODE, SEED = sys.argv[1], int(sys.argv[2])
NAME = sys.argv[3] if len(sys.argv) > 3 else "n"
LONG = "x" * 30_000  # a record over several pages of the cache: SIGKILL may stop a write between two


def write(writer: str, begin: int, count: int, draw: random.Random) -> int:
    """Log and acknowledge records `begin` … of `writer`; return where it stopped."""
    for i in range(begin, begin + count):
        metrics = {"writer": writer, "i": i, "loss": i / 7}
        if draw.random() < 0.1:
            metrics["long"] = LONG
        trackio.log(metrics, step=i)
        os.write(1, f"{writer} {i}\n".encode())  # one write, so that lines of threads stay apart
    return begin + count


def spawn(label: str, count: int) -> int:
    """Fork a child that logs `count` records and is gone."""
    if (child := os.fork()) == 0:
        write(f"{label}-{os.getpid()}", 0, count, random.Random(label))
        os._exit(0)
    return child


def threads(number: int, count: int) -> list[threading.Thread]:
    found = []
    for index in range(number):
        arguments = (f"{os.getpid()}-t{index}", 0, count, random.Random(SEED + index))
        found.append(threading.Thread(target=write, args=arguments))
    return found


def main() -> None:
    me, draw, endless = f"{os.getpid()}-main", random.Random(SEED), 10**9
    trackio.init("p", NAME, resume="allow")
    if MODE == "one":
        write(me, 0, endless, draw)
    elif MODE == "threads":
        for thread in threads(4, endless):
            thread.start()
    elif MODE == "finish":
        i = 0
        while True:
            i = write(me, i, draw.randrange(20), draw)
            trackio.finish()
            if draw.random() < 0.5:
                trackio.init("p", NAME, resume="allow")
    elif MODE == "fork":
        i = 0
        while True:
            i = write(me, i, draw.randrange(10), draw)
            child = spawn("child", 20)
            i = write(me, i, 5, draw)
            os.waitpid(child, 0)
    elif MODE == "swarm":
        working = threads(4, 100)
        for thread in working:
            thread.start()
        children = [spawn(f"child{number}", 25) for number in range(3)]
        for child in children:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        for thread in working:
            thread.join()
        health = trackio.context_vars.current_run.get().health()
        assert (health["written"], health["dropped"]) == (400, 0), health


main()
