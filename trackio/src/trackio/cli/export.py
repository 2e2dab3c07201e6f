"""`trackio export`: every value of one run or of all, in long form, or as a row for each step.

Long form: `run` (its name; the id where two exported runs share a name), `time` (UTC, nanoseconds), `step`
(whole or empty), `key`, `value` (a double, empty for what is no number), `json` (the value as the journal has
it, exact: `trackio.cli.export.value_of` gives it back). JSON lines have null for a `value` of NaN or
infinity; their `json` says which. Contents kept in files are put in as base64, so the table stands for
itself. It is written as it is read, in constant memory.

Wide form: `run`, `step`, `nth`, `time`, and a column for each key. A key that was logged again at the same
step gets a further row, `nth` 1, 2, …: rows are kept apart, nothing is dropped. A key with the name of one of
those four columns becomes `key:NAME`. A CSV cell is the number, or else the JSON text of the value, empty
where nothing was logged. All cells are held in memory.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson

from ..api import StoredRun
from ..values import Decoder, Encoder
from .common import (
    UsageError,
    chosen,
    entries,
    is_rich_record,
    labels,
    need,
    plain,
    project_runs,
    store,
    tell,
    warn_damage,
)
from .output import refuse_existing, whole_file
from .text import iso, plural, progress

FIELDS = ("run", "time", "step", "key", "value", "json")
FIXED = ("run", "step", "nth", "time")

#: Rows in a group of a Parquet file.
GROUP = 65536

#: run, time (nanoseconds), step, key, value as a double or None, JSON text
Row = tuple[str, int, "int | None", str, "float | None", str]


def value_of(text: str) -> Any:
    """Return the value that a text of the column `json` stands for."""
    return Decoder()(orjson.loads(text))


def double(value: Any) -> float | None:
    """Return a number as a double, None for anything else, and for what is beyond a double's range."""
    if isinstance(value, (int, float)):
        try:
            return float(value)
        except OverflowError:
            pass
    return None


def long_rows(runs: list[StoredRun], args: argparse.Namespace) -> Iterator[Row]:
    """Yield the rows of the long form."""
    kind = "sys" if args.system else "log"
    dumps = orjson.dumps
    for run, label in zip(runs, map(_text, labels(runs)), strict=True):
        for moment, step, key, raw in entries(run, kind, args.keys):
            if type(raw) is float:
                yield label, moment, step, key, raw, dumps(raw).decode()
                continue
            if args.no_media and is_rich_record(raw):
                continue
            value = double(plain(run, raw))
            if type(raw) in (dict, list):
                raw = _contents(run, raw)
            yield label, moment, step, _text(key), value, dumps(raw).decode()
        warn_damage(run)


def _contents(run: StoredRun, raw: Any) -> Any:
    try:
        return _inside(run, raw)
    except OSError as error:
        if run.strict:
            raise UsageError(
                f"a file of run {run.name!r} cannot be read: {error}; --lenient goes on"
            ) from error
        tell(f"a file of run {run.name!r} cannot be read: {error}")
        return raw


def _inside(run: StoredRun, raw: Any) -> Any:
    # A dict that a caller logged as {"file": …} has no mark around it and is left as it is.
    if type(raw) is list:
        return [_inside(run, item) for item in raw]
    if type(raw) is not dict:
        return raw
    if "$" not in raw:
        return {key: _inside(run, item) for key, item in raw.items()}
    held = raw.get("v")
    if type(held) is dict and held.keys() == {"file"} and raw["$"] in ("array", "bytes", "image"):
        return {**raw, "v": Encoder().data(run._decode.data(held))}
    return {key: _inside(run, item) for key, item in raw.items()}


def _text(key: str) -> str:
    return key if key.isascii() else key.encode("utf-8", "backslashreplace").decode()


