"""Where an experiment belongs and where it may be sent, from the environment: `TrackioConfig`.

This is no run configuration. That is `trackio.config`, whose keys are what the caller sets and nothing
else; there the fields below are readable as attributes, where no key of that name hides them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

#: Where a monitor records: in the local folder and a dataset, in either one, or nowhere.
MODES = ("both", "dataset", "trackio", "none")

#: Field -> environment variable.
VARIABLES = {
    "project_name": "TRACKIO_PROJECT",
    "experiment_name": "EXPERIMENT_NAME",
    "trackio_url": "TRACKIO_URL",
    "trackio_token": "TRACKIO_TOKEN",
    "hf_token": "HF_TOKEN",
    "dataset_repo": "TRACKIO_DATASET_REPO",
    "monitoring_mode": "MONITORING_MODE",
}
TOKENS = ("trackio_token", "hf_token")


class Secret(str):
    """A text to use and not to show: its `repr`, and all that a journal keeps of it, is `***`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class TrackioConfig(Mapping[str, Any]):
    """The settings, read from the environment when it is made; `values` and keywords that are not None win.

    Fields are text or None, as attributes and as items: `project_name` (`$TRACKIO_PROJECT`, else
    `huggingface`), `experiment_name` (`$EXPERIMENT_NAME`), `trackio_url` (`$TRACKIO_URL`), `trackio_token`
    (`$TRACKIO_TOKEN`), `hf_token` (`$HF_TOKEN`), `dataset_repo` (`$TRACKIO_DATASET_REPO`) and
    `monitoring_mode` (`$MONITORING_MODE`, else `both` with a `dataset_repo` and `trackio` without). Further
    ones may be set. Raises ValueError for a `monitoring_mode` that is none of `MODES`.
    """

    def __init__(self, values: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        object.__setattr__(self, "_values", {})
        given = {name: value for name, value in {**(values or {}), **more}.items() if value is not None}
        self.update({**{name: read(name) for name in VARIABLES if name not in given}, **given})

    def __getitem__(self, name: str) -> Any:
        value = self._values[name]
        if name == "monitoring_mode" and value is None:
            return "both" if self._values["dataset_repo"] else "trackio"
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._values))

    def __len__(self) -> int:
        return len(self._values)

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def __getattr__(self, name: str) -> Any:
        # `_values` is not there yet in a copy that is being made.
        if not name.startswith("_") and name in self._values:
            return self[name]
        raise AttributeError(f"the settings have no field {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def update(self, values: Any = None, /, allow_val_change: bool | None = None, **more: Any) -> None:
        """Set fields from a mapping or from pairs, and from keywords.

        `allow_val_change` is wandb's flag and no field. Raises ValueError for a wrong `monitoring_mode`; then
        nothing has changed.
        """
        new = {**dict(values or {}), **more}
        if (mode := new.get("monitoring_mode")) is not None and mode not in MODES:
            raise ValueError(f"monitoring_mode is {mode!r}; it may be {', '.join(map(repr, MODES))}")
        for name in TOKENS:
            if isinstance(new.get(name), str):
                new[name] = Secret(new[name])
        self._values.update(new)

    def __repr__(self) -> str:
        return f"TrackioConfig({', '.join(f'{name}={value!r}' for name, value in self.items())})"


def read(name: str) -> str | None:
    """Return what the environment says of a field now; None if that is nothing."""
    value = os.environ.get(VARIABLES[name]) or None
    return "huggingface" if value is None and name == "project_name" else value


def shown(name: str) -> Any:
    """Return the field `name` as `trackio.config` shows it: the current or last run's names, else what the
    environment says. Raises ValueError for a `$MONITORING_MODE` that is none of `MODES`.
    """
    from . import session

    run = session.active() or session.last()
    if run is not None and name in ("project_name", "experiment_name"):
        return run.project if name == "project_name" else run.name
    # A wrong mode is no reason to refuse the other fields.
    return TrackioConfig()[name] if name == "monitoring_mode" else TrackioConfig(monitoring_mode="none")[name]
