"""Exact JSON for whatever a training logs: what the witness writes, what read-back returns, what a gap shows.

JSON alone would lose NaN and infinity, the dtype of a numpy or torch scalar, and the difference between a tuple and
a list. Everything that plain JSON cannot carry becomes a small tagged object ``{"$": <type>, "v": <payload>}``.
The pytest process decodes tapes without numpy or torch: `plain` gives the Python value that equals the original.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

TAG = "$"
#: Text of one unrepresentable object is cut here: a tape names it, it does not archive it.
REPR_LIMIT = 300
#: A list that holds itself twice doubles with every level.
DEEPEST = 10
#: Types whose every value is its own JSON.
_AS_IS = {type(None), bool, int, str}


def encode(value: Any, depth: int = 0) -> Any:
    """Return a JSON-able copy of `value` that shares nothing with it; never raises."""
    kind = type(value)
    if kind is float:
        return value if math.isfinite(value) else {TAG: "float", "v": repr(value)}
    if kind in _AS_IS:
        return value
    if depth > DEEPEST:
        return {TAG: "repr", "type": kind.__qualname__, "v": f"nested deeper than {DEEPEST} levels"}
    # Asking an abstract class about a type that it never saw takes a millisecond: `keys` first.
    if hasattr(kind, "keys") and isinstance(value, Mapping):
        try:
            return _encode_mapping(value, depth)
        except Exception as error:  # a mapping of a library's own may be closed, or lie about its keys
            return _unreadable(value, error)
    if kind in (list, tuple):
        items = [encode(item, depth + 1) for item in value]
        return items if kind is list else {TAG: "tuple", "v": items}
    return _encode_object(value, depth)


def _encode_mapping(value: Mapping[Any, Any], depth: int) -> Any:
    items = [(k, v if type(v) in _AS_IS else encode(v, depth + 1)) for k, v in value.items()]
    if all(type(k) is str for k, _ in items) and TAG not in value:
        return dict(items)
    return {TAG: "dict", "v": [[encode(k, depth + 1), v] for k, v in items]}


def _encode_object(value: Any, depth: int) -> Any:
    kind = type(value)
    library = kind.__module__.split(".")[0]
    try:
        if library == "numpy" and hasattr(value, "dtype"):
            return {TAG: "numpy", "dtype": str(value.dtype), "v": encode(value.tolist(), depth + 1)}
        if library == "torch" and hasattr(value, "dtype"):
            tensor = value.detach().cpu()
            if str(tensor.dtype) == "torch.bfloat16":
                tensor = tensor.float()
            return {TAG: "torch", "dtype": str(value.dtype)[6:], "v": encode(tensor.tolist(), depth + 1)}
        if isinstance(value, str):
            return str.__str__(value)
        if library == "pandas" and kind.__name__ == "DataFrame":
            return encode_table(list(value.columns), value.to_numpy(dtype=object).tolist())
    except Exception as error:  # an object that cannot be read is described, not raised: the witness must not disturb
        return _unreadable(value, error)
    return {TAG: "repr", "type": f"{kind.__module__}.{kind.__qualname__}", "v": _safe_repr(value)}


def _unreadable(value: Any, error: Exception) -> dict[str, Any]:
    return {TAG: "repr", "type": type(value).__qualname__, "v": f"unreadable: {error!r}"[:REPR_LIMIT]}


def _safe_repr(value: Any) -> str:
    try:
        return repr(value)[:REPR_LIMIT]
    except Exception as error:
        return f"repr failed: {error!r}"[:REPR_LIMIT]


def encode_table(columns: list[Any], rows: list[list[Any]]) -> dict[str, Any]:
    """Return the tagged form of a table: `columns` are names, `rows` lists of cells in column order."""
    return {
        TAG: "table",
        "columns": [str(c) for c in columns],
        "rows": [[encode(cell, 1) for cell in row] for row in rows],
    }


def plain(encoded: Any) -> Any:
    """Return the Python value that equals what was encoded: scalars of any library become float, int, bool or str.

    A table stays in its tagged form; `Unreadable` stands for what only a repr exists of.
    """
    if isinstance(encoded, list):
        return [plain(item) for item in encoded]
    if not isinstance(encoded, dict):
        return encoded
    tag = encoded.get(TAG)
    if tag is None:
        return {k: plain(v) for k, v in encoded.items()}
    if tag == "float":
        return float(encoded["v"])
    if tag == "tuple":
        return [plain(item) for item in encoded["v"]]
    if tag == "dict":
        return {_hashable(plain(k)): plain(v) for k, v in encoded["v"]}
    if tag in ("numpy", "torch"):
        return plain(encoded["v"])
    if tag == "table":
        return encoded
    return Unreadable(encoded.get("type", "object"), encoded.get("v", ""))


def _hashable(key: Any) -> Any:
    return tuple(key) if isinstance(key, list) else key


class Unreadable(str):
    """Stands for an object that a tape only describes: equal to nothing but its own description."""

    __slots__ = ("kind",)
    kind: str

    def __new__(cls, kind: str, text: str) -> Unreadable:
        self = super().__new__(cls, text)
        self.kind = kind
        return self


def materialise(encoded: Any) -> Any:
    """Return the value as the trainer would hand it over: numpy and torch scalars in their own types.

    Runs inside the sandbox, where the libraries are imported. Raises ImportError if one is missing.
    """
    if isinstance(encoded, list):
        return [materialise(item) for item in encoded]
    if not isinstance(encoded, dict):
        return encoded
    tag = encoded.get(TAG)
    if tag is None:
        return {k: materialise(v) for k, v in encoded.items()}
    if tag == "tuple":
        return tuple(materialise(item) for item in encoded["v"])
    if tag == "dict":
        return {_hashable(plain(k)): materialise(v) for k, v in encoded["v"]}
    if tag == "numpy":
        import numpy

        return numpy.asarray(plain(encoded["v"]), dtype=encoded["dtype"])[()]
    if tag == "torch":
        import torch

        return torch.tensor(plain(encoded["v"]), dtype=getattr(torch, encoded["dtype"]))
    return plain(encoded)


def show(value: Any, width: int = 60) -> str:
    """Return `value` as a person reads it in a gap: `None`, `nan`, `0.1`, `'text'`, `table 3x4`."""
    if isinstance(value, dict) and value.get(TAG) == "table":
        return f"table of {len(value['rows'])} rows, columns {', '.join(value['columns'])}"
    text = repr(str(value)) if isinstance(value, Unreadable) else repr(value)
    return text if len(text) <= width else text[: width - 1] + "…"
