"""Writes runs that were recorded elsewhere, with the times they were recorded at.

A journal's own writer stamps each record with the moment it writes it and never goes back. Here records come
with their times in any order; they go to a draft, and `finish` writes them sorted into a journal that appears
in the run's folder all at once. Its last records are `import`, which says how far each part of the source was
read, and the status. So an import that is killed leaves nothing, and a second one goes on where the first
ended, in a journal of its own.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple
from zlib import crc32

import orjson

from ..api import Api, StoredRun
from ..journal import host_name, journals, start_ticks
from ..lines import parse
from ..machine import boot_id
from ..paths import claim, make_folder, store_file
from ..values import encode_mapping

#: How far each part of a source was read: identity of the part → count of records or highest row.
Marks = dict[str, int]


class Import:
    """One run on its way in. Used as a context; nothing is in the store before `finish`."""

    def __init__(self, top: str) -> None:
        make_folder(top)
        # In the store, so that a rename is enough in the end; no run lies so high.
        self._place = tempfile.mkdtemp(prefix=".import-", dir=top)
        self._top = top
        self._draft = open(os.path.join(self._place, "draft"), "w+b")  # noqa: SIM115
        self._times, self._offsets = array("q"), array("q", [0])
        #: When the run began, in nanoseconds since 1970; None: with its first record.
        self.created: int | None = None
        self.points = 0

    def __enter__(self) -> Import:
        return self

    def __exit__(self, *error: object) -> None:
        self._draft.close()
        shutil.rmtree(self._place, ignore_errors=True)

    def __len__(self) -> int:
        return len(self._times)

    def log(self, moment: int, step: int | None, values: dict[Any, Any]) -> None:
        """Keep metrics, tables, or images at a step."""
        self.points += len(values)
        self._add(moment, b"log", b"null" if step is None else b"%d" % step, values)

    def system(self, moment: int, values: dict[Any, Any]) -> None:
        """Keep metrics of the machine."""
        self.points += len(values)
        self._add(moment, b"sys", b"null", values)

    def config(self, moment: int, values: dict[Any, Any]) -> None:
        """Keep keys of the configuration."""
        self._add(moment, b"cfg", b"null", values)

    def _add(self, moment: int, kind: bytes, step: bytes, values: dict[Any, Any]) -> None:
        body = encode_mapping(values, lambda data: store_file(self._place, data))
        part = b'%d,"%b",%b,%b' % (moment, kind, step, body)
        self._draft.write(part)
        self._times.append(moment)
        self._offsets.append(self._offsets[-1] + len(part))

    def _parts(self) -> Iterator[bytes]:
        times, offsets = self._times, self._offsets
        # The draft is in order unless its source was not; only then it is read by places.
        order = sorted(range(len(times)), key=times.__getitem__)
        first, last = times[order[0]], times[order[-1]]
        yield b'%d,"open",null,%b' % (first, self._who())
        for place in order:
            self._draft.seek(offsets[place])
            yield self._draft.read(offsets[place + 1] - offsets[place])
        yield b'%d,"import",null,%b' % (last, orjson.dumps(self._marks))
        yield b'%d,"status",null,"finished"' % last

    def _who(self) -> bytes:
        pid = os.getpid()
        who = {"host": host_name(), "boot": boot_id(), "pid": pid, "start": start_ticks(pid), "parent": None}
        return orjson.dumps({**who, "version": 2})

    def finish(self, project: str, name: str, run: StoredRun | None, source: str, marks: Marks) -> str:
        """Put everything into `run`, or into a new run, and return its folder. Raises OSError."""
        self._marks = {"source": source, "upto": marks}
        path = os.path.join(self._place, "journal")
        with open(path, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            for sequence, part in enumerate(self._parts()):
                line = b"[%d,%b" % (sequence, part)
                file.write(b"%b,%d]\n" % (line, crc32(line)))
            file.flush()
            os.fsync(file.fileno())
        created = min(self._times) if self.created is None else self.created
        folder = run.folder if run else claim(self._top, project, name, "never", created)[0]
        files = os.path.join(self._place, "files")
        if os.path.isdir(files):
            make_folder(os.path.join(folder, "files"))
            for digest in os.listdir(files):
                os.replace(os.path.join(files, digest), os.path.join(folder, "files", digest))
        os.rename(path, os.path.join(folder, f"w-import-{os.getpid()}-{time.time_ns():x}.jsonl"))
        return folder


class Found(NamedTuple):
    """A run of a source: its name, the identities of its parts, and what writes all of it past some marks
    and returns the new ones.
    """

    name: str
    parts: list[str]
    read: Callable[[Import, Marks], Marks]


class Outcome(NamedTuple):
    """What became of a run: `name`, how many `points` came in, and whether it was `there` before."""

    name: str
    points: int
    there: bool


def marks_of(run: StoredRun) -> Marks:
    """Return how far earlier imports into a run went. Raises OSError."""
    marks: Marks = {}
    for path in journals(run.folder):
        if not os.path.basename(path).startswith("w-import-"):
            continue
        with open(path, "rb") as file:
            for line in file:
                if line.startswith(b',"import",', line.find(b',"')):
                    with suppress(ValueError):
                        for part, mark in parse(line)[0][4]["upto"].items():
                            marks[part] = max(mark, marks.get(part, 0))
    return marks


def bring(api: Api, project: str, source: str, found: Found) -> Outcome:
    """Take over what of a run is not there yet. Raises OSError, and what reading the source raises."""
    before, since = None, {}
    for run in api.runs(project):
        # A run that was logged here, or came from elsewhere, may have the same name; it is another.
        if run.name == found.name and not (marks := marks_of(run)).keys().isdisjoint(found.parts):
            before, since = run, marks
    with Import(api.root) as writer:
        marks = found.read(writer, since)
        if len(writer):
            writer.finish(project, found.name, before, source, marks)
        return Outcome(found.name, writer.points, before is not None)


@contextmanager
def alone(top: str) -> Iterator[None]:
    """Keep other imports out: two at once would both find nothing there. Raises OSError."""
    import fcntl

    make_folder(top)
    fd = os.open(top, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
