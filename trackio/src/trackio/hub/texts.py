"""The records of a small push as a text, and back, exactly.

What is no text goes up apart from its commit: a link is asked for, the file sent, and looked after. A text is
in the commit itself, one request in all. Rows of text would be long, the 21 numbers of a log alone 380
characters, so it is no table: until it becomes one, see `push.py`, only `trackio pull` reads it.

It has three lines, each a zlib stream in base85: the records as JSON without their doubles; the doubles, the
lowest byte of each, then the next one, and so on; and their two highest bytes, which alone are much alike.
"""

from __future__ import annotations

import struct
import zlib
from base64 import b85decode, b85encode
from collections.abc import Callable, Iterator
from typing import Any

import orjson

Record = list[Any]
Pause = Callable[[], None]
Hide = Callable[[str], str]

#: Bytes that are encoded at once, a multiple of four: base64 is Python, and no other thread runs meanwhile.
_PIECE = 4096


def hidden(raw: Any, hide: Hide) -> str:
    """Return a value as the journal has it as JSON, without tokens; a short one holds none."""
    text = orjson.dumps(raw).decode()
    return text if len(text) < 8 else hide(text)


def pack(records: list[Record], hide: Hide, pause: Pause = lambda: None) -> bytes:
    """Return records `[sequence, time, kind, step, body]` as a text; `pause` is called now and then."""
    rows: list[list[Any]] = []
    doubles: list[float] = []
    known: dict[str, str] = {}
    last: list[str] | None = None
    for place, (sequence, moment, kind, step, body) in enumerate(records):
        if not place % 64:
            pause()
        if kind not in ("log", "sys") or type(body) is not dict:
            rows.append([sequence, moment, kind, step, hidden(body, hide)])
            continue
        for name in body.keys() - known.keys():
            known[name] = hide(name)
        keys = [known[name] for name in body]
        values = [None if type(raw) is float else hidden(raw, hide) for raw in body.values()]
        doubles += [raw for raw in body.values() if type(raw) is float]
        # Most logs have the keys of the one before, and nothing but doubles.
        told = [0 if keys == last else keys, values if any(values) else 0]
        rows.append([sequence, moment, kind, step, *told])
        last = keys
    data = struct.pack(f"<{len(doubles)}d", *doubles)
    low, high = (b"".join(data[byte::8] for byte in half) for half in (range(6), range(6, 8)))
    return b"".join(_line(part, pause) for part in (orjson.dumps(rows), low, high))


def _line(data: bytes, pause: Pause) -> bytes:
    data = zlib.compress(data, 9)
    pieces = []
    for start in range(0, len(data), _PIECE):
        pieces.append(b85encode(data[start : start + _PIECE]))
        pause()
    return b"".join(pieces) + b"\n"


def unpack(text: bytes) -> list[dict[str, Any]]:
    """Return what `pack` was given: `seq, time, kind, step` of each record, and its body in JSON as `json`.

    Raises ValueError for what is no such text.
    """
    try:
        rows, low, high = (zlib.decompress(b85decode(line)) for line in text.splitlines())
        return list(_unpacked(orjson.loads(rows), _doubles(low + high)))
    except (zlib.error, struct.error, TypeError, RuntimeError) as error:
        raise ValueError(f"this is no text of records: {type(error).__name__}: {error}") from error


def _doubles(planes: bytes) -> Iterator[float]:
    count = len(planes) // 8
    data = bytearray(len(planes))
    for byte in range(8):
        data[byte::8] = planes[byte * count : (byte + 1) * count]
    return iter(struct.unpack(f"<{count}d", data))


def _unpacked(rows: list[list[Any]], doubles: Iterator[float]) -> Iterator[dict[str, Any]]:
    last: list[str] = []
    for sequence, moment, kind, step, *body in rows:
        if len(body) == 1:
            text = body[0]
        else:
            last = last if body[0] == 0 else body[0]
            values = body[1] or [None] * len(last)
            told = (_json(next(doubles)) if value is None else value for value in values)
            cells = (f"{_json(key)}:{value}" for key, value in zip(last, told, strict=True))
            text = "{" + ",".join(cells) + "}"
        yield {"seq": sequence, "time": moment, "kind": kind, "step": step, "json": text}


def _json(value: str | float) -> str:
    return orjson.dumps(value).decode()
