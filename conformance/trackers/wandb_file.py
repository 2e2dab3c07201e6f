"""Read wandb's transaction log (`run-<id>.wandb`): a LevelDB log of protobuf records.

The format is that of LevelDB's log (doc/log_format.md there): blocks of 32 KiB with records of a 7-byte header
(checksum, length, type), after a 7-byte file header. wandb writes it in offline mode and offers no reader since 0.20.
"""

from __future__ import annotations

import functools
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK, HEADER = 32768, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def payloads(path: Path) -> Iterator[bytes]:
    """Yield the raw records of a log; a torn tail ends it."""
    data = path.read_bytes()
    at, parts = HEADER, b""
    while at + HEADER <= len(data):
        left = BLOCK - at % BLOCK
        if left < HEADER:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + HEADER])
        at += HEADER
        if kind not in (FULL, FIRST, MIDDLE, LAST) or at + length > len(data):
            return
        parts = data[at : at + length] if kind in (FULL, FIRST) else parts + data[at : at + length]
        at += length
        if kind in (FULL, LAST):
            yield parts


def records(path: Path) -> Iterator[Any]:
    """Yield the decoded `wandb_internal_pb2.Record` messages of a log."""
    from wandb.proto import wandb_internal_pb2

    for payload in payloads(path):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(payload)
        yield record


def run_files(store: Path, name: str) -> list[Path]:
    """Return the transaction logs of the run with the display name `name`, oldest first. Raises LookupError."""
    paths = sorted(store.glob("wandb/*run-*/run-*.wandb"), key=lambda p: p.stat().st_mtime)
    found = [p for p in paths if any(r.HasField("run") and r.run.display_name == name for r in records(p))]
    if not found:
        raise LookupError(f"no wandb run with the name {name!r} in {store.name}")
    return found


def run_records(store: Path, name: str) -> list[Any]:
    """Return all records of the run with the display name `name`. Raises LookupError."""
    return [record for path in run_files(store, name) for record in records(path)]


def value(text: str) -> Any:
    """Decode one `value_json`. wandb writes -0.0 as `-0`, which Python's json would read as the integer 0."""
    return json.loads(text, parse_int=lambda digits: -0.0 if digits == "-0" else int(digits))


#: WandbCallback declares it the x-axis of every metric (`define_metric`); wandb's own `_step` counts calls.
GLOBAL_STEP = "train/global_step"


def rows(store: Path, name: str) -> Iterator[dict[str, Any]]:
    """Yield the history rows of a run; wandb flattens a dict into items with a nested key, which is undone here."""
    for record in run_records(store, name):
        if record.HasField("history"):
            row: dict[str, Any] = {}
            for item in record.history.item:
                *outer, last = item.nested_key or [item.key]
                functools.reduce(lambda inner, k: inner.setdefault(k, {}), outer, row)[last] = value(item.value_json)
            yield row
