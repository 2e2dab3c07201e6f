"""What the tests of the dataset share: machines that write, what is in the dataset, and a patient client."""

from __future__ import annotations

import io
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from trackio.hub import shards
from trackio.hub.push import Pusher
from trackio.hub.remote import HubError, Remote
from trackio.hub.spool import writer_of
from trackio.journal import journals, read
from trackio.paths import read_info
from trackio.run import Run

REPO = "user/data"

#: (run, writer) -> the records of a writer, `[sequence, time, kind, step, body]`
Records = dict[tuple[str, str], list[list[Any]]]


def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let huggingface_hub repeat what failed at once; it sleeps seconds between two attempts."""
    import huggingface_hub.utils._http as http

    monkeypatch.setattr(http, "time", SimpleNamespace(**{**vars(http.time), "sleep": lambda wait: None}))


def machine(top: Path, name: str = "n", logs: int = 10) -> Run:
    """Return a run that was written to a folder of its own, as another machine does it; it is open."""
    run = Run(str(top), "p", name, "allow")
    run._open()
    more(run, logs)
    return run


def more(run: Run, logs: int) -> None:
    for step in range(logs):
        run.log({"loss": 1 / (step + 1), "step": step}, step)


def pusher(*runs: Run, repo: str = REPO, **options: Any) -> Pusher:
    return Pusher(Remote(repo), [str(run.folder) for run in runs], **options)


def push(its: Pusher, final: bool = False, attempts: int = 40) -> None:
    """Push until nothing is left, again at once after each error."""
    for _ in range(attempts):
        try:
            if not its.once(final):
                return
        except HubError:
            continue
    raise AssertionError(f"not pushed after {attempts} attempts")


def tables(hub: Any, repo: str = REPO) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each table of a dataset."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for path, data in hub.files(repo, "dataset").items():
        if path.endswith(".parquet"):
            table = path.partition("/")[0]
            rows.setdefault(table, []).extend(shards.read(table, io.BytesIO(data)))
    return rows


def twice(hub: Any, repo: str = REPO) -> list[Any]:
    """Return what is in a dataset more than once, in its tables or in texts."""
    tables: Counter[Any] = Counter()
    texts: Counter[Any] = Counter()
    for shard, rows in found(hub, repo):
        for row in rows:
            record = (shard.run, shard.writer, row["seq"])
            if shard.table == shards.PENDING:
                texts[record] += 1
            else:
                tables[(*record, row.get("place"))] += 1
    texts.update({cell[:3] for cell in tables} & texts.keys())
    return [identity for identity, times in (tables | texts).items() if times > 1]


def found(hub: Any, repo: str = REPO) -> Iterator[tuple[shards.Shard, list[dict[str, Any]]]]:
    """Yield the shards of a dataset, and what is in them."""
    for path, data in hub.files(repo, "dataset").items():
        if (shard := shards.shard_of(path)) is not None:
            yield shard, shards.read(shard.table, io.BytesIO(data))


def there(hub: Any, repo: str = REPO) -> Records:
    """Return the records in a dataset."""
    parts: dict[tuple[str, str], list[Any]] = {}
    for shard, rows in found(hub, repo):
        parts.setdefault((shard.run, shard.writer), []).append((shard.table, rows))
    return {
        writer: [[*record[:4], orjson.loads(record[4])] for record in shards.records(its)]
        for writer, its in parts.items()
    }


def here(*runs: Run) -> Records:
    """Return the records in the folders of runs."""
    records: Records = {}
    for run in runs:
        info = read_info(str(run.folder))
        assert info is not None
        for path in journals(str(run.folder)):
            records[shards.run_key(info), writer_of(path)] = list(read(path))
    return records


def requests(hub: Any, start: int = 0) -> list[str]:
    """Return the requests since the one of that number, as `METHOD route`."""
    names = ("preupload", "batch", "whole", "verify", "commit", "create", "validate-yaml", "whoami-v2")
    found = []
    for request in hub.requests[start:]:
        parts = [part for part in request.path.split("?")[0].split("/") if part in names]
        found.append(f"{request.method} {parts[-1] if parts else 'dataset'}")
    return found


def unload(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a package unimportable, as where it is not installed."""
    for loaded in [each for each in sys.modules if each.partition(".")[0] == name]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, name, None)
