"""Whether what is kept is whole: every run file, every line of every journal, every file a record refers to.

Nothing is modified. A run may be written to meanwhile.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from .content import Progress, Ticker, hash_file, is_digest
from .journal import Damage, journals, read
from .paths import RUN_FILE, key, read_info
from .paths import root as default_root

#: Records that may keep their bytes as a file (values.py, `Encoder.data`).
_BEARERS = ("array", "bytes", "image")

_SEE = "see to the disk or the rights, and verify again"


class Problem(NamedTuple):
    """One thing that was found: `run` (`project/name`), `path` of the file, `offset` in bytes or None,
    `what` it is, and what `to_do` about it.
    """

    run: str
    path: str
    offset: int | None
    what: str
    to_do: str

    def __str__(self) -> str:
        place = self.path if self.offset is None else f"{self.path} at byte {self.offset}"
        return f"{self.run}: {place}: {self.what}; {self.to_do}"


class Report:
    """What `verify` found.

    `problems` are losses and damage. `notes` are what a killed process leaves and nobody misses: a torn last
    record, drafts, files that no record refers to. `counts` has `runs`, `journals`, `records`, `artifacts`,
    `files` and `bytes` (those that were hashed), and how many `torn` and `damaged` lines, `missing` records,
    `lost` and `changed` files, `drafts` and `unreferenced` files there are. `root` is the folder.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.problems: list[Problem] = []
        self.notes: list[Problem] = []
        names = ("runs", "journals", "records", "artifacts", "files", "bytes")
        bad = ("torn", "damaged", "missing", "lost", "changed", "drafts", "unreferenced")
        self.counts: Counter[str] = Counter(dict.fromkeys((*names, *bad), 0))

    @property
    def ok(self) -> bool:
        """Whether there is no problem; there may be notes."""
        return not self.problems

    def __repr__(self) -> str:
        return f"<trackio.Report of {self.root}: {len(self.problems)} problems, {dict(self.counts)}>"


