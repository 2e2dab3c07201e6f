"""The journal: one append-only file per writer process, one line per record, one `os.write` per line.

A line is a JSON array `[sequence, time, kind, step, body, checksum]` and a newline. `sequence` counts from 0
in each file, `time` is nanoseconds since 1970 and never falls within a file, `kind` is `open` (who writes),
`log`, `sys`, `cfg` or `status`, `step` is a number or null, `checksum` is the CRC-32 of all before its comma:
without it a flipped digit would be a value like any other. Because the descriptor is O_APPEND and a line
goes out in one call, a killed process leaves at most one torn line, and that at the end. Nothing is held
back in memory: what was acknowledged is in the kernel's hands.
"""

from __future__ import annotations

import errno
import heapq
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from zlib import crc32

import orjson

from .lines import lines, parse
from .machine import boot_id
from .paths import make_folder, write_all

_fdatasync = getattr(os, "fdatasync", os.fsync)


def start_ticks(pid: int) -> int:
    """Return when a process began, in clock ticks since boot, 0 where the system does not say (or has no
    such process).

    With the process id it names one process: ids are used again. (proc(5), /proc/pid/stat, field 22.)
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        # A zombie is listed until somebody waits for it, and writes no more.
        return 0 if fields[0] in (b"Z", b"X") else int(fields[19])
    except (OSError, IndexError, ValueError):
        return 0


def host_name() -> str:
    """Return the host's name and, on Linux, its process id namespace: two containers may share either one."""
    try:
        space = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        space = 0
    return f"{os.uname().nodename}/{space:x}"


