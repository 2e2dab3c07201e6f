"""A process whose files may not grow, for a while: by RLIMIT_FSIZE, or on a small file system given as path.

    python full.py limit|PATH

Logs 60 records, 20 in each of three times: before, while the disk is full, and after. Prints what became of
each: `kept <i>` where `log` counted it as written, `lost <i>` where as dropped.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import trackio


def size() -> int:
    return max(path.stat().st_size for path in Path(os.environ["TRACKIO_DIR"]).rglob("w-*"))


def fill(where: str) -> None:
    if where == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (size() + 1000, resource.RLIM_INFINITY))
        return
    with open(os.path.join(where, "filler"), "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass


def free(where: str) -> None:
    if where == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    else:
        os.unlink(os.path.join(where, "filler"))


def log(run: trackio.Run, begin: int) -> None:
    for i in range(begin, begin + 20):
        before = run.health()
        trackio.log({"i": i, "text": "x" * 300})
        after = run.health()
        word = "kept" if after["written"] > before["written"] else "lost"
        assert after["dropped"] - before["dropped"] == (word == "lost")
        print(word, i)


def main() -> None:
    where = sys.argv[1]
    run = trackio.init("p", "n")
    log(run, 0)
    fill(where)
    log(run, 20)
    print("error", run.health()["last_error"])
    free(where)
    log(run, 40)
    trackio.finish()


main()
