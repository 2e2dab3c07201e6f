"""Any Python value to JSON and back: exact where JSON is not, and total.

JSON has numbers, strings, true, false, null, lists and objects with string keys. Everything else becomes an
object whose key `$` names its kind; a caller's dict that has a key `$` is itself written as a marked list
of pairs, so no value can be mistaken for another. `encode` never raises for a value: what no rule fits
becomes a `repr` marker.
"""

from __future__ import annotations

import binascii
import datetime
import enum
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import orjson

from .arrays import Array, encode_array, encode_numpy, encode_tensor
from .settings import Secret

MARK = "$"

#: Deeper than this a value becomes a `repr` marker: both orjson (254 levels) and Python's own stack end
#: somewhere.
MAX_DEPTH = 100

#: One logged value may unfold to so many parts; a list that holds another twice, sixty times over, has 2**60.
MAX_PARTS = 2_000_000

#: A `repr` is kept up to this many characters.
MAX_REPR = 20_000

Store = Callable[[bytes], str]
Load = Callable[[str], bytes]
Rule = Callable[[dict[str, Any], "Decoder"], Any]


class Marker:
    """What came back of a value that has no plain equal.

    `kind` is one of `repr`, `cycle`, `deep`, `meta`, `enum`, `object`, `scalar`, `ndarray`, `set`, `dict`,
    or a kind of a newer release; `type` is the qualified name of the type it had; `value` is what is known
    of it, as plain values.
    """

    __slots__ = ("kind", "type", "value")

    def __init__(self, kind: str, type: str, value: Any = None) -> None:
        self.kind, self.type, self.value = kind, type, value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Marker):
            return NotImplemented
        return (self.kind, self.type, self.value) == (other.kind, other.type, other.value)

    def __hash__(self) -> int:
        return hash((self.kind, self.type))

    def __repr__(self) -> str:
        return f"Marker({self.kind!r}, {self.type!r}, {self.value!r})"


