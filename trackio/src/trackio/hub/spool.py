"""The journals as the spool: which records of a run's writers are to be sent to a repository.

`push.json` in the run's folder says which repositories it is to go to, and how far each writer's journal is
known to be there: `{"repos": {repo: {"private": …, "writers": {writer: [offset, next, settled]}}}}`, in
bytes, sequences, and bytes again: up to where it is in the tables. It holds no token. It moves only after a
commit has returned; what is missing in it is found by listing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import orjson

from ..journal import journals
from ..lines import parse
from ..paths import write_all
from .texts import Pause, Record

LEDGER = "push.json"
LOCK = "push.lock"


def writer_of(path: str) -> str:
    """Return the writer's name of a journal."""
    return os.path.basename(path)[len("w-") : -len(".jsonl")]


class Mark(NamedTuple):
    """How far a journal is there: up to `offset`, in the tables up to `settled`; `following` comes next."""

    offset: int
    following: int
    settled: int


class Ledger:
    """What `push.json` of a run's folder says; unreadable, it says nothing."""

    def __init__(self, folder: str) -> None:
        self.path = os.path.join(folder, LEDGER)
        self.repos: dict[str, dict[str, Any]] = {}
        with suppress(OSError, ValueError, TypeError, LookupError, AttributeError):
            with open(self.path, "rb") as file:
                found = orjson.loads(file.read())
            self.repos = {
                repo: {"private": entry.get("private"), "writers": dict(entry["writers"])}
                for repo, entry in found["repos"].items()
            }

    def entry(self, repo: str) -> dict[str, Any]:
        """Return what is known of a repository, to be changed."""
        return self.repos.setdefault(repo, {"private": None, "writers": {}})

    def mark(self, repo: str, writer: str) -> Mark:
        """Return how far a writer's journal is there."""
        try:
            return Mark(*map(int, self.entry(repo)["writers"][writer]))
        except (KeyError, TypeError, ValueError):
            return Mark(0, 0, 0)

    def save(self) -> None:
        """Write the file, whole or not at all. Raises OSError."""
        draft = f"{self.path}.{os.getpid()}-{time.time_ns():x}"
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                write_all(fd, orjson.dumps({"repos": self.repos}))
                os.fsync(fd)
            finally:
                os.close(fd)
            os.replace(draft, self.path)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(draft)
            raise


@contextmanager
def alone(folder: str, patience: float) -> Iterator[bool]:
    """Let one process or thread at a time push a run; tell whether it is ours after `patience` seconds.

    Where there are no locks it is: the parent check of each commit makes two pushes of one run right, only
    slow.
    """
    import fcntl

    fd = os.open(os.path.join(folder, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        end = time.monotonic() + patience
        ours = False
        while not ours:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                ours = True
            except BlockingIOError:
                if time.monotonic() >= end:
                    break
                time.sleep(0.01)
            except OSError:
                ours = True
        yield ours
    finally:
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_UN)  # a child forked meanwhile has the descriptor too
        os.close(fd)


class Part(NamedTuple):
    """Records of a journal, `end` where they end, and how many lines between them are `damaged`."""

    records: list[Record]
    end: int
    damaged: int


def part(path: str, offset: int, limit: int, pause: Pause = lambda: None) -> Part:
    """Return whole records from `offset` on, about `limit` bytes; `pause` is called now and then. Raises
    OSError.
    """
    found: list[Record] = []
    damaged = 0
    end = offset
    with open(path, "rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                break  # torn, or just being written
            try:
                found.append(parse(line)[0])
            except ValueError:
                damaged += 1
            end += len(line)
            if not len(found) % 64:
                pause()
            if end - offset >= limit:
                break
    return Part(found, end, damaged)


def pending(folder: str, repo: str) -> int:
    """Return how many bytes of a run's journals are not yet known to be in a repository. Raises OSError."""
    ledger, count = Ledger(folder), 0
    for path in journals(folder):
        with suppress(FileNotFoundError):
            count += max(0, os.stat(path).st_size - ledger.mark(repo, writer_of(path)).offset)
    return count
