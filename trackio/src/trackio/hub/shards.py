"""Records to Parquet and back, exactly.

A shard holds the records `first` to `last` of one writer of one run, as far as they belong to its table. It
is called `<table>/<run>/<writer>-<first>-<last>.parquet` and never changed: who lists the names knows which
records are there. The shard of a small push is `pending/….b85`, a text with all of these records. So a push
whose outcome is unknown is not repeated but looked up, and writers never touch each other's files.

`metrics`, `tables` and `system` have a row per logged value: `run_id, writer, seq, place, time, step, key,
value, json`. `value` is the number as a double, null for what is none; `json` is the value as the journal has
it, null where the double says it all. `place` is the position within its record, because tables and images go
to another table than the numbers logged with them. A body that is no plain object is a row of its own, with a
null `key`. `runs` has a row for each other record: who wrote, configuration, status, artifacts.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from ..paths import key
from ..values import MARK, Decoder, Encoder
from .texts import Hide, Pause, Record, hidden, unpack

VALUES = ("metrics", "tables", "system")
TABLES = (*VALUES, "runs")

#: Where texts are that are to become shards of the tables.
PENDING = "pending"

#: Marked values that are numbers; see `values.py`.
_NUMBERS = {"float", "int", "scalar", "enum"}
_RICH = {"table", "image", "trace", "histogram", "video", "audio", "html", "markdown"}
_NAME = re.compile(r"([^/]+)/([^/]+)/(.+)-(\d{9,})-(\d{9,})(\.\w+)")

#: Rows that are converted at once, which takes a millisecond or two. Meanwhile no other thread runs.
ROWS = 1000


class Shard(NamedTuple):
    """What a shard's path says."""

    table: str
    run: str
    writer: str
    first: int
    last: int

    @property
    def path(self) -> str:
        """The path within the repository."""
        return f"{self.table}/{self.run}/{self.writer}-{self.first:09d}-{self.last:09d}{_ending(self.table)}"


def shard_of(path: str) -> Shard | None:
    """Return what `path` says, None if it is no shard's."""
    match = _NAME.fullmatch(path)
    if match is None or match[1] not in (*TABLES, PENDING) or match[6] != _ending(match[1]):
        return None
    return Shard(match[1], match[2], match[3], int(match[4]), int(match[5]))


def _ending(table: str) -> str:
    return ".b85" if table == PENDING else ".parquet"


def schema(table: str) -> Any:
    """Return the Arrow schema of a table. Raises ImportError without pyarrow."""
    import pyarrow as pa

    text, whole, moment = pa.string(), pa.int64(), pa.timestamp("ns", tz="UTC")
    if table == "runs":
        fields = {"run_id": text, "writer": text, "seq": whole, "time": moment, "kind": text, "step": whole}
        fields |= {"project": text, "name": text, "created": moment, "run": text, "json": text}
    elif table == "experiments":
        names = (
            "experiment_id name description created_at status metrics parameters artifacts logs last_updated"
        )
        fields = dict.fromkeys(names.split(), text)
    else:
        fields = {"run_id": text, "writer": text, "seq": whole, "place": pa.int32(), "time": moment}
        fields |= {"step": whole, "key": text, "value": pa.float64(), "json": text}
    return pa.schema(list(fields.items()))


def arrow(table: str, rows: list[tuple[Any, ...]]) -> Any:
    """Return rows of a table as an Arrow table. Raises ImportError without pyarrow."""
    import pyarrow as pa

    its = schema(table)
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, its, strict=True)]
    return pa.Table.from_arrays(arrays, schema=its)