def export_runs(args: argparse.Namespace) -> int:
    """`trackio export PROJECT [RUN]`."""
    form = args.format or {".csv": "csv", ".parquet": "parquet", ".json": "json", ".jsonl": "json"}.get(
        os.path.splitext(args.output)[1].lower()
    )
    if form is None:
        if args.output != "-":
            raise UsageError(
                f"{args.output} has no suffix that names a format; --format csv, parquet or json"
            )
        form = "csv"
    if args.output == "-" and form == "parquet":
        raise UsageError("Parquet needs a file: -o FILE")
    if form == "parquet":
        need("pyarrow.parquet", "parquet")
    runs = project_runs(store(args), args.project)
    if args.run is not None:
        runs = chosen(runs, [args.run])
    write = {"csv": _csv, "json": _json, "parquet": _parquet}[form]
    if args.output == "-":
        write(runs, args, None)
        return 0
    refuse_existing(args.output, args.force)
    with whole_file(args.output, args.force) as draft:
        count = write(runs, args, draft)
    tell(f"{plural(count, 'row')} of {plural(len(runs), 'run')} in {args.output}")
    return 0


def _lines(draft: str | None) -> Any:
    if draft is None:
        return sys.stdout
    return open(draft, "w", encoding="utf-8", newline="")


def _write(draft: str | None, work: Callable[[Any], int]) -> int:
    file = _lines(draft)
    try:
        return work(file)
    finally:
        if draft is not None:
            file.close()


def _csv(runs: list[StoredRun], args: argparse.Namespace, draft: str | None) -> int:
    def work(file: Any) -> int:
        # \r\n as RFC 4180 says; it also makes the module quote cells with either of the two.
        writer = csv.writer(file)
        if args.wide:
            wide = Wide(runs, args)
            writer.writerow([*FIXED, *wide.columns])
            return _count(writer.writerow, wide.csv_rows())
        writer.writerow(FIELDS)
        rows = (
            (run, iso(moment), step, key, value, text)
            for run, moment, step, key, value, text in long_rows(runs, args)
        )
        return _count(writer.writerow, progress(rows, "rows"))

    return _write(draft, work)


def _count(write: Callable[[Any], Any], rows: Iterable[Any]) -> int:
    count = 0
    for row in rows:
        write(row)
        count += 1
    return count


def _json(runs: list[StoredRun], args: argparse.Namespace, draft: str | None) -> int:
    def work(file: Any) -> int:
        def line(row: dict[str, Any]) -> None:
            file.write(orjson.dumps(row).decode() + "\n")

        if args.wide:
            return _count(line, Wide(runs, args).json_rows())
        rows = (
            dict(zip(FIELDS, (run, iso(moment), *rest), strict=True))
            for run, moment, *rest in long_rows(runs, args)
        )
        return _count(line, progress(rows, "rows"))

    return _write(draft, work)


def _parquet(runs: list[StoredRun], args: argparse.Namespace, draft: str | None) -> int:
    pyarrow, parquet = need("pyarrow", "parquet"), need("pyarrow.parquet", "parquet")
    time_type = pyarrow.timestamp("ns", tz="UTC")
    if args.wide:
        table = Wide(runs, args).arrow(pyarrow, time_type)
        parquet.write_table(table, draft, row_group_size=GROUP)
        return int(table.num_rows)
    types = (
        pyarrow.string(),
        time_type,
        pyarrow.int64(),
        pyarrow.string(),
        pyarrow.float64(),
        pyarrow.string(),
    )
    schema = pyarrow.schema(list(zip(FIELDS, types, strict=True)))
    count, group = 0, []
    with parquet.ParquetWriter(draft, schema) as writer:
        for row in progress(long_rows(runs, args), "rows"):
            group.append(row)
            count += 1
            if len(group) == GROUP:
                writer.write_table(_columns(pyarrow, schema, group))
                group = []
        writer.write_table(_columns(pyarrow, schema, group))
    return count


