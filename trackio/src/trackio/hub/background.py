"""The thread that pushes while a run goes on. `log` knows nothing of it: it looks at the journals' sizes.

The first push comes half a minute after the run began, the next ones every five minutes or at 8 MB,
whichever is earlier, each a little off the grid so that many runs do not come at once; the last at `finish`,
which waits for it half a minute at most. `$TRACKIO_PUSH_INTERVAL` (seconds) and `$TRACKIO_PUSH_TIMEOUT`
(seconds that `finish` waits) say otherwise.
"""

from __future__ import annotations

import os
import random
import threading
import time
from contextlib import suppress

from ..run import warn_once
from .push import Pusher
from .remote import THREAD, Backoff, HubError, Refused, Trouble
from .spool import pending

FIRST, INTERVAL, TIMEOUT = 30.0, 300.0, 30.0

#: Pending bytes of journals that are sent before their time, and how often that is looked at, in seconds.
BIG, LOOK = 8 << 20, 10.0

#: Attempts in a row that fail before the user is told; the Hub is restarted now and then.
SILENT = 3


def seconds(name: str, default: float) -> float:
    """Return the seconds that an environment variable says."""
    try:
        return max(0.0, float(os.environ.get(name) or default))
    except ValueError:
        warn_once(f"${name} is {os.environ[name]!r}, which is no number of seconds; it is {default:g}")
        return default


class Background:
    """Pushes one run's folder for as long as the run is open. All methods may be called from any thread."""

    def __init__(self, pusher: Pusher, draw: random.Random | None = None) -> None:
        self._pusher, self._draw = pusher, draw or random.Random()
        self._folder = pusher.folders[0]
        self._backoff = Backoff(INTERVAL, self._draw)
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._end: float | None = None
        self._failed = 0
        self._told = False
        #: Why the latest push failed, None if it did not.
        self.last_error: str | None = None

    @property
    def repo(self) -> str:
        """The dataset, `USER/NAME` once the Hub has been asked."""
        return self._pusher.remote.repo

    @property
    def hf_token(self) -> str | None:
        """The token it was given, None for the environment's."""
        return self._pusher.remote.hf_token

    def start(self) -> None:
        """Begin to push, unless it goes on already."""
        if self._thread is None or not self._thread.is_alive():
            self._end = None
            self._wake.clear()
            thread = threading.Thread(target=self._work, name=THREAD, daemon=True)
            with suppress(RuntimeError):  # the interpreter is going down; `trackio push` sends the rest
                thread.start()
                self._thread = thread

    def stop(self) -> None:
        """Push what is left, wait for that as long as `$TRACKIO_PUSH_TIMEOUT` says, and end the thread."""
        timeout = seconds("TRACKIO_PUSH_TIMEOUT", TIMEOUT)
        thread = self._thread
        self._end = time.monotonic() + timeout
        self._wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout + 1.0)
            if not thread.is_alive():
                self._thread = None
        with suppress(OSError):
            if left := self.unsent():
                self._tell(f"{left} bytes of the run are not in the dataset {self.repo!r}", self.last_error)

    def unsent(self) -> int:
        """Return how many bytes of journals are not known to be in the dataset. Raises OSError."""
        return pending(self._folder, self.repo)

    def _work(self) -> None:
        interval = seconds("TRACKIO_PUSH_INTERVAL", INTERVAL)
        due = time.monotonic() + self._spread(min(FIRST, interval))
        while self._end is None:
            if self._wake.wait(max(0.0, min(LOOK, due - time.monotonic()))):
                break
            if time.monotonic() < due and not self._is_big():
                continue
            wait = self._attempt()
            if wait is None:
                self._wake.wait()  # refused: once more at the end, when the user may have seen to it
                break
            due = time.monotonic() + (wait or self._spread(interval))
        self._last()

    def _spread(self, interval: float) -> float:
        return interval * self._draw.uniform(0.8, 1.2)

    def _is_big(self) -> bool:
        try:
            return not self._failed and self.unsent() >= BIG
        except OSError:
            return False

    def _attempt(self) -> float | None:
        """Push; return 0, or the seconds to wait after a failure, None if nothing but the user helps."""
        try:
            while self._pusher.once() and self._end is None:
                pass
        except Refused as error:
            self._note(error)
            self._tell(str(error))
            return None
        except Exception as error:
            failure = error if isinstance(error, HubError) else Trouble(f"{type(error).__name__}: {error}")
            self._note(failure)
            self._failed += 1
            if self._failed >= SILENT:
                self._tell(str(failure))
            return self._backoff.after(failure)
        self._backoff.succeeded()
        self._failed, self.last_error = 0, None
        return 0.0

    def _last(self) -> None:
        try:
            # What was waited for until now is over: a run ends once.
            self._backoff.succeeded()
            self._pusher.all(self._backoff, self._sleep, self._end or time.monotonic())
            self.last_error = None
        except Exception as error:
            self._note(error)

    def _sleep(self, wait: float) -> bool:
        time.sleep(wait)
        return False

    def _note(self, error: Exception) -> None:
        self.last_error = str(error) if isinstance(error, HubError) else f"{type(error).__name__}: {error}"

    def _tell(self, text: str, why: str | None = None) -> None:
        if not self._told:
            self._told = True
            more = f" ({why})" if why else ""
            warn_once(f"{text}{more}; everything is kept in the folder, `trackio push` sends it")