class Journal:
    """The writing end. `append` may be called from any thread; after a fork, the child calls `abandon` and
    makes its own.
    """

    def __init__(
        self,
        folder: str,
        dirty: Callable[[Journal], None],
        parent: int | None = None,
        found: Callable[[], None] | None = None,
    ) -> None:
        """Create the file in `folder`. `dirty` is called when there is something to sync, `found` to make
        the folder, now and if somebody deletes it. Raises OSError.
        """
        #: Makes the folder, and what else a reader needs to find it.
        self.found = found or (lambda: make_folder(os.path.dirname(self.path)))
        pid, now = os.getpid(), time.time_ns()
        host = host_name()
        label = "".join(c if c.isascii() and c.isalnum() else "-" for c in host.partition("/")[0])[:40]
        # Re-entrant: a signal handler may write the status in the middle of an append by its own thread.
        self.lock = threading.RLock()
        self.unsynced = 0
        self._dirty = dirty
        self._always = os.environ.get("TRACKIO_FSYNC") == "always"
        self._sequence = -1
        self._time = now
        #: Whether the file may end in a piece of a line.
        self._torn = False
        self._fd: int | None = None
        self.path = os.path.join(folder, f"w-{label}-{pid}-{now:x}.jsonl")
        self.found()
        while self._fd is None:
            try:
                self._fd = self._open(os.O_CREAT | os.O_EXCL)
            except FileExistsError:  # another machine of this name and time, on a shared folder
                now += 1
                self.path = os.path.join(folder, f"w-{label}-{pid}-{now:x}.jsonl")
        who = {"host": host, "boot": boot_id(), "pid": pid, "start": start_ticks(pid), "parent": parent}
        try:
            self.append(b"open", b"null", orjson.dumps({**who, "version": 2}))
        except BaseException:
            # The caller tries again with the next record: it must not find descriptors and files used up.
            os.close(self._fd)
            with suppress(OSError):
                os.unlink(self.path)
            raise

    def _open(self, flags: int) -> int:
        # For reading too: `_mend` and `_restore` look at what is there.
        return os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | flags, 0o600)

    @property
    def closed(self) -> bool:
        """Whether there is no open descriptor."""
        return self._fd is None

    def append(self, kind: bytes, step: bytes, body: bytes, sync: bool = False) -> None:
        """Write one record; `step` and `body` are JSON. Raises OSError if it could not be kept whole.

        With `sync` it is on the disk on return, and no lock is taken that a signal handler could find taken.
        """
        with self.lock:
            if self._fd is None:
                self._fd = self._open(0)
            if self._torn:
                self._mend()
            now = time.time_ns()
            if now < self._time:  # the clock was set back; order within a file is the order of writing
                now = self._time
            self._time = now
            self._sequence += 1
            line = b'[%d,%d,"%b",%b,%b' % (self._sequence, now, kind, step, body)
            line += b",%d]\n" % crc32(line)
            # True for as long as a signal handler that raises would leave a piece of the line behind.
            self._torn = True
            written = os.write(self._fd, line)
            if written != len(line):
                self._rest(line, written)
            self._torn = False
            self.unsynced += 1
            if sync or self._always:
                self._sync_locked()
            elif self.unsynced == 1:
                self._dirty(self)

    def _rest(self, line: bytes, written: int) -> None:
        # A full disk or a signal cut the write short. Finish the line or take it back: the next must begin
        # a line.
        assert self._fd is not None
        try:
            while written < len(line):
                count = os.write(self._fd, line[written:])
                if not count:
                    raise OSError(errno.EIO, "nothing was written")
                written += count
        except OSError:
            with suppress(OSError):  # the next append tries again
                self._mend()
            raise

    def _mend(self) -> None:
        """Take back a piece of a line at the end; if that is refused, end it, as damage. Raises OSError."""
        assert self._fd is not None
        size = end = os.fstat(self._fd).st_size
        while end:
            begin = max(0, end - 65536)
            newline = os.pread(self._fd, end - begin, begin).rfind(b"\n")
            end = begin + newline + 1
            if newline >= 0:
                break
        if end != size:
            try:
                os.ftruncate(self._fd, end)
            except OSError:
                if not os.write(self._fd, b"\n"):
                    raise
        self._torn = False

    def _restore(self) -> None:
        """Write the file again, from the descriptor: somebody deleted it, and nothing recorded is ever lost.
        Raises OSError.
        """
        assert self._fd is not None
        self.found()
        new = self._open(os.O_CREAT | os.O_EXCL)
        try:
            offset = 0
            while part := os.pread(self._fd, 1 << 20, offset):
                write_all(new, part)
                offset += len(part)
        except BaseException:
            os.unlink(self.path)
            os.close(new)
            raise
        os.close(self._fd)
        self._fd = new

    def _sync_locked(self) -> None:
        assert self._fd is not None
        _fdatasync(self._fd)
        self.unsynced = 0

    def sync(self) -> None:
        """Wait until everything written so far is on the disk; other threads go on appending. Raises
        OSError.
        """
        with self.lock:
            if self._fd is None or not self.unsynced:
                return
            if not os.fstat(self._fd).st_nlink:
                self._restore()
            count, fd = self.unsynced, os.dup(self._fd)
        try:
            _fdatasync(fd)
        finally:
            os.close(fd)
        with self.lock:
            self.unsynced = max(0, self.unsynced - count)

    def close(self) -> None:
        """Sync and close; a later `append` opens the file again. Raises OSError, closed nevertheless."""
        try:
            self.sync()
        finally:
            with self.lock:
                if self._fd is not None:
                    os.close(self._fd)
                    self._fd = None

    def abandon(self) -> None:
        """In a forked child: let go of the parent's file without touching it. No lock: its holder was not
        copied.
        """
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def move(self, folder: str) -> None:
        """Move the file into another folder of the same file system; its descriptor stays good. Raises
        OSError.
        """
        with self.lock:
            path = os.path.join(folder, os.path.basename(self.path))
            os.rename(self.path, path)
            self.path = path


class JournalDamaged(ValueError):
    """A record in the middle of a journal cannot be read. `path`, and `offset` in bytes where the bad line
    begins.
    """

    def __init__(self, path: str, offset: int, reason: str) -> None:
        super().__init__(f"{path}: damaged record at byte {offset}: {reason}")
        self.path, self.offset, self.reason = path, offset, reason


class Damage:
    """What a reader met: `torn` last records, `lines` it could not read (path, offset, reason), `missing`
    sequence numbers.
    """

    def __init__(self) -> None:
        self.torn = 0
        self.missing = 0
        self.lines: list[tuple[str, int, str]] = []

    def __bool__(self) -> bool:
        return bool(self.torn or self.lines or self.missing)

    def __repr__(self) -> str:
        return f"Damage(torn={self.torn}, missing={self.missing}, lines={self.lines})"


