"""The reference tracker (`trackio/` of this repository), as TRL users get it: `report_to="trackio"`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from conformance.tracker import Point, Table, Tracker, report_to_key


class Reference(Tracker):
    """transformers' TrackioCallback and TRL's own calls write; `trackio.Api` reads."""

    distribution = "trackio"
    module = ("trackio",)

    def env(self, store: Path) -> Mapping[str, str]:
        return {"TRACKIO_DIR": str(store), "TRACKIO_STRICT": "1"}

    def attach(self, store: Path, run: str) -> str:
        return "trackio"

    def _run(self, store: Path, run: str) -> Any:
        import trackio

        return trackio.Api(store).run("huggingface", run)

    def read(self, store: Path, run: str) -> Iterable[Point]:
        return (Point(*point) for point in self._run(store, run).points())

    def config(self, store: Path, run: str) -> Mapping[str, Any]:
        return dict(self._run(store, run).config)

    def tables(self, store: Path, run: str) -> Iterable[Table]:
        return (Table(key, table.columns, table.rows) for _, key, table in self._run(store, run).tables())

    def status(self, store: Path, run: str) -> str:
        return str(self._run(store, run).status)

    def key(self, key: str) -> str:
        return report_to_key(key)


class ReferenceWandb(Reference):
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
        # What the callback sets on the summary has the trainer's name and no step.
        for step, key, value in self._run(store, run).points():
            yield Point(step, key if "/" in key else report_to_key(key), value)
