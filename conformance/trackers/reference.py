"""The reference tracker (`trackio/` of this repository), as TRL users get it.

That is `report_to="trackio"`, or "wandb" with the reference in its place where transformers has no TrackioCallback yet.
"""

from __future__ import annotations

import io
import json
import os
import threading
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from packaging.version import Version

from conformance.tracker import Point, Table, Tracker, report_to_key
from conformance.trainers import root


def _pushes() -> bool:
    """Whether the installed huggingface_hub is one that the extra `trackio[hub]` takes."""
    try:
        return Version(version("huggingface_hub")) >= Version("0.24")
    except PackageNotFoundError:
        return False


class ReferenceTrackio(Tracker):
    """transformers' TrackioCallback and TRL's own calls write; `trackio.Api` reads."""

    name = "reference-trackio"
    distribution = "trackio"
    module = ("trackio",)

    def env(self, store: Path) -> Mapping[str, str]:
        return {"TRACKIO_DIR": str(store), "TRACKIO_STRICT": "1"}

    def attach(self, store: Path, run: str) -> str:
        return "trackio"

    def _runs(self, store: Path, run: str) -> list[Any]:
        """Return the runs of a name, oldest first: wandb's `init` begins a second one when a training is resumed."""
        import trackio

        found = [kept for kept in trackio.Api(store).runs("huggingface") if kept.name == run]
        if not found:
            raise LookupError(f"no run is called {run!r}")
        return found

    def read(self, store: Path, run: str) -> Iterable[Point]:
        for step, key, value in (point for kept in self._runs(store, run) for point in kept.points()):
            yield Point(step, key, value.tolist() if hasattr(value, "tolist") else value)

    def config(self, store: Path, run: str) -> Mapping[str, Any]:
        return dict(self._runs(store, run)[-1].config)

    def tables(self, store: Path, run: str) -> Iterable[Table]:
        for _, key, table in (part for kept in self._runs(store, run) for part in kept.tables()):
            yield Table(key, table.columns, table.rows)

    def status(self, store: Path, run: str) -> str:
        return str(self._runs(store, run)[-1].status)

    def key(self, key: str) -> str:
        return report_to_key(key)

    if _pushes():

        def hub(self, repo: str) -> Mapping[str, str]:
            # A replay lasts a moment: it pushes now and then, and waits for the last push less than half a minute.
            return {"TRACKIO_DATASET_REPO": repo, "TRACKIO_PUSH_INTERVAL": "0.1", "TRACKIO_PUSH_TIMEOUT": "2"}

    def pushed(self, files: Mapping[str, bytes], run: str) -> Iterable[Point]:
        from trackio.hub import shards
        from trackio.values import Decoder

        rows: list[dict[str, Any]] = []
        its = set()
        for path, data in files.items():
            shard = shards.shard_of(path.split("/", 3)[3])  # datasets/user/name/…
            if shard is None:
                continue
            found = shards.read(shard.table, io.BytesIO(data))
            if shard.table == "runs":
                its |= {row["run_id"] for row in found if row["name"] == run}
            elif shard.table == "metrics":
                rows += found
            elif shard.table == shards.PENDING:
                rows += self._settled(shard, found)
        for row in sorted(rows, key=lambda row: (row["time"], row["seq"], row["place"])):
            if row["run_id"] in its:
                value = row["value"] if row["json"] is None else Decoder()(json.loads(row["json"]))
                yield Point(row["step"], row["key"], value.tolist() if hasattr(value, "tolist") else value)

    @staticmethod
    def _settled(shard: Any, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return what is in the records of a text as rows of `metrics`, which a later push makes of it."""
        from trackio.hub import shards

        batch = shards.Batch(shard.run, {"project": "", "name": ""}, shard.writer, str)
        for row in records:
            batch.add([row["seq"], row["time"], row["kind"], row["step"], json.loads(row["json"])])
        made = (io.BytesIO(data) for part, data in batch.shards() if part.table == "metrics")
        return [row for data in made for row in shards.read("metrics", data)]

    def push_again(self, store: Path, run: str) -> None:
        # `trackio push`, for one run.
        from trackio.hub.push import Pusher
        from trackio.hub.remote import Backoff, Remote

        folders = [kept.folder for kept in self._runs(store, run)]
        pusher = Pusher(Remote(os.environ["TRACKIO_DATASET_REPO"]), folders, patience=30)
        pusher.all(Backoff(), threading.Event().wait, time.monotonic() + 30)


class ReferenceWandb(ReferenceTrackio):
    """The same tracker behind the name `wandb`: transformers' WandbCallback and TRL's own calls write.

    A child process cannot call `trackio.wandb.install()` before everything else; the folder on its path says the same.
    """

    name = "reference-wandb"
    module = ("wandb",)

    def env(self, store: Path) -> Mapping[str, str]:
        from trackio.wandb import STAND_IN

        path = [STAND_IN, *filter(None, [os.environ.get("PYTHONPATH")])]
        return {**super().env(store), "PYTHONPATH": os.pathsep.join(path)}

    def attach(self, store: Path, run: str) -> str:
        return "wandb"

    def read(self, store: Path, run: str) -> Iterable[Point]:
        yield from _keys(super().read(store, run))

    def pushed(self, files: Mapping[str, bytes], run: str) -> Iterable[Point]:
        yield from _keys(super().pushed(files, run))


def _keys(points: Iterable[Point]) -> Iterable[Point]:
    # What the callback sets on the summary has the trainer's name and no step.
    for step, key, value in points:
        yield Point(step, key if "/" in key else report_to_key(key), value)


def _has_trackio() -> bool:
    """Whether the installed transformers has a TrackioCallback (since 4.54), read without importing it."""
    source = (root("transformers") or Path()) / "integrations" / "integration_utils.py"
    return not source.is_file() or "class TrackioCallback" in source.read_text(encoding="utf-8")


DOOR: type[ReferenceTrackio] = ReferenceTrackio if _has_trackio() else ReferenceWandb


class Reference(DOOR):  # type: ignore[misc, valid-type]
    """The reference at the first of its doors that the installed transformers opens."""

    name = "reference"
