"""The ends of a process: at exit runs finish; after an uncaught exception or SIGTERM their status is
`failed`.

Whoever had the hook before is called after. Where no hook runs (SIGKILL, power failure), nothing is
written, and a reader infers `crashed` from a journal without an end whose process is gone.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .run import Run

#: Runs of this process with an open journal.
OPEN: set[Run] = set()

_previous: dict[str, Any] = {}
_masks = threading.local()


def install() -> None:
    """Install the hooks, once per process; for the signal only from the main thread, as Python demands."""
    if "atexit" not in _previous:
        _previous["atexit"] = atexit.register(_at_exit)
        _previous["excepthook"], sys.excepthook = sys.excepthook, _excepthook
    if "sigterm" not in _previous and threading.current_thread() is threading.main_thread():
        before = signal.getsignal(signal.SIGTERM)
        # None: a handler that Python did not install and cannot call. SIG_IGN: somebody wants to live on.
        if before is not None and before is not signal.SIG_IGN:
            _previous["sigterm"] = before
            signal.signal(signal.SIGTERM, _on_sigterm)


def before_fork() -> None:
    """Hold SIGTERM back while this thread forks.

    CPython forgets, in the child, signals with Python handlers that arrived while it was being made
    (Modules/signalmodule.c, `_PySignal_AfterFork`). Without our handler such a child would have died.
    """
    if "sigterm" in _previous:
        _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def after_fork() -> None:
    """Let SIGTERM through again, in the parent and, once it knows itself, in the child."""
    if (before := getattr(_masks, "before", None)) is not None:
        _masks.before = None
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _at_exit() -> None:
    for run in list(OPEN):
        with suppress(Exception):  # strict mode raises, and nobody is left to hear it
            run.finish(run._outcome)


def _mark_failed() -> None:
    for run in list(OPEN):
        with suppress(Exception):
            run._mark("failed")


def _excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    _mark_failed()
    _previous["excepthook"](kind, error, trace)


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    _mark_failed()
    before = _previous["sigterm"]
    if callable(before):
        before(number, frame)
    else:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
