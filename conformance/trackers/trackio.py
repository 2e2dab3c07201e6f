"""Hugging Face's Trackio, as TRL users get it: `report_to="trackio"`.

transformers hands it no step but the metric `train/global_step` in every row; that is a row's step here. Rows that TRL
logs itself carry the step that TRL gave.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from conformance.tracker import Point, Table, Tracker, report_to_key

PROJECT, GLOBAL_STEP = "huggingface", "train/global_step"


class Trackio(Tracker):
    """Its public API returns no metric values; `SQLiteStorage` is what its dashboard reads with (trackio 0.43).

    It does not claim `hub`: it sends its logs to a server that runs in a Space (remote_client.py:28) and puts them into
    a bucket, over Xet. The Hub in memory runs no Space.
    """

    distribution = "trackio"
    module = ("trackio",)

    def env(self, store: Path) -> Mapping[str, str]:
        return {"TRACKIO_DIR": str(store)}  # read at import

    def attach(self, store: Path, run: str) -> str:
        return "trackio"

    def _rows(self, run: str) -> list[dict[str, Any]]:
        from trackio.sqlite_storage import SQLiteStorage

        return list(SQLiteStorage.get_logs(PROJECT, run))

    def read(self, store: Path, run: str) -> Iterable[Point]:
        for row in self._rows(run):
            step = row.get(GLOBAL_STEP, row["step"])
            yield from (Point(step, k, v) for k, v in row.items() if k not in ("step", "timestamp", GLOBAL_STEP))

    def config(self, store: Path, run: str) -> Mapping[str, Any]:
        from trackio.sqlite_storage import SQLiteStorage

        return SQLiteStorage.get_run_config(PROJECT, run) or {}

    def tables(self, store: Path, run: str) -> Iterable[Table]:
        for key, value in ((k, v) for row in self._rows(run) for k, v in row.items()):
            if isinstance(value, dict) and value.get("_type") == "trackio.table":
                rows = value["_value"]
                columns = list(rows[0]) if rows else []
                yield Table(key, columns, [[row.get(c) for c in columns] for row in rows])

    def key(self, key: str) -> str:
        return report_to_key(key)
