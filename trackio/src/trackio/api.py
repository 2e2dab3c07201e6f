"""The reading end: projects, runs, and what was logged, from the journals alone. Nothing is written, and no
writer waits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .journal import Damage, ends, host_name, journals, merged, start_ticks
from .machine import boot_id, quiet_for, up_for
from .paths import key, load_file, read_info, root
from .rich import Table, is_rich
from .values import Decoder, Marker, decode_mapping

if TYPE_CHECKING:
    from .artifact import Artifact

Point = tuple[int | None, str, Any]

#: The status of a writer on another host cannot be asked for: a journal untouched for so many seconds has
#: crashed.
SILENCE = 3600.0

_PLAIN = {float, int, str, bool, type(None)}


class Api:
    """What a folder holds. `root` is a path, by default `$TRACKIO_DIR` as it is now.

    `strict`: a damaged record raises `JournalDamaged`, which names file and offset; without it, it is
    passed over and counted in `run.damage`.
    """

    def __init__(self, root: str | os.PathLike[str] | None = None, strict: bool = True) -> None:
        self.root = _root(root)
        self.strict = strict

    def projects(self) -> list[str]:
        """Return the names of the projects that have a run, sorted."""
        return sorted({run.project for run in self._all()})

    def runs(self, project: str) -> list[StoredRun]:
        """Return the runs of a project, oldest first; none for a project that is not there."""
        runs = [run for run in self._in(key(project)) if run.project == project]
        return sorted(runs, key=lambda run: (run.created, run.id))

    def run(self, project: str, name: str) -> StoredRun:
        """Return the latest run of that name, or the one of that id. Raises KeyError if there is none."""
        runs = self.runs(project)
        found = [run for run in runs if run.name == name] or [run for run in runs if run.id == name]
        if not found:
            raise KeyError(f"project {project!r} has no run {name!r}; it has {[run.name for run in runs]}")
        return found[-1]

    def _all(self) -> Iterator[StoredRun]:
        for entry in _folders(self.root):
            yield from self._in(entry)

    def _in(self, entry: str) -> Iterator[StoredRun]:
        folder = os.path.join(self.root, entry)
        for name in _folders(folder):
            if (info := read_info(os.path.join(folder, name))) is not None:
                yield StoredRun(os.path.join(folder, name), info, self.strict)


def _root(path: str | os.PathLike[str] | None) -> str:
    return root() if path is None else os.path.abspath(os.fspath(path))


def _folders(path: str) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(path) if entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []


class StoredRun:
    """A run as it is kept: `name`, `id`, `project` (text), `created` (nanoseconds since 1970), `folder`
    (path).

    Every call reads anew, so a run that is being written shows what is there by now. `damage` tells what
    the latest complete reading met.
    """

    def __init__(self, folder: str, info: dict[str, Any], strict: bool = True) -> None:
        self.folder = folder
        self.name: str = info["name"]
        self.id: str = info["id"]
        self.project: str = info["project"]
        self.created: int = info.get("created", 0)
        self.strict = strict
        self.damage = Damage()
        self._decode = Decoder(lambda digest: load_file(folder, digest))

    def records(self) -> Iterator[list[Any]]:
        """Yield the raw records `[sequence, time, kind, step, body]` of all writers, by time.

        Raises JournalDamaged if strict.
        """
        damage = self.damage = Damage()
        yield from merged(self.folder, self.strict, damage)

    def _value(self, record: Any) -> Any:
        try:
            return self._decode(record)
        except Exception as error:
            # The line is whole, and what it says makes no sense, or its file is gone.
            if self.strict:
                raise
            return Marker("unreadable", type(error).__name__, str(error))

    def _logged(self, wanted: str = "log") -> Iterator[tuple[int, int | None, str, Any]]:
        decode, plain = self._value, _PLAIN
        for _, moment, kind, step, body in self.records():
            if kind != wanted:
                continue
            if type(body) is dict:
                for name, value in body.items():
                    yield moment, step, name, value if type(value) in plain else decode(value)
            else:
                for name, value in decode_mapping(body, decode):
                    yield moment, step, name if isinstance(name, str) else str(name), value

    def points(self) -> Iterator[Point]:
        """Yield (step, key, value) of every value logged, in order, except the rich ones, which `tables`
        and `media` yield.

        `step` is an int or None. `value` equals what was logged, as a plain Python value where there is
        one, else as an `Array` or a `Marker`. A key that was no string is given as one. Raises
        JournalDamaged if strict.
        """
        for _, step, name, value in self._logged():
            if type(value) in _PLAIN or not is_rich(value):
                yield step, name, value

    def tables(self) -> Iterator[tuple[int | None, str, Table]]:
        """Yield (step, key, table); `table.columns` and `table.rows` are plain lists. Raises JournalDamaged
        if strict.
        """
        for _, step, name, value in self._logged():
            if isinstance(value, Table):
                yield step, name, value

    def media(self) -> Iterator[tuple[int | None, str, Any]]:
        """Yield (step, key, value) of every Image, Trace, Histogram, and list of rich values. Raises
        JournalDamaged if strict.
        """
        for _, step, name, value in self._logged():
            if type(value) not in _PLAIN and is_rich(value) and not isinstance(value, Table):
                yield step, name, value

    def system(self) -> Iterator[tuple[int, str, Any]]:
        """Yield (time, key, value) of every reading of the system, in order: nanoseconds since 1970, text,
        and mostly a number. The module `system` says what the keys mean. Raises JournalDamaged if strict.
        """
        for moment, _, name, value in self._logged("sys"):
            yield moment, name, value

    def artifacts(self) -> Iterator[Artifact]:
        """Yield the stored artifacts, in order: `name`, `type`, `version`, `aliases`, `metadata`, `files()`,
        `download(root)`.

        Raises JournalDamaged if strict, and what a record that makes no sense makes it.
        """
        from .artifact import stored

        manifests = [self._value(body) for _, _, kind, _, body in self.records() if kind == "file"]
        yield from stored(self.folder, manifests, self.strict)

    def artifact(self, name: str) -> Artifact:
        """Return the artifact that `name` means: `model` or `model:latest`, `model:v2`, `model:<alias>`.

        Raises KeyError, which names what there is; JournalDamaged if strict.
        """
        from .artifact import find

        return find(list(self.artifacts()), name)

    def frame(self) -> Any:
        """Return the points as a pandas frame with the columns `time step key value`. Raises ImportError
        without pandas.
        """
        import pandas

        rows = [row for row in self._logged() if not is_rich(row[3])]
        frame = pandas.DataFrame(rows, columns=["time", "step", "key", "value"], dtype=object)
        frame["time"] = pandas.to_datetime(frame["time"].astype("int64"), unit="ns", utc=True)
        frame["step"] = frame["step"].astype("Int64")
        return frame

    @property
    def config(self) -> dict[Any, Any]:
        """The configuration after all changes. Raises JournalDamaged if strict."""
        config: dict[Any, Any] = {}
        for _, _, kind, _, body in self.records():
            if kind == "cfg":
                config.update(decode_mapping(body, self._decode))
        return config

    @property
    def status(self) -> str:
        """`running`, `finished`, `failed` (uncaught exception, SIGTERM) or `crashed` (its process is gone
        without a word).

        With several writers: `running` if any is, else that of the writer who wrote last. Children forked
        from a writer count only while they run.
        """
        writers = []
        for path in journals(self.folder):
            who, status, last = ends(path)
            if not last:
                continue  # its writer was killed before the first record
            if status in (None, "running"):
                status = "running" if _alive(who, path) else "crashed"
            if who.get("parent") is None or status == "running":
                writers.append((last, status))
        if any(status == "running" for _, status in writers):
            return "running"
        return str(max(writers)[1]) if writers else "crashed"

    def __repr__(self) -> str:
        return f"<trackio.StoredRun {self.name!r} of project {self.project!r}>"


def _alive(who: dict[str, Any], path: str) -> bool:
    if who.get("host") != host_name() or who.get("boot", boot_id()) != boot_id():
        # Another machine's; or, if it has this one's name and was written before this one was booted, it
        # was this one's.
        try:
            longest = min(SILENCE, up_for()) if who.get("host") == host_name() else SILENCE
            return quiet_for(path) < longest
        except OSError:
            return False
    pid, start = who.get("pid", 0), who.get("start", 0)
    try:
        os.kill(pid, 0)
    except PermissionError:
        pass
    except OSError:
        return False
    # The id may be another process's by now, and a killed child that nobody waited for is still listed.
    return bool(start == 0 or start_ticks(pid) == start)
