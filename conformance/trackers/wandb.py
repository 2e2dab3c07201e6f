"""Weights & Biases in offline mode, as TRL users get it: `report_to="wandb"`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from conformance.tracker import Point, Table, Tracker, report_to_key
from conformance.trackers.wandb_file import GLOBAL_STEP, rows, run_files, run_records, value


class Wandb(Tracker):
    """History rows are points, and values set on `run.summary` alone are the run's; tables lie in files beside them."""

    distribution = "wandb"
    module = ("wandb",)

    def env(self, store: Path) -> Mapping[str, str]:
        return {"WANDB_MODE": "offline", "WANDB_DIR": str(store), "WANDB_SILENT": "true", "WANDB_CONSOLE": "off"}

    def attach(self, store: Path, run: str) -> str:
        return "wandb"

    def read(self, store: Path, run: str) -> Iterable[Point]:
        logged: set[str] = set()
        for row in rows(store, run):
            logged |= row.keys()
            yield from (Point(row.get(GLOBAL_STEP), k, v) for k, v in row.items() if k != GLOBAL_STEP)
        for item in (i for r in run_records(store, run) for i in r.summary.update):
            key = "/".join(item.nested_key) or item.key
            if key not in logged and report_to_key(key) not in logged:
                yield Point(None, report_to_key(key), value(item.value_json))

    def config(self, store: Path, run: str) -> Mapping[str, Any]:
        items = [i for r in run_records(store, run) for i in (*r.run.config.update, *r.config.update)]
        return {"/".join(i.nested_key) or i.key: value(i.value_json) for i in items}

    def tables(self, store: Path, run: str) -> Iterable[Table]:
        for key, cell in ((k, v) for row in rows(store, run) for k, v in row.items()):
            if isinstance(cell, dict) and cell.get("_type") == "table-file":
                (path,) = (p for f in run_files(store, run) for p in f.parent.glob(f"files/{cell['path']}"))
                table = json.loads(path.read_text(encoding="utf-8"))
                yield Table(key, table["columns"], table["data"])

    def key(self, key: str) -> str:
        return report_to_key(key)