def verify(
    root: str | os.PathLike[str] | None = None,
    project: str | None = None,
    run: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Check the runs below `root` (by default `$TRACKIO_DIR`): all, of a `project`, or of a name or id `run`.

    `progress(done_bytes, total_bytes)` is called if it takes more than two seconds. Raises FileNotFoundError
    if there is no such folder, OSError if it cannot be listed; KeyError, which names what there is, if no run
    is of that project and name.
    """
    top = default_root() if root is None else os.path.abspath(os.fspath(root))
    if not os.path.isdir(top):
        raise FileNotFoundError(f"there is no folder {top}; $TRACKIO_DIR says where runs are kept")
    every = list(_runs(top))
    chosen = [found for found in every if found.is_of(project, run)]
    if not chosen and (project is not None or run is not None):
        wanted = " of ".join(f"{x!r}" for x in (run, project) if x is not None)
        raise KeyError(f"there is no run {wanted}; there are {[found.label for found in every][:50]}")
    report = Report(top)
    tick = Ticker(progress, sum(map(_Folder.size, chosen)) if progress else 0)
    for found in chosen:
        try:
            found.check(report, tick)
        except OSError as error:
            report.problems.append(Problem(found.label, found.folder, None, f"unreadable: {error}", _SEE))
    tick.end()
    return report


def _runs(top: str) -> Iterator[_Folder]:
    for parent in _folders(top):
        for folder in _folders(parent):
            # Others may keep things here too; a run has a run file, or what is left of one.
            try:
                there = set(os.listdir(folder))
                ours = RUN_FILE in there or "files" in there or journals(folder)
            except OSError:
                ours = True  # checking it will say why
            if ours:
                yield _Folder(folder)


def _folders(path: str) -> list[str]:
    return sorted(entry.path for entry in os.scandir(path) if entry.is_dir())


def _fits(info: dict[str, Any], folder: str) -> bool:
    parent, name = os.path.split(folder)
    base = key(info["name"])
    numbered = name == base or name.startswith(base + "-")
    return numbered and info["id"] == name and os.path.basename(parent) == key(info["project"])


class _Folder:
    """The folder of one run."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.files = os.path.join(folder, "files")
        self.reason = "it is not there"
        self.info: dict[str, Any] | None = None
        path = os.path.join(folder, RUN_FILE)
        try:
            if os.path.exists(path):
                self.reason = "it does not name a run"
                info = read_info(folder)
                # `paths.claim` made the folders' names of those in the file; readers search by them.
                if info is not None and not _fits(info, folder):
                    self.reason = f"it names another run, {info['name']!r} of {info['project']!r}"
                elif info is not None:
                    self.info = info
        except Exception as error:  # whatever bytes are in it
            self.reason = f"{type(error).__name__}: {error}"
        parent, name = os.path.split(folder)
        self.label = f"{os.path.basename(parent)}/{name}"
        if self.info is not None:
            self.label = f"{self.info['project']}/{self.info['name']}"
        # Digest → what refers to it first.
        self._wanted: dict[str, str] = {}
        self._linked: set[str] = set()

    def is_of(self, project: str | None, run: str | None) -> bool:
        parent, name = os.path.split(self.folder)
        if self.info is None:  # only the keys are left
            of_project = project is None or os.path.basename(parent) == key(project)
            return of_project and (run is None or name == run or name.startswith(key(run)))
        if project is not None and self.info["project"] != project:
            return False
        return run is None or run in (self.info["name"], name)

    def size(self) -> int:
        paths = [*journals(self.folder), *(os.path.join(self.files, name) for name in self._kept())]
        return sum(os.stat(path).st_size for path in paths if os.path.exists(path))

    def _kept(self) -> list[str]:
        return sorted(os.listdir(self.files)) if os.path.isdir(self.files) else []

    def check(self, report: Report, tick: Ticker) -> None:
        """Add to `report` what there is to say."""
        report.counts["runs"] += 1
        if self.info is None:
            to_do = (
                'without it no reader finds the run: restore it, as {"project":…,"name":…,"id":…,"created":0}'
            )
            path = os.path.join(self.folder, RUN_FILE)
            report.problems.append(Problem(self.label, path, None, f"no use: {self.reason}", to_do))
        for path in journals(self.folder):
            try:
                self._journal(path, report)
                tick(os.stat(path).st_size)
            except OSError as error:
                report.problems.append(Problem(self.label, path, None, f"unreadable: {error}", _SEE))
        for digest, label in self._wanted.items():
            self._file(digest, label, report, tick)
        self._left_over(report)

    def _journal(self, path: str, report: Report) -> None:
        report.counts["journals"] += 1
        damage = Damage()
        expected, absent, again = 0, 0, 0
        first: int | None = None
        for record in read(path, strict=False, damage=damage):
            report.counts["records"] += 1
            if record[0] < expected:
                again += 1
            elif record[0] > expected:
                absent += record[0] - expected
                first = expected if first is None else first
            expected = max(expected, record[0] + 1)
            self._refers(record, path, report)
        report.counts["damaged"] += len(damage.lines)
        for _, offset, reason in damage.lines:
            to_do = "restore the file from a backup; without, only this record is lost"
            report.problems.append(Problem(self.label, path, offset, f"a damaged record: {reason}", to_do))
        absent -= len(damage.lines)  # those are where they were, though unreadable
        if absent > 0:
            report.counts["missing"] += absent
            what = f"{absent} records are missing, from sequence {first} on"
            to_do = (
                "their writer could not keep them (was the disk full?), or lines were deleted: see a backup"
            )
            report.problems.append(Problem(self.label, path, None, what, to_do))
        if again:
            what, to_do = f"{again} records come again or out of order", "restore the file from a backup"
            report.problems.append(Problem(self.label, path, None, what, to_do))
        if damage.torn:
            report.counts["torn"] += damage.torn
            what, to_do = "a torn last record", "nothing: its writer was killed before it was acknowledged"
            report.notes.append(Problem(self.label, path, _tail(path), what, to_do))

    def _refers(self, record: list[Any], path: str, report: Report) -> None:
        sequence, _, kind, _, body = record
        for digest in _references(body):
            self._wanted.setdefault(str(digest), f"record {sequence} of {os.path.basename(path)}")
        if kind != "file":
            return
        try:
            report.counts["artifacts"] += 1
            name = f"{body['name']}:{body['version']}"
            for entry in body["files"]:
                digest = str(entry["sha256"])
                self._wanted.setdefault(digest, f"{entry['path']!r} of artifact {name!r}")
                if "link" in entry:
                    self._linked.add(digest)
        except (LookupError, TypeError) as error:
            what = f"record {sequence} is no manifest of an artifact: {type(error).__name__}: {error}"
            to_do = "log the artifact again"
            report.problems.append(Problem(self.label, path, None, what, to_do))

    def _file(self, digest: str, label: str, report: Report, tick: Ticker) -> None:
        path = os.path.join(self.files, os.path.basename(digest))
        try:
            found, size = hash_file(path, tick)
        except FileNotFoundError:
            report.counts["lost"] += 1
            what, to_do = f"not there; it is {label}", "restore it from a backup, or log its content again"
            report.problems.append(Problem(self.label, path, None, what, to_do))
            return
        except OSError as error:
            report.counts["lost"] += 1
            what = f"unreadable: {error}; it is {label}"
            report.problems.append(Problem(self.label, path, None, what, _SEE))
            return
        report.counts["files"] += 1
        report.counts["bytes"] += size
        if found != digest:
            report.counts["changed"] += 1
            what = f"the content has changed, it is {label}"
            if digest in self._linked:
                what += "; it was kept as a hard link, and somebody rewrote the source in place"
            to_do = "log that content again (with link=False), or restore it from a backup"
            report.problems.append(Problem(self.label, path, None, what, to_do))

    def _left_over(self, report: Report) -> None:
        drafts = [name for name in os.listdir(self.folder) if name.startswith(RUN_FILE + ".")]
        paths = [os.path.join(self.folder, name) for name in sorted(drafts)]
        for name in self._kept():
            path = os.path.join(self.files, name)
            if not is_digest(name):
                paths.append(path)
            elif name not in self._wanted:
                report.counts["unreferenced"] += 1
                what, to_do = "no record refers to it", "if nobody writes to the run, it may be deleted"
                report.notes.append(Problem(self.label, path, None, what, to_do))
        report.counts["drafts"] += len(paths)
        for path in paths:
            what, to_do = "a draft", "if nobody writes to the run, it is left over and may be deleted"
            report.notes.append(Problem(self.label, path, None, what, to_do))


def _references(body: Any) -> Iterator[Any]:
    """Yield the digests that a raw record body refers to."""
    todo = [body]
    while todo:
        value = todo.pop()
        if type(value) is dict:
            data = value.get("v")
            if type(data) is dict and "file" in data and value.get("$") in _BEARERS:
                yield data["file"]
            todo += [part for part in value.values() if type(part) is dict or type(part) is list]
        elif type(value) is list:
            todo += [part for part in value if type(part) is dict or type(part) is list]


def _tail(path: str) -> int:
    """Return where the last line of a file begins, in bytes."""
    with open(path, "rb") as file:
        begin = 0
        for line in file:
            if line.endswith(b"\n"):
                begin += len(line)
    return begin
