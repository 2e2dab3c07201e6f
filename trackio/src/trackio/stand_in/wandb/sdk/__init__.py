"""The place of names that callers import from deep inside wandb."""

from . import lib

__all__ = ["lib"]
