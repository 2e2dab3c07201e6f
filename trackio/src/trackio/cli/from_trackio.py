"""Runs from the store of Hugging Face's Trackio: SQLite files and a folder of media.

Read with the standard library, as Trackio 0.43 lays it out (sqlite_storage.py, `init_db`), older files
without `run_id` too; Trackio need not be installed. Nothing of it is changed.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import datetime, timezone
from functools import partial
from typing import Any

import orjson

from ..rich import Histogram, Image, Table, Trace
from .common import UsageError, _choices, tell
from .importer import Found, Import, Marks

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

#: utils.py, `serialize_values` and `deserialize_values`: at the top of a payload these texts are numbers.
_NUMBERS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}

#: Tables that know runs, and the column that says when.
_TABLES = {
    "metrics": "timestamp",
    "system_metrics": "timestamp",
    "configs": "created_at",
    "traces": "timestamp",
    "alerts": "timestamp",
}


def default_folder() -> str:
    """Return where Trackio keeps its files (utils.py, `_get_trackio_dir`)."""
    cache = os.environ.get("HF_HOME") or os.path.join("~", ".cache", "huggingface")
    return os.path.expanduser(os.environ.get("TRACKIO_DIR") or os.path.join(cache, "trackio"))


def databases(place: str | None, project: str | None) -> list[tuple[str, str]]:
    """Return (project here, path) of the databases that are meant. Raises UsageError if there is none."""
    place = default_folder() if place is None else place
    if os.path.isfile(place):
        return [(project or os.path.splitext(os.path.basename(place))[0], place)]
    try:
        names = sorted(name[:-3] for name in os.listdir(place) if name.endswith(".db"))
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"no folder or file {place}") from None
    if not names:
        raise UsageError(f"no database of Trackio (*.db) in {place}")
    inbox = os.path.join(place, "inbox")
    waiting = sum(name.endswith(".jsonl") for _, _, files in os.walk(inbox) for name in files)
    if waiting:
        tell(f"{waiting} files in {inbox} are not in a database yet: `trackio show` of Trackio takes them in")
    if project is None:
        return [(name, os.path.join(place, f"{name}.db")) for name in names]
    # utils.py, `canonical_project_name`
    file = "".join(c for c in project if c.isalnum() or c in "-_").rstrip() or "default"
    if file not in names:
        raise UsageError(f"no project {project!r} in {place}{_choices(names, file, 'there are')}")
    return [(project, os.path.join(place, f"{file}.db"))]


def runs(path: str) -> Iterator[Found]:
    """Yield the runs of one database, oldest first. Raises UsageError if it is none of Trackio's."""
    try:
        with closing(_open(path)) as base:
            known = {table: _columns(base, table) for table in _TABLES}
            if not known["metrics"]:
                raise UsageError(f"{path} is no database of Trackio: it has no table metrics")
            found: dict[str, tuple[str, str]] = {}
            for table, when in _TABLES.items():
                if columns := known[table]:
                    key = "run_id" if "run_id" in columns else "run_name"
                    query = f"SELECT {key}, MAX(run_name), MIN({when}) FROM {table} GROUP BY {key}"
                    for run, name, first in base.execute(query):
                        found[run] = min(found.get(run, (first, name)), (first, name))
            if _columns(base, "artifact_versions"):
                (count,) = base.execute("SELECT COUNT(*) FROM artifact_versions").fetchone()
                if count:
                    tell(f"{path}: {count} versions of artifacts are not taken over")
            for run, (_, name) in sorted(found.items(), key=lambda item: item[1]):
                parts = [f"{run}:{table}" for table in _TABLES]
                yield Found(name, parts, partial(_read, base, known, os.path.dirname(path), run))
    except sqlite3.DatabaseError as error:
        raise UsageError(f"{path}: {error}") from error


def _open(path: str) -> sqlite3.Connection:
    address = f"file:{_quoted(os.path.abspath(path))}"
    base = sqlite3.connect(f"{address}?mode=ro", uri=True)
    try:
        base.execute("SELECT COUNT(*) FROM sqlite_master")
    except sqlite3.OperationalError:
        # Reading a WAL database needs files beside it; in a folder without write access nobody else writes
        # either, and without a log there is nothing in it that the file does not have.
        log = f"{path}-wal"
        if os.path.exists(log) and os.path.getsize(log):
            raise
        base = sqlite3.connect(f"{address}?immutable=1", uri=True)
    return base


def _quoted(path: str) -> str:
    from urllib.parse import quote

    return quote(path)


def _columns(base: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in base.execute(f"PRAGMA table_info({table})")}


