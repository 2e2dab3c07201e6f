"""Files of any size into a run's `files/<sha256>` and out again: hashed while they stream, in constant
memory.

A file is first made whole as a draft beside its place, brought to the disk, and then renamed to the digest
of what the draft holds. So a name in `files` never stands for half a file, several processes may put the
same content at the same time, and a stored file that was damaged is replaced when its content comes again.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from .paths import make_folder, write_all

CHUNK = 1 << 20

#: Seconds of work before the first call of a `progress` callback, and between two calls.
QUIET, PACE = 2.0, 0.5

#: ioctl_ficlone(2), linux/fs.h: `_IOW(0x94, 9, int)`; Python names it from 3.12 on.
_FICLONE = 0x40049409

Progress = Callable[[int, int], object]


class Ticker:
    """Counts bytes that were read, and tells `progress(done_bytes, total_bytes)` when the work is long.

    An exception that `progress` raises ends the work. It may be called in another thread, but by one at a
    time.
    """

    def __init__(self, progress: Progress | None = None, total: int = 0) -> None:
        self.progress, self.total, self.done = progress, total, 0
        self._next = time.monotonic() + QUIET
        self._told = False
        self._lock = threading.Lock()

    def __call__(self, count: int) -> None:
        with self._lock:
            self.done += count
            if self.progress is not None and time.monotonic() >= self._next:
                self._told = True
                self.progress(self.done, max(self.done, self.total))
                self._next = time.monotonic() + PACE

    def end(self) -> None:
        """Tell that all is done, if anything was told."""
        if self.progress is not None and self._told:
            self.progress(self.done, self.done)


class Put(NamedTuple):
    """What `put` kept: the digest (hex), the size in bytes, and for a hard link the (mtime in nanoseconds,
    inode) it had, None for a copy.
    """

    sha256: str
    size: int
    link: tuple[int, int] | None


def is_digest(name: str) -> bool:
    """Tell whether `name` is a SHA-256 in lower-case hex, as files in `files` are named."""
    return len(name) == 64 and not set(name) - set("0123456789abcdef")


def hash_file(path: str, tick: Ticker | None = None) -> tuple[str, int]:
    """Return the SHA-256 (hex) and the size of a file. Raises OSError."""
    fd = _regular(path)
    try:
        return _stream(fd, None, tick or Ticker())
    finally:
        os.close(fd)


def _regular(path: str) -> int:
    # Without O_NONBLOCK opening a pipe waits for a writer; on a regular file it means nothing.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(f"not a regular file: {path!r}")
    return fd


def _stream(source: int, target: int | None, tick: Ticker) -> tuple[str, int]:
    from hashlib import sha256

    digest, size = sha256(), 0
    while chunk := os.read(source, CHUNK):
        digest.update(chunk)
        size += len(chunk)
        if target is not None:
            write_all(target, chunk)
        tick(len(chunk))
    return digest.hexdigest(), size


@contextmanager
def _draft(folder: str) -> Iterator[str]:
    # Renamed or not, nothing of that name is left: rename(2) keeps both names of one inode.
    path = os.path.join(folder, f"draft.{os.getpid()}-{os.urandom(6).hex()}")
    try:
        yield path
    finally:
        with suppress(FileNotFoundError):
            os.unlink(path)


def _create(path: str, mode: int) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)


def _cloned(source: int, target: int) -> bool:
    """Let `target` share the blocks of `source` where the file system can (btrfs, XFS, bcachefs): the
    content of this moment, for nothing.
    """
    import fcntl

    try:
        fcntl.ioctl(target, getattr(fcntl, "FICLONE", _FICLONE), source)
    except OSError:
        return False
    return True


def _write(source: int, draft: str, mode: int, tick: Ticker, sync: bool) -> tuple[str, int]:
    target = _create(draft, mode)
    try:
        cloned = _cloned(source, target)
        result = _stream(target, None, tick) if cloned else _stream(source, target, tick)
        if sync:
            os.fsync(target)
        return result
    finally:
        os.close(target)


def _link(source: str, draft: str, tick: Ticker) -> Put | None:
    """Make `draft` a hard link; None where that is not possible, or the file changes at this very moment."""
    try:
        os.link(source, draft)
    except OSError:  # another file system, another owner, too many links: a copy serves as well
        return None
    fd = _regular(draft)
    try:
        before = os.fstat(fd)
        digest, size = _stream(fd, None, tick)
        os.fsync(fd)
        after = os.fstat(fd)
    finally:
        os.close(fd)
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, size):
        os.unlink(draft)
        return None
    return Put(digest, size, (after.st_mtime_ns, after.st_ino))


def put(folder: str, source: str | bytes, link: bool = False, tick: Ticker | None = None) -> Put:
    """Keep a file (its path) or bytes as `files/<sha256>` below `folder`, once, and say under which digest.

    What is on the disk afterwards is what was read: a file that is written to meanwhile is kept as it was
    read. A reflink is tried first. With `link` a hard link comes next: no bytes are written, but whoever
    rewrites the source *in place* later changes the stored content too (one who replaces it does not);
    `verify` finds that out. A copy replaces what is stored under the same digest, a link only if that is
    damaged. Call `settle` before anything refers to the digest. Raises OSError.
    """
    tick = tick or Ticker()
    files = os.path.join(folder, "files")
    make_folder(files)
    with _draft(files) as draft:
        if isinstance(source, bytes):
            kept = _put_bytes(source, draft, tick)
        else:
            kept = _put_file(source, draft, link, tick)
        path = os.path.join(files, kept.sha256)
        if kept.link is not None and os.path.exists(path) and hash_file(path)[0] == kept.sha256:
            return Put(kept.sha256, kept.size, None)
        os.rename(draft, path)
    return kept


def _put_bytes(data: bytes, draft: str, tick: Ticker) -> Put:
    from hashlib import sha256

    fd = _create(draft, 0o600)
    try:
        write_all(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
    tick(len(data))
    return Put(sha256(data).hexdigest(), len(data), None)


def _put_file(source: str, draft: str, link: bool, tick: Ticker) -> Put:
    fd = _regular(source)
    try:
        kept = _link(source, draft, tick) if link and not _clones(fd, draft) else None
        return kept or Put(*_write(fd, draft, 0o600, tick, sync=True), None)
    finally:
        os.close(fd)


def _clones(source: int, draft: str) -> bool:
    target = _create(draft, 0o600)
    try:
        return _cloned(source, target)
    finally:
        os.close(target)
        os.unlink(draft)


def settle(folder: str) -> None:
    """Bring the names in `files` below `folder` to the disk. Raises OSError."""
    for path in (os.path.join(folder, "files"), folder):
        if os.path.isdir(path):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)


def take(source: str, path: str, sha256: str, tick: Ticker | None = None) -> None:
    """Copy a stored file to `path`, which appears whole or not at all.

    Raises OSError; ValueError if what was read does not have that digest.
    """
    folder = os.path.dirname(path) or "."
    os.makedirs(folder, exist_ok=True)
    fd = _regular(source)
    try:
        with _draft(folder) as draft:
            if _write(fd, draft, 0o666, tick or Ticker(), sync=False)[0] != sha256:
                raise ValueError(f"the stored content of {source} is damaged: it does not hash to its name")
            os.rename(draft, path)
    finally:
        os.close(fd)


class Tree:
    """What a folder holds: `files` as (path within, path on the disk), `folders` that hold none of them, and
    `left_out` as (path within, why).
    """

    def __init__(self) -> None:
        self.files: list[tuple[str, str]] = []
        self.folders: list[str] = []
        self.left_out: list[tuple[str, str]] = []


def walk(top: str) -> Tree:
    """Return what `top` holds, recursively, by path.

    A symbolic link is followed if it leads to something inside `top`; one that leads outside, nowhere or to
    a folder above it is left out, and so are pipes, sockets and devices. Raises OSError.
    """
    top = os.path.realpath(top)
    tree = Tree()
    # A folder, its path within, and the real folders on the way to it: links may lead in circles.
    todo: list[tuple[str, str, tuple[str, ...]]] = [(top, "", (top,))]
    while todo:
        folder, within, chain = todo.pop()
        empty = True
        for name in os.listdir(folder):
            path, inner = os.path.join(folder, name), f"{within}/{name}" if within else name
            if os.path.islink(path):
                path, reason = _followed(path, top, chain)
                if reason:
                    tree.left_out.append((inner, reason))
                    continue
            mode = os.stat(path).st_mode
            if stat.S_ISDIR(mode):
                todo.append((path, inner, (*chain, path)))
                empty = False
            elif stat.S_ISREG(mode):
                tree.files.append((inner, path))
                empty = False
            else:
                tree.left_out.append((inner, "not a regular file"))
        if empty and within:
            tree.folders.append(within)
    tree.files.sort()
    tree.folders.sort()
    tree.left_out.sort()
    return tree


def _followed(path: str, top: str, chain: tuple[str, ...]) -> tuple[str, str]:
    target = os.path.realpath(path)
    if not os.path.exists(target):
        return target, "a link that leads nowhere"
    if target != top and not target.startswith(top.rstrip("/") + "/"):
        return target, f"a link to {target}, outside the folder"
    if target in chain:
        return target, "a link to a folder above it"
    return target, ""
