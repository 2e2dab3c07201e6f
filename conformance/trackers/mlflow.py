"""MLflow with a sqlite store, as TRL users get it: `report_to="mlflow"`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from conformance.tracker import Point, Tracker


class MLflow(Tracker):
    """Metrics from the client's history, params as configuration."""

    distribution = "mlflow"
    module = ("mlflow",)

    def env(self, store: Path) -> Mapping[str, str]:
        return {"MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow.db", "MLFLOW_DISABLE_TELEMETRY": "true"}

    def attach(self, store: Path, run: str) -> str:
        return "mlflow"

    def _runs(self, store: Path, run: str) -> tuple[Any, list[Any]]:
        """Return the runs of a name, oldest first: MLflowCallback begins a second one when a training is resumed."""
        from mlflow import MlflowClient

        client = MlflowClient(self.env(store)["MLFLOW_TRACKING_URI"])
        experiments = [e.experiment_id for e in client.search_experiments()]
        found = client.search_runs(
            experiments, f"attributes.run_name = '{run}'", order_by=["attributes.start_time ASC"]
        )
        if not found:
            raise LookupError(f"no MLflow run is called {run!r}")
        return client, list(found)

    def read(self, store: Path, run: str) -> Iterable[Point]:
        client, found = self._runs(store, run)
        for info, key in ((kept.info, key) for kept in found for key in kept.data.metrics):
            history = client.get_metric_history(info.run_id, key)
            yield from (Point(m.step, key, m.value) for m in history)

    def config(self, store: Path, run: str) -> Mapping[str, Any]:
        return dict(self._runs(store, run)[1][-1].data.params)

    def key(self, key: str) -> str:
        # MLflowCallback.on_log, transformers 5.23.0, integrations/integration_utils.py:1433
        return re.sub(r"[^0-9A-Za-z_\-\.\ :/]", "_", key)

    def status(self, store: Path, run: str) -> str:
        return str(self._runs(store, run)[1][-1].info.status).lower()
