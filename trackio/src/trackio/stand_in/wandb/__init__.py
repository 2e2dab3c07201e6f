"""`import wandb`, where `trackio.wandb.install()` or `PYTHONPATH` says so: all of it is `trackio.wandb`'s."""

from __future__ import annotations

from typing import Any

from trackio import wandb as _surface

from . import env, errors, sdk, util

__all__ = ["env", "errors", "sdk", "util", *_surface.__all__]


def __getattr__(name: str) -> Any:
    return getattr(_surface, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "run"])