def read(path: str, strict: bool = True, damage: Damage | None = None) -> Iterator[list[Any]]:
    """Yield the records `[sequence, time, kind, step, body]` of one journal, in the order of writing.

    A last line without its newline that is no whole record was torn by the writer's end: it is dropped and
    counted in `damage`. A bad line elsewhere raises JournalDamaged, or is counted too if not `strict`. A
    sequence number that is not there was given to a record that its writer could not keep. Raises OSError.
    """
    damage = Damage() if damage is None else damage
    offset, count, last, sealed = 0, 0, -1, False
    for line in lines(path):
        try:
            record, sealed = parse(line, sealed)
        except ValueError as error:
            if not line.endswith(b"\n"):
                damage.torn += 1
            elif strict:
                raise JournalDamaged(path, offset, str(error)) from None
            else:
                damage.lines.append((path, offset, str(error)))
        else:
            count += 1
            if record[0] > last:
                last = record[0]
            yield record
        offset += len(line)
    damage.missing += max(0, last + 1 - count - len(damage.lines))


def journals(folder: str) -> list[str]:
    """Return the paths of the journals in a run's folder, sorted."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(
        os.path.join(folder, name) for name in names if name.startswith("w-") and name.endswith(".jsonl")
    )


def merged(folder: str, strict: bool = True, damage: Damage | None = None) -> Iterator[list[Any]]:
    """Yield the records of all journals of a run, by time; equal times by writer, and by sequence within
    one.
    """
    paths = journals(folder)
    if len(paths) == 1:
        return read(paths[0], strict, damage)
    streams = [read(path, strict, damage) for path in paths]
    # `merge` is stable: equal times come in the order of the streams, that is of the writers' names.
    return heapq.merge(*streams, key=lambda record: record[1])


def ends(path: str) -> tuple[dict[str, Any], str | None, int]:
    """Return who wrote a journal, the last status in it, and the time of its last record, 0 without any.

    Bad lines are passed over here; reading the run reports them. Raises OSError.
    """
    who: dict[str, Any] = {}
    status, moment, last, sealed = None, 0, b"", False
    for line in lines(path):
        if line.endswith(b"\n"):
            last = line
        # Before the kind there are only digits.
        if line.startswith((b',"open",', b',"status",'), line.find(b',"')):
            with suppress(ValueError):
                (_, moment, kind, _, body), sealed = parse(line, sealed)
                if kind == "open":
                    who = body
                else:
                    status = body
    try:
        moment = parse(last, sealed)[0][1]
    except ValueError:
        moment = os.stat(path).st_mtime_ns if last else 0
    return who, status, moment


def latest(folder: str) -> tuple[list[Any], Any]:
    """Return what a run that is continued must know: the bodies of its `cfg` records in order, and its last
    known step.

    Bad lines are passed over here; reading the run reports them. Raises OSError.
    """
    changes: list[tuple[int, int, Any]] = []
    stepped: tuple[int, Any] = (0, None)
    for index, path in enumerate(journals(folder)):
        last = b""
        for line in lines(path):
            # Only a few lines matter, and their heads tell: decoding all would take seconds for a long run.
            kind = line.find(b',"')
            if line.startswith(b',"log",', kind):
                if not line.startswith(b',"log",null,', kind):
                    last = line
            elif line.startswith(b',"cfg",', kind):
                with suppress(ValueError):
                    record, _ = parse(line)
                    changes.append((record[1], index, record[4]))
        if last:
            stepped = max(stepped, _stepped(path, last), key=lambda pair: pair[0])
    changes.sort(key=lambda change: change[:2])
    return [body for _, _, body in changes], stepped[1]


def _stepped(path: str, last: bytes) -> tuple[int, Any]:
    """Return time and step of the last record with a step: `last`, or one before if that is torn."""
    try:
        record, _ = parse(last)
    except ValueError:
        steps = (record for record in read(path, strict=False) if record[2] == "log")
        return max(((record[1], record[3]) for record in steps if record[3] is not None), default=(0, None))
    return record[1], record[3]
