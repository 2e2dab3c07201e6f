"""What the tests of the sandbox let its children do."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_memory: list[int] = []


def preload() -> dict[str, Any]:
    """Return what the warm parent sees."""
    return {"pid": os.getpid(), "acme": os.environ["ACME_DIR"], "offline": os.environ["HF_HUB_OFFLINE"]}


def die() -> None:
    """End the warm parent before it can answer."""
    os._exit(9)


def add(a: Any, b: Any) -> Any:
    """Return a sum."""
    return a + b


def fail(error: str) -> None:
    """Raise."""
    raise LookupError(error)


def leave(how: str) -> None:
    """End the program, in one of its ways."""
    if how == "exit":
        sys.exit(3)
    if how == "interrupt":
        raise KeyboardInterrupt
    os.write(1, b"last words\n")
    os._exit(7)


def hang() -> None:
    """Never end."""
    while True:
        pass


def kill(number: int) -> None:
    """End by a signal."""
    os.kill(os.getpid(), number)


def chatter() -> None:
    """Write in every way to standard output and standard error."""
    print("printed")
    print("warned", file=sys.stderr)
    os.write(1, b"raw\n")
    atexit.register(print, "at exit")


def surroundings() -> dict[str, Any]:
    """Return where the child is, and leave a file there."""
    found = {
        "run": os.environ.get("ACME_RUN"),
        "cwd": os.getcwd(),
        "found": sorted(os.listdir()),
        "pid": os.getpid(),
    }
    Path("litter").touch()
    return found


def remember() -> int:
    """Return how often this was called in this process."""
    _memory.append(1)
    return len(_memory)


def leave_a_child_that_ends() -> int:
    """Leave a process behind that ends by itself, and return its id."""
    return subprocess.Popen([sys.executable, "-c", "print('done')"]).pid


def answer_that_cannot_travel() -> Any:
    """Return what cannot be pickled."""
    return lambda: None