def parquet(parts: list[Any]) -> bytes:
    """Return Arrow tables of one schema, at least one, as Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = parts[0].column_names
    # A shard may be ten rows: without statistics and Arrow's own copy of the schema a footer takes half, and
    # what is the same in many rows zstd makes smaller than a dictionary does.
    deltas = {"seq", "time", "step", "created"} & set(names)
    encodings = dict.fromkeys(deltas, "DELTA_BINARY_PACKED")
    if "value" in names:
        encodings["value"] = "BYTE_STREAM_SPLIT"
    sink = io.BytesIO()
    pq.write_table(
        pa.concat_tables(parts),
        sink,
        compression="zstd",
        compression_level=9,
        use_dictionary=False,
        column_encoding=encodings,
        write_statistics=False,
        store_schema=False,
    )
    return sink.getvalue()


def run_key(info: dict[str, Any], hide: Hide = str) -> str:
    """Return what a run is called in a repository: a slug of its name, and a hash of its identity.

    Two runs of one name, begun on two machines, are two; a run that was pulled and is gone on with is one.
    """
    from hashlib import sha256

    identity = orjson.dumps(Encoder()([info["project"], info["name"], info.get("created", 0)]))
    return f"{key(hide(info['name']))[:-9]}-{sha256(identity).hexdigest()[:12]}"


class Batch:
    """Consecutive records of one writer on their way to shards. `pause` is called now and then."""

    def __init__(
        self, run: str, info: dict[str, Any], writer: str, hide: Hide, pause: Pause = lambda: None
    ) -> None:
        self.run, self.writer, self._hide, self._pause = run, writer, hide, pause
        self._rows: dict[str, list[tuple[Any, ...]]] = {}
        self._parts: dict[str, list[Any]] = {}
        self.first, self.last = -1, -1
        text = hide(orjson.dumps(Encoder()(info)).decode())
        shown = [hide(_shown(info[part])) for part in ("project", "name")]
        self._info = (*shown, info.get("created", 0), text)
        self._keys: dict[str, str] = {}

    def add(self, record: Record) -> None:
        """Take a record `[sequence, time, kind, step, body]`."""
        sequence, moment, kind, step, body = record
        if self.first < 0:
            self.first = sequence
        self.last = sequence
        if kind not in ("log", "sys"):
            text = hidden(body, self._hide)
            row = (self.run, self.writer, sequence, moment, kind, step, *self._info, text)
            self._row("runs", row)
            return
        usual = "metrics" if kind == "log" else "system"
        if type(body) is not dict or not body:
            row = (self.run, self.writer, sequence, 0, moment, step, None, None, hidden(body, self._hide))
            self._row(usual, row)
            return
        for place, (name, raw) in enumerate(body.items()):
            if (shown := self._keys.get(name)) is None:
                shown = self._keys[name] = self._hide(name)
            plain = type(raw) is float
            table = usual if plain or kind == "sys" or not is_rich(raw) else "tables"
            cell = (raw, None) if plain else (number(raw), hidden(raw, self._hide))
            row = (self.run, self.writer, sequence, place, moment, step, shown, *cell)
            self._row(table, row)

    def _row(self, table: str, row: tuple[Any, ...]) -> None:
        rows = self._rows.setdefault(table, [])
        rows.append(row)
        if len(rows) >= ROWS:
            self._convert(table)

    def _convert(self, table: str) -> None:
        if rows := self._rows.pop(table, None):
            self._parts.setdefault(table, []).append(arrow(table, rows))
            self._pause()

    def shards(self) -> Iterator[tuple[Shard, bytes]]:
        """Yield a shard for each table that has rows."""
        for table in list(self._rows):
            self._convert(table)
        for table, parts in self._parts.items():
            self._pause()
            yield Shard(table, self.run, self.writer, self.first, self.last), parquet(parts)


def _shown(name: str) -> str:
    # Arrow's texts are UTF-8; the exact name is in the column `run`.
    return name.encode("utf-8", "backslashreplace").decode()


def is_rich(raw: Any) -> bool:
    """Tell whether a value as the journal has it is a table, an image, a trace, a histogram, or a list of
    these.
    """
    if type(raw) is list:
        return bool(raw) and all(is_rich(item) for item in raw)
    return type(raw) is dict and raw.get(MARK) in _RICH


def number(raw: Any) -> float | None:
    """Return what a value as the journal has it is as a double; None for no number, or one beyond doubles."""
    if type(raw) is dict and raw.get(MARK) in _NUMBERS:
        raw = Decoder()(raw)
    try:
        return float(raw) if isinstance(raw, (int, float)) else None
    except OverflowError:
        return None


# -- and back -----------------------------------------------------------------------------------------------


def read(table: str, source: Any) -> list[dict[str, Any]]:
    """Return the rows of a shard, a path or a binary file; times are nanoseconds since 1970.

    Raises ImportError without pyarrow, ValueError (pyarrow's ArrowInvalid) or OSError for what is no shard.
    """
    if table == PENDING:
        return unpack(Path(source).read_bytes() if isinstance(source, str) else source.read())
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = pq.ParquetFile(source).read()
    for name in ("time", "created"):
        if name in found.column_names:
            place = found.column_names.index(name)
            found = found.set_column(place, name, found.column(name).cast(pa.int64()))
    rows: list[dict[str, Any]] = found.to_pylist()
    return rows


def records(parts: Iterable[tuple[str, list[dict[str, Any]]]]) -> Iterator[tuple[int, int, str, Any, bytes]]:
    """Yield (sequence, time, kind, step, body as JSON) of one writer from the rows of its shards, in order.

    A sequence that is in two shards, as in a repository that others wrote to, is taken once.
    """
    values: dict[int, dict[int, tuple[str, dict[str, Any]]]] = {}
    others: dict[int, dict[str, Any]] = {}
    for table, rows in parts:
        for row in rows:
            if table in ("runs", PENDING):
                others[row["seq"]] = row
            else:
                values.setdefault(row["seq"], {})[row["place"]] = (table, row)
    for sequence in sorted({*values, *others}):
        if (row := others.get(sequence)) is not None:  # type: ignore[assignment]
            yield sequence, row["time"], row["kind"], row["step"], row["json"].encode()
            continue
        cells = [cell for _, cell in sorted(values[sequence].items())]
        table, row = cells[0]
        kind = "sys" if table == "system" else "log"
        if row["key"] is None:
            yield sequence, row["time"], kind, row["step"], row["json"].encode()
            continue
        body = b",".join(orjson.dumps(cell["key"]) + b":" + _json(cell) for _, cell in cells)
        yield sequence, row["time"], kind, row["step"], b"{" + body + b"}"


def _json(cell: dict[str, Any]) -> bytes:
    text = cell["json"]
    return orjson.dumps(cell["value"]) if text is None else text.encode()
