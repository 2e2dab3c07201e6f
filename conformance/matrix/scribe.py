"""A tracker that keeps nothing: with it attached, TRL makes the module calls that a schema tells of.

Without a `report_to` TRL calls no module. This one stands for all that TRL knows; none of them has to be installed.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from conformance.doors.accelerate import bystander
from conformance.tracker import Tracker


class Anything:
    """Whatever a tracker's module has: to be called, set, entered or asked for a part, which is such a thing again."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return Anything()

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None:
        pass


class Table:
    """A tracker's table, as PPO of TRL up to 0.11 hands it to accelerate."""

    __module__ = "wandb"

    def __init__(self, columns: Any = (), data: Any = (), rows: Any = (), dataframe: Any = None) -> None:
        self.columns, self.data = columns, data or rows


class Module(ModuleType):
    """The stand-in module: its attributes are `Anything`."""

    __version__ = "1.0.0"
    Table = Table

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything()


def _known_to_accelerate(name: str) -> None:
    """Let accelerate have a tracker of this name, though none is installed: one that keeps nothing."""
    from accelerate import tracking
    from accelerate.utils import LoggerType

    class Silent(type(bystander())):  # type: ignore[misc]
        def __init__(self, project: str, **kwargs: Any) -> None:
            super().__init__()

    tracking.LOGGER_TYPE_TO_CLASS[name] = Silent
    if LoggerType(name) not in tracking._available_trackers:
        tracking._available_trackers.append(LoggerType(name))


class Scribe(Tracker):
    """The tracker of `trl-conformance record --schema`."""

    module = ("wandb", "trackio", "mlflow")

    def attach(self, store: Path, run: str) -> ModuleType:
        from transformers import TrainerCallback

        # transformers' own callbacks would ask the stand-in for more than TRL does, and their calls are not TRL's.
        # Each training is a process of its own: nothing has to be put back.
        silent = type("Silent", (TrainerCallback,), {})
        known = importlib.import_module("transformers.integrations.integration_utils").INTEGRATION_TO_CALLBACK
        known.update(dict.fromkeys(self.module, silent))
        _known_to_accelerate("wandb")
        return Module("scribe")

    def read(self, store: Path, run: str) -> Iterator[Any]:
        return iter(())