def _columns(pyarrow: Any, schema: Any, rows: list[Row]) -> Any:
    columns = zip(*rows, strict=True) if rows else [[] for _ in schema]
    arrays = [pyarrow.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pyarrow.Table.from_arrays(arrays, schema=schema)


class Wide:
    """The pivot: `columns` are the keys as they came, `rows` maps (run, step, nth) to [time, cells]."""

    def __init__(self, runs: list[StoredRun], args: argparse.Namespace) -> None:
        self.rows: dict[tuple[str, int | None, int], list[Any]] = {}
        keys: dict[str, int] = {}
        seen: dict[tuple[str, int | None, str], int] = {}
        for run, moment, step, key, value, text in progress(long_rows(runs, args), "values"):
            nth = seen[run, step, key] = seen.get((run, step, key), -1) + 1
            row = self.rows.setdefault((run, step, nth), [moment, {}])
            # The double is kept for what JSON has no number for.
            row[1][keys.setdefault(key, len(keys))] = (value, text)
        self.columns = [f"key:{key}" if key in FIXED else key for key in keys]
        self._keys = list(keys)
        again = sum(nth == 1 for _, _, nth in self.rows)
        if again:
            tell(f"at {again} steps a key was logged more than once; the column nth tells these rows apart")

    def csv_rows(self) -> Iterator[list[Any]]:
        """Yield rows of cells."""
        for (run, step, nth), (moment, cells) in self.rows.items():
            row = [_cell(*cells[place]) if place in cells else None for place in range(len(self.columns))]
            yield [run, step, nth, iso(moment), *row]

    def json_rows(self) -> Iterator[dict[str, Any]]:
        """Yield rows whose `values` are those of the journal."""
        for (run, step, nth), (moment, cells) in self.rows.items():
            values = {self._keys[place]: orjson.Fragment(text) for place, (_, text) in cells.items()}
            yield {"run": run, "step": step, "nth": nth, "time": iso(moment), "values": values}

    def arrow(self, pyarrow: Any, time_type: Any) -> Any:
        """Return an Arrow table; a column is of numbers only if that loses nothing, else of JSON texts."""
        runs, steps, nths = zip(*self.rows, strict=True) if self.rows else ((), (), ())
        moments = [moment for moment, _ in self.rows.values()]
        arrays = [
            pyarrow.array(runs, pyarrow.string()),
            pyarrow.array(steps, pyarrow.int64()),
            pyarrow.array(nths, pyarrow.int64()),
            pyarrow.array(moments, time_type),
        ]
        for place in range(len(self.columns)):
            pairs = [cells.get(place) for _, cells in self.rows.values()]
            there = [pair for pair in pairs if pair is not None]
            numbers = [value_of(text) if value is not None else None for value, text in there]
            if all(type(number) is int and -(2**63) <= number < 2**63 for number in numbers):
                cells = [None if pair is None else value_of(pair[1]) for pair in pairs]
                arrays.append(pyarrow.array(cells, pyarrow.int64()))
            elif all(_exact(value, number) for (value, _), number in zip(there, numbers, strict=True)):
                cells = [None if pair is None else pair[0] for pair in pairs]
                arrays.append(pyarrow.array(cells, pyarrow.float64()))
            else:
                cells = [None if pair is None else pair[1] for pair in pairs]
                arrays.append(pyarrow.array(cells, pyarrow.string()))
        return pyarrow.Table.from_arrays(arrays, names=[*FIXED, *self.columns])


def _exact(value: float | None, number: Any) -> bool:
    """Tell whether a double alone stands for a number: not for a bool, nor for a whole one that it rounds."""
    return type(number) is float or (type(number) is int and value is not None and int(value) == number)


def _cell(value: float | None, text: str) -> str:
    # What is marked in the journal: NaN, infinity, an int beyond 64 bits, a scalar of another library.
    return str(value_of(text)) if value is not None and text.startswith("{") else text