def type_name(value: Any) -> str:
    """Return the qualified name of the type of `value`, such as `peft.tuners.lora.config.LoraConfig`."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode()


class Encoder:
    """Encodes one logged value; remembers where it is, so that cycles and depth end in markers.

    `store` puts large bytes somewhere and returns their name; without it they stay in the record.
    """

    def __init__(self, store: Store | None = None) -> None:
        self.store = store
        self._open: set[int] = set()
        self._parts = 0

    def __call__(self, value: Any) -> Any:
        """Return `value` as something orjson writes without loss."""
        kind = type(value)
        if kind is float:
            return value if math.isfinite(value) else {MARK: "float", "v": repr(value)}
        if kind is str:
            return self._text(value)
        if kind is int:
            # orjson reads and writes 64 bits; hexadecimal has no limit on digits, decimal has one
            # (sys.set_int_max_str_digits).
            return value if -(2**63) <= value < 2**64 else {MARK: "int", "v": hex(value)}
        if value is None or kind is bool:
            return value
        if id(value) in self._open:
            return {MARK: "cycle", "type": type_name(value)}
        self._parts += 1
        if len(self._open) >= MAX_DEPTH or self._parts > MAX_PARTS:
            # No `repr`: it would go all the way that is refused here.
            return {MARK: "deep", "type": type_name(value)}
        self._open.add(id(value))
        try:
            return self._other(value)
        except Exception:
            # Whatever an object does when asked for its parts, logging it must not fail.
            return {MARK: "repr", "type": type_name(value), "v": self._text(short_repr(value))}
        finally:
            self._open.discard(id(value))

    def _text(self, value: str) -> Any:
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:  # a lone surrogate, as os.fsdecode makes them
                return {MARK: "str", "v": value.encode("utf-8", "surrogatepass").hex()}
        return value

    def _other(self, value: Any) -> Any:
        if isinstance(value, dict):
            return self._dict(value)
        if isinstance(value, list):
            return [self(item) for item in value]
        if isinstance(value, enum.Enum):
            plain = isinstance(value, (str, int, float))
            return {
                MARK: "enum",
                "type": f"{type_name(value)}.{value.name}",
                "v": self(value.value),
                "plain": plain,
            }
        if (record := encode_numpy(value, self)) is not None:
            return record
        if (record := encode_tensor(value, self)) is not None:
            return record
        if isinstance(value, Secret):
            return "***"
        if isinstance(value, str):
            return self._text(str.__str__(value))
        if isinstance(value, int):
            return self(int.__int__(value))
        if isinstance(value, float):
            return self(float.__float__(value))
        if isinstance(value, tuple):
            return {MARK: "tuple", "v": [self(item) for item in value]}
        if isinstance(value, (set, frozenset)):
            name = "set" if isinstance(value, set) else "frozenset"
            return {MARK: name, "v": [self(item) for item in value]}
        if isinstance(value, (bytes, bytearray, memoryview)):
            return {MARK: "bytes", "v": self.data(bytes(value))}
        if isinstance(value, Array):
            return encode_array(value, self)
        if isinstance(value, complex):
            return {MARK: "complex", "v": [self(value.real), self(value.imag)]}
        if (record := _moment(value)) is not None:
            return record
        if (record := _imported(value, self)) is not None:
            return record
        if isinstance(value, Marker):
            return {MARK: "marker", "kind": value.kind, "type": value.type, "v": self(value.value)}
        return self._object(value)

    def _object(self, value: Any) -> Any:
        from . import rich

        if (shown := rich.recognise(value)) is not None:
            return shown.record(self)
        if isinstance(value, Mapping):
            return self._dict(dict(value))
        if not isinstance(value, type):
            if callable(getattr(value, "to_dict", None)):
                parts = value.to_dict()
                if isinstance(parts, dict):
                    return {MARK: "object", "type": type_name(value), "v": self(parts)}
            if (fields := getattr(type(value), "__dataclass_fields__", None)) is not None:
                parts = {name: getattr(value, name) for name in fields if hasattr(value, name)}
                return {MARK: "object", "type": type_name(value), "v": self(parts)}
        return {MARK: "repr", "type": type_name(value), "v": self._text(short_repr(value))}

    def _dict(self, value: dict[Any, Any]) -> Any:
        items = list(value.items())
        if MARK not in value and all(type(key) is str and self._text(key) is key for key, _ in items):
            return {key: self(item) for key, item in items}
        return {MARK: "dict", "v": [[self(key), self(item)] for key, item in items]}

    def data(self, data: bytes, limit: int = 65536) -> Any:
        """Return bytes as base64, or as the name of a file beside the journal when they are more than
        `limit`.
        """
        if self.store is not None and len(data) > limit:
            with suppress(OSError):  # what cannot be kept beside the journal is kept in it
                return {"file": self.store(data)}
        return _base64(data)


def short_repr(value: Any) -> str:
    """Return `repr(value)`, cut to `MAX_REPR` characters; if it raises, the type and the error."""
    try:
        text = repr(value)
    except Exception as error:
        return f"<{type_name(value)}: repr raised {type(error).__name__}>"
    return text if len(text) <= MAX_REPR else text[:MAX_REPR] + "…"


def _moment(value: Any) -> dict[str, Any] | None:
    if isinstance(value, datetime.datetime):
        text = value.isoformat()
        # pandas' Timestamp is a datetime with nanoseconds and its NaT is one with no moment at all: neither
        # comes back equal.
        if datetime.datetime.fromisoformat(text) == value:
            return {MARK: "datetime", "v": text}
        raise ValueError(text)
    if isinstance(value, datetime.date):
        return {MARK: "date", "v": value.isoformat()}
    if isinstance(value, datetime.time):
        return {MARK: "time", "v": value.isoformat()}
    if isinstance(value, datetime.timedelta):
        back = datetime.timedelta(value.days, value.seconds, value.microseconds)
        if back == value:
            return {MARK: "timedelta", "v": [value.days, value.seconds, value.microseconds]}
        raise ValueError(back)
    return None


def _imported(value: Any, encode: Encoder) -> dict[str, Any] | None:
    """Return the record of a type whose module only a caller who uses it has imported, None for any other."""
    if (decimal := sys.modules.get("decimal")) and isinstance(value, decimal.Decimal):
        return {MARK: "decimal", "v": str(value)}
    if (pathlib := sys.modules.get("pathlib")) and isinstance(value, pathlib.PurePath):
        flavour = "windows" if isinstance(value, pathlib.PureWindowsPath) else "posix"
        return {MARK: "path", "flavour": flavour, "v": encode(os.fspath(value))}
    if (uuid := sys.modules.get("uuid")) and isinstance(value, uuid.UUID):
        return {MARK: "uuid", "v": value.hex}
    return None


class Decoder:
    """Turns records back into values; `load` returns the bytes of a file that an `Encoder` stored."""

    def __init__(self, load: Load | None = None) -> None:
        self.load = load

    def __call__(self, record: Any) -> Any:
        """Return the value that `record` was made from, or a `Marker`."""
        kind = type(record)
        if kind is list:
            return [self(item) for item in record]
        if kind is dict:
            name = record.get(MARK)
            if name is None:
                return {key: self(item) for key, item in record.items()}
            rule = _RULES.get(name)
            return rule(record, self) if rule else Marker(str(name), "", record)
        return record

    def data(self, record: Any) -> bytes:
        """Return what `Encoder.data` was given. Raises OSError if the file is gone."""
        if isinstance(record, dict):
            if self.load is None:
                raise OSError(f"no folder to read {record['file']} from")
            return self.load(record["file"])
        return binascii.a2b_base64(record)


def _hashed(name: str, kind: Callable[[Iterable[Any]], Any]) -> Rule:
    def rule(record: dict[str, Any], decode: Decoder) -> Any:
        items = decode(record["v"])
        try:
            back = kind(items)
        except TypeError:
            back = ()
        # Objects that were told apart by identity may be equal now; a set would lose one.
        return back if len(back) == len(items) else Marker("set", name, items)

    return rule


def _pairs(record: dict[str, Any], decode: Decoder) -> Any:
    pairs = decode(record["v"])
    try:
        back = dict(map(tuple, pairs))
    except TypeError:
        back = {}
    return back if len(back) == len(pairs) else Marker("dict", "dict", pairs)


def _path(record: dict[str, Any], decode: Decoder) -> Any:
    import pathlib

    windows = record["flavour"] == "windows"
    if windows == (os.name == "nt"):
        return pathlib.Path(decode(record["v"]))
    return (pathlib.PureWindowsPath if windows else pathlib.PurePosixPath)(decode(record["v"]))


def _decimal(record: dict[str, Any], decode: Decoder) -> Any:
    from decimal import Decimal

    return Decimal(record["v"])


def _uuid(record: dict[str, Any], decode: Decoder) -> Any:
    from uuid import UUID

    return UUID(record["v"])


def _marker(record: dict[str, Any], decode: Decoder) -> Marker:
    return Marker(record[MARK], record.get("type", ""), decode(record.get("v")))


_RULES: dict[str, Rule] = {
    "float": lambda r, d: float(r["v"]),
    "int": lambda r, d: int(r["v"], 16),
    "str": lambda r, d: bytes.fromhex(r["v"]).decode("utf-8", "surrogatepass"),
    "dict": _pairs,
    "tuple": lambda r, d: tuple(d(r["v"])),
    "set": _hashed("set", set),
    "frozenset": _hashed("frozenset", frozenset),
    "bytes": lambda r, d: d.data(r["v"]),
    "complex": lambda r, d: complex(*d(r["v"])),
    "datetime": lambda r, d: datetime.datetime.fromisoformat(r["v"]),
    "date": lambda r, d: datetime.date.fromisoformat(r["v"]),
    "time": lambda r, d: datetime.time.fromisoformat(r["v"]),
    "timedelta": lambda r, d: datetime.timedelta(*r["v"]),
    "path": _path,
    "decimal": _decimal,
    "uuid": _uuid,
    "enum": lambda r, d: d(r["v"]) if r["plain"] else _marker(r, d),
    "scalar": lambda r, d: d(r["v"]) if r["plain"] else _marker(r, d),
    "array": lambda r, d: Array(r["dtype"], tuple(r["shape"]), d.data(r["v"])),
    "marker": lambda r, d: Marker(r["kind"], r["type"], d(r["v"])),
    **{kind: _marker for kind in ("repr", "cycle", "deep", "meta", "object", "ndarray")},
}


def rule_for(kind: str) -> Callable[[Rule], Rule]:
    """Register how records of `kind` are read back; `rich.py` adds tables, images, traces and histograms."""

    def register(rule: Rule) -> Rule:
        _RULES[kind] = rule
        return rule

    return register


_NUMBERS = {float, int, bool}


def encode_mapping(values: dict[Any, Any], store: Store | None = None) -> bytes:
    """Return the JSON of a dict of metrics or of configuration: an object, or pairs if a key is no plain
    string.
    """
    if set(map(type, values.values())) <= _NUMBERS:
        # The common payload. orjson writes finite floats and 64-bit ints exactly but turns NaN and infinity
        # into null; a sum that is finite has neither. (A sum may overflow by itself: then the exact way is
        # taken for nothing.)
        try:
            if math.isfinite(sum(values.values())):
                return orjson.dumps(values)
        except (OverflowError, TypeError):  # an int of any size, a key that is no plain string
            pass
    encode = Encoder(store)
    items = list(values.items())
    if all(type(key) is str and encode(key) is key for key, _ in items):
        return orjson.dumps({key: encode(value) for key, value in items})
    return orjson.dumps([[encode(key), encode(value)] for key, value in items])


def decode_mapping(body: Any, decode: Callable[[Any], Any]) -> list[tuple[Any, Any]]:
    """Return what `encode_mapping` was given, as pairs."""
    if isinstance(body, dict):
        return [(key, decode(value)) for key, value in body.items()]
    return [(decode(key), decode(value)) for key, value in body]
