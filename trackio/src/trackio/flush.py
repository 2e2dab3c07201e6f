"""The one background thread: it brings journals to the disk, a second after something was written.

It sleeps without a timeout while nothing is dirty, ends when the last journal is closed, and is never
inherited: a forked child calls `reset`. `TRACKIO_FSYNC=always` makes the writer sync by itself and leaves
nothing to do here.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .journal import Journal

#: Seconds between a first unsynced record and the sync that covers it: what a power failure can take.
INTERVAL = 1.0


class Flusher:
    """Syncs what is dirty. `touch` costs a few microseconds, once per journal and interval."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, as a forked child must: its parent's thread and locks do not exist there."""
        self._lock = threading.Lock()
        self._dirty: set[Journal] = set()
        self._worker: _Worker | None = None
        #: Why the latest sync failed, None if it did not.
        self.last_error: str | None = None

    def touch(self, journal: Journal) -> None:
        """Have `journal` synced within `INTERVAL`."""
        with self._lock:
            self._dirty.add(journal)
            if self._worker is None:
                worker = _Worker(self)
                try:
                    worker.start()
                except RuntimeError:
                    return  # the interpreter is going down; closing the journal syncs it
                self._worker = worker
            self._worker.wake.set()

    def sync(self) -> None:
        """Sync every dirty journal; one that fails, or was written to meanwhile, stays dirty."""
        with self._lock:
            dirty, self._dirty = self._dirty, set()
        for journal in dirty:
            try:
                journal.sync()
                self.last_error = None
            except OSError as error:
                self.last_error = f"{type(error).__name__}: {error}"
            if journal.unsynced and not journal.closed:
                self.touch(journal)

    def stop(self) -> None:
        """End the thread and wait for it. The next `touch` starts another."""
        with self._lock:
            worker, self._worker = self._worker, None
            self._dirty.clear()
        if worker is not None:
            worker.stop.set()
            worker.wake.set()
            if worker is not threading.current_thread():
                worker.join(5)


class _Worker(threading.Thread):
    def __init__(self, flusher: Flusher) -> None:
        super().__init__(name="trackio-flush", daemon=True)
        self.flusher = flusher
        self.wake, self.stop = threading.Event(), threading.Event()

    def run(self) -> None:
        while True:
            self.wake.wait()
            if self.stop.wait(INTERVAL):
                return
            self.wake.clear()
            self.flusher.sync()


FLUSHER = Flusher()
