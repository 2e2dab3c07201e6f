"""Why a trainer that has a recipe does not train without any tracker: the place, and what is known of it.

A recipe is always tried. Only when its training fails is the failure looked up here, so a bug that a release repairs
goes from the tables by itself.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bug:
    """A known bug of TRL: the file in which it raises, a part of the error, and what is wrong."""

    file: str
    error: str
    why: str


BUGS = (
    # 0.24.0: experimental/grpo_with_replay_buffer/grpo_with_replay_buffer_trainer.py, 83.
    Bug(
        "grpo_with_replay_buffer_trainer.py",
        "not enough values to unpack (expected 7",
        "it takes seven values from GRPOTrainer._generate, which returns five since this release",
    ),
    # 0.26.2-0.28.0, line 94, and 0.29.1-1.0.0, line 101, of experimental/gfpo/gfpo_trainer.py.
    Bug(
        "gfpo_trainer.py",
        "too many values to unpack (expected 5",
        "it takes five values from GRPOTrainer._generate, which returns seven",
    ),
)


def explain(error: str, place: str) -> str:
    """Return an error with the place where it was raised (`trl/…/x.py:12`, or "") and what is known of it."""
    for bug in BUGS:
        if f"/{bug.file}:" in place and bug.error in error:
            return f"a bug of TRL at {place}: {bug.why} ({error})"
    return f"{error} [{place}]" if place else error
