"""What the machine does meanwhile: GPUs by NVML, processors and memory by psutil, sampled by one thread.

One stream of readings per node and run: the process with local rank 0 samples; where several say so, the
one that holds a lock in the run's folder, and when it ends another takes over. Readings lie on a grid of the
monotonic clock, `interval` seconds wide: they do not drift, and a slot that is missed is skipped. One more is
taken at the end. They are records of the kind `sys` without a step.

Nothing here reaches the training. What is not installed or not there is left out; what fails later is counted
in `run.health()`, and tried again with growing pauses. Environment, read at `start`, before the arguments:
`TRACKIO_SYSTEM` (0: never, 1: always) and `TRACKIO_SYSTEM_INTERVAL` (seconds).
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from . import ranks

if TYPE_CHECKING:
    from .run import Run

#: Seconds between two readings, by default.
INTERVAL = 10.0

#: Seconds that `stop` waits for the last reading; a GPU that hangs in a call costs no more.
PATIENCE = 2.0

#: Under so many seconds a processor's utilization is noise (psutil, `cpu_percent`).
_SHORTEST = 0.1

_lock = threading.Lock()
_samplers: dict[Run, Sampler] = {}


def start(run: Run, wanted: bool | None = None, interval: float | None = None) -> None:
    """Begin to sample for `run`, unless this process does so already. Raises nothing, and takes no time: a
    thread looks for the GPUs.

    `wanted`: None samples exactly if NVML shows a GPU, True always, False never; the process whose local
    rank is not 0 never does. `interval`: seconds, above 0, by default `INTERVAL`.
    """
    try:
        if (text := os.environ.get("TRACKIO_SYSTEM")) is not None and text != "":
            wanted = text != "0"
        if (wanted is not None and not wanted) or ranks.local_rank() != 0:
            return
        width = _seconds(os.environ.get("TRACKIO_SYSTEM_INTERVAL")) or _seconds(interval) or INTERVAL
        with _lock:
            if run not in _samplers:
                sampler = Sampler(run, bool(wanted), width)
                sampler.start()
                _samplers[run] = sampler
    except Exception as error:  # no thread can be started, or an argument is of no use
        with suppress(Exception):
            run._fail(error, dropped=0)


def _seconds(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return min(number, threading.TIMEOUT_MAX) if number > 0 and not math.isnan(number) else None


def stop(run: Run) -> None:
    """Take the last reading of `run` and end its thread; at most `PATIENCE` seconds. Without one, nothing.

    `run` may go on: nothing is sampled for it until the next `start`.
    """
    with _lock:
        sampler = _samplers.pop(run, None)
    if sampler is not None:
        sampler.stop()


def sample() -> dict[str, Any]:
    """Return one reading of this node, now: the keys of `Gpus` and `Host`, as far as there is something to
    read. Takes a tenth of a second where psutil is installed: a processor's utilization needs two looks.
    """
    reader = Reader()
    reader.open()
    try:
        if reader.host is not None:
            time.sleep(_SHORTEST)
        return reader.read()
    finally:
        reader.close()


class Host:
    """Processors and memory of this node, by psutil. For one thread. Raises ImportError without psutil.

    `cpu/utilization` (percent of all processors, since the previous reading), `memory/{used,total,available}`
    (GiB) and `memory/percent` are named and measured as by Hugging Face's Trackio (0.43.0, cpu.py,
    `collect_cpu_metrics`). Of this process and its children together, as by wandb
    (core/internal/monitor/system.go, `collectProcessTreeMetrics`): `proc.memory.rssMB` (MiB; a page that two
    share counts twice), `proc.memory.percent` (of the node's memory) and `proc.cpu.threads`.
    """

    def __init__(self) -> None:
        import importlib

        self._psutil: Any = importlib.import_module("psutil")
        self._process = self._psutil.Process()
        self._psutil.cpu_percent()
        self._looked = time.monotonic()

    def read(self) -> dict[str, Any]:
        """Return what can be read; what cannot is left out."""
        values: dict[str, Any] = {}
        for part in (self._processors, self._memory, self._family):
            with suppress(Exception):  # psutil.Error, OSError, and what a system without /proc may say
                values.update(part())
        return values

    def _processors(self) -> dict[str, Any]:
        now = time.monotonic()
        if now - self._looked < _SHORTEST:
            return {}
        self._looked = now
        return {"cpu/utilization": self._psutil.cpu_percent()}

    def _memory(self) -> dict[str, Any]:
        memory = self._psutil.virtual_memory()
        sizes = {name: getattr(memory, name) / 1024**3 for name in ("used", "total", "available")}
        return {f"memory/{name}": value for name, value in {**sizes, "percent": memory.percent}.items()}

    def _family(self) -> dict[str, Any]:
        size = threads = 0
        for process in (self._process, *self._process.children(recursive=True)):
            with suppress(self._psutil.Error), process.oneshot():  # it may have ended meanwhile
                size += process.memory_info().rss
                threads += process.num_threads()
        total = self._psutil.virtual_memory().total
        return {
            "proc.memory.rssMB": size / 1024**2,
            "proc.memory.percent": size / total * 100,
            "proc.cpu.threads": threads,
        }


class Reader:
    """Readings of this node. For one thread; `open`, `read` as often as wanted, `close`.

    On a node other than that of rank 0, keys begin with `rank{n}/`, n being the rank of this process: a run
    of several nodes holds several streams.
    """

    def __init__(self) -> None:
        from .nvml import Gpus

        self.gpus = Gpus()
        self.host: Host | None = None
        self._prefix = f"rank{number}/" if (number := ranks.rank()) else ""

    def open(self, always: bool = True) -> int:
        """Look for GPUs, and for psutil if there are any or `always`; return their number. Raises nothing."""
        count = 0
        try:
            count = self.gpus.open()
        except Exception:  # no library, no driver, no right to it
            self.gpus.close()
        if count or always:
            with suppress(Exception):
                self.host = Host()
        return count

    def read(self) -> dict[str, Any]:
        """Return one reading; `gpus.failure` tells why a GPU is not in it. Raises nothing."""
        host = {} if self.host is None else self.host.read()
        return {self._prefix + name: value for name, value in {**self.gpus.read(), **host}.items()}

    def close(self) -> None:
        """Let go of the libraries."""
        self.gpus.close()


class Claim:
    """The right to sample this node for a run: an flock(2) on a file in the run's folder. The kernel ends it
    with the process, whatever becomes of that.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._path = ""
        self._fd: int | None = None
        self._closed = False
        self._guard = threading.Lock()

    def held(self) -> bool:
        """Tell whether this process has the right; take it if nobody has."""
        import fcntl

        from .journal import host_name
        from .paths import key

        folder = self._run.folder
        with self._guard:
            if self._closed or folder is None:
                return False
            if self._fd is not None:
                return True
            try:
                # A file per node: on a network file system a lock may hold for all of them.
                self._path = os.path.join(folder, f"system-{key(host_name())}.lock")
                fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError:
                return False
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return False
            except OSError:  # a file system without locks; local rank 0 alone has come so far
                pass
            if not os.fstat(fd).st_nlink:  # given up, and removed, since it was opened
                os.close(fd)
                return False
            self._fd = fd
            return True

    def release(self) -> None:
        """Give the right up, for good."""
        with self._guard:
            self._closed = True
            if self._fd is not None:
                with suppress(OSError):
                    os.unlink(self._path)
            self.abandon()

    def abandon(self) -> None:
        """In a forked child: let go of the parent's lock, which stays the parent's."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


class Sampler(threading.Thread):
    """The thread of one run. `clock` and `wait` (seconds to whether the end has come) are for tests."""

    def __init__(
        self,
        run: Run,
        always: bool,
        interval: float,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        super().__init__(name="trackio-system", daemon=True)
        self.claim = Claim(run)
        self._of, self._always, self._interval = run, always, interval
        self._end = threading.Event()
        self._clock, self._wait = clock, wait or self._end.wait
        self._writing = threading.Lock()
        self._closed = self._failing = False

    def run(self) -> None:
        """Sample until the end; called by `start`."""
        # The imports below hold the interpreter for milliseconds: `start` shall return before.
        self._end.wait(0.002)
        reader = Reader()
        try:
            if reader.open(self._always) or self._always:
                self._sample(reader)
        except Exception as error:
            self._missed(error)
        finally:
            reader.close()
            self.claim.release()

    def _sample(self, reader: Reader) -> None:
        begin, slot, last = self._clock(), 0, self._end.is_set()
        while True:
            if self.claim.held():
                self._keep(reader.read(), reader.gpus.failure)
            if last:
                return
            slot = max(slot, int((self._clock() - begin) // self._interval)) + 1
            last = self._wait(max(0.0, begin + slot * self._interval - self._clock()))

    def _keep(self, values: dict[str, Any], failure: Exception | None) -> None:
        if failure is not None:
            self._missed(failure)
        self._failing = failure is not None
        # Under the lock, so that nothing is written once `stop` has returned.
        with self._writing:
            if values and not self._closed:
                try:
                    self._of._log_system(values)
                except Exception as error:  # strict mode raises, and nobody is here to hear it
                    with suppress(Exception):
                        self._of._fail(error)

    def _missed(self, error: Exception) -> None:
        """Count a reading that lacks something; name the reason once per outage."""
        self._of._unsampled += 1
        if not self._failing:
            self._of._last_error = f"{type(error).__name__}: {error}"

    def stop(self) -> None:
        """Have the last reading taken, and wait for it, `PATIENCE` seconds at most."""
        self._end.set()
        self.join(PATIENCE)
        with self._writing:
            self._closed = True
        self.claim.release()
        if self.is_alive():
            self._missed(TimeoutError(f"the reading of the system took more than {PATIENCE} seconds"))


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    for sampler in _samplers.values():
        sampler.claim.abandon()
    _samplers.clear()


os.register_at_fork(after_in_child=_after_fork)