def _moment(text: str) -> int:
    moment = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
    span = (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)) - _EPOCH
    return (span.days * 86400 + span.seconds) * 10**9 + span.microseconds * 1000


def _read(
    base: sqlite3.Connection, known: dict[str, set[str]], folder: str, run: str, writer: Import, since: Marks
) -> Marks:
    upto = {}
    media = _Media(os.path.join(folder, "media"))

    def rows(table: str, *columns: str) -> Iterator[Any]:
        there = known[table]
        part = f"{run}:{table}"
        upto[part] = since.get(part, 0)
        if not there:
            return
        key = "run_id" if "run_id" in there else "run_name"
        # A column that came later is empty in an older file. `rowid` is `id` where that is a number.
        wanted = ", ".join(column if column in there else "NULL" for column in columns)
        query = f"SELECT rowid, {_TABLES[table]}, {wanted} FROM {table} WHERE {key} = ? AND rowid > ?"
        order = f" ORDER BY {_TABLES[table]}, rowid"
        for number, when, *values in base.execute(query + order, (run, upto[part])):
            upto[part] = max(upto[part], number)
            yield _moment(when), *values

    for moment, blob in rows("configs", "config"):
        config = _numbers(orjson.loads(blob))
        writer.config(moment, config)
        if isinstance(created := config.get("_Created"), str):
            with suppress(ValueError):
                writer.created = _moment(created)
    for moment, step, blob in rows("metrics", "step", "metrics"):
        values = _numbers(orjson.loads(blob))
        # A log call of nothing but traces leaves an empty row.
        if values:
            writer.log(moment, step, {key: media.value(value) for key, value in values.items()})
    for (moment, step, key), traces in _traces(rows, media):
        writer.log(moment, step, {key: traces})
    for moment, blob in rows("system_metrics", "metrics"):
        writer.system(moment, _numbers(orjson.loads(blob)))
    for moment, step, title, text, level in rows("alerts", "step", "title", "text", "level"):
        writer.log(moment, step, {"alert": {"title": title, "text": text, "level": level}})
    if media.lost:
        tell(f"{media.lost} media files are not in {media.folder}; their names are taken over")
    return upto


def _numbers(values: dict[str, Any]) -> dict[str, Any]:
    return {k: _NUMBERS.get(v, v) if isinstance(v, str) else v for k, v in values.items()}


def _traces(rows: Any, media: _Media) -> Iterator[tuple[tuple[int, Any, str], Any]]:
    """Yield (time, step, key) and a Trace, or a list of them if a list was logged."""
    lists: dict[Any, list[tuple[int, Trace]]] = {}
    fields = ("step", "key", "trace_index", "messages", "metadata", "spans", "log_id")
    for moment, step, key, index, messages, metadata, spans, call in rows("traces", *fields):
        parts = [media.value(orjson.loads(text)) if text else None for text in (messages, metadata, spans)]
        trace = Trace(*parts)
        if index is None:
            yield (moment, step, key), trace
        else:
            lists.setdefault((moment, step, key, call), []).append((index, trace))
    for (moment, step, key, _), pairs in lists.items():
        yield (moment, step, key), [trace for _, trace in sorted(pairs, key=lambda pair: pair[0])]


class _Media:
    """Turns payloads back into values; `lost` counts files that are not in `folder`."""

    def __init__(self, folder: str) -> None:
        self.folder, self.lost = folder, 0

    def value(self, value: Any) -> Any:
        """Return what was logged: table.py, histogram.py, media/media.py, `_to_dict`."""
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if not isinstance(value, dict):
            return value
        kind = value.get("_type")
        if kind == "trackio.table" and isinstance(value.get("_value"), list):
            return Table(data=[self.value(row) for row in value["_value"]])
        if kind == "trackio.histogram":
            return Histogram(np_histogram=(value.get("values"), value.get("bins")))
        if kind == "trackio.trace":
            return Trace(*(self.value(value.get(name)) for name in ("messages", "metadata", "spans")))
        if isinstance(kind, str) and isinstance(value.get("file_path"), str):
            return self._file(kind, value)
        return {key: self.value(item) for key, item in value.items()}

    def _file(self, kind: str, value: dict[str, Any]) -> Any:
        try:
            with open(os.path.join(self.folder, value["file_path"]), "rb") as file:
                data = file.read()
        except OSError:
            self.lost += 1
            return value
        if kind == "trackio.image":
            image = Image(data, value.get("caption"))
            image._format = os.path.splitext(value["file_path"])[1].lstrip(".").lower() or None
            return image
        # Video, audio, a page, a 3D object: what it was, and its bytes.
        return {**value, "data": data}
