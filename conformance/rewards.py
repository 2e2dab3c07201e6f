"""Reward functions as users write them: a named function, a lambda, a callable object, one that returns None.

A reward model joins them in the recipe. Their names become metric keys (`rewards/<lambda>/mean`), their None becomes
a metric without a value: both are what a tracker must cope with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def text(completion: Any) -> str:
    """Return the text of a completion, plain or conversational."""
    return completion if isinstance(completion, str) else str(completion[-1]["content"])


def length(completions: list[Any], **_: Any) -> list[float]:
    """Reward between 0 and 6/7 by length, different within a group of generations."""
    return [len(text(c)) % 7 / 7 for c in completions]


def format_reward(completions: list[Any], **_: Any) -> list[float | None]:
    """Judge nothing, as a format check does for a task that it does not apply to: None for every sample."""
    return [None for _ in completions]


class Brevity:
    """A callable object. Releases up to 0.27 read its `__name__`."""

    __name__ = "brevity"

    def __call__(self, completions: list[Any], **_: Any) -> list[float]:
        return [1 / (1 + len(text(c))) for c in completions]


def functions() -> list[Callable[..., list[Any]]]:
    """Return the four, in the order of the weights in the recipe."""
    return [length, format_reward, lambda completions, **_: [float(len(text(c)) % 3) for c in completions], Brevity()]


def named() -> list[Callable[..., list[Any]]]:
    """Return those that can be pickled: the asynchronous trainers score in a process of their own."""
    return [length, format_reward, Brevity()]


def numbers() -> list[Callable[..., list[Any]]]:
    """Return those that judge every sample, for trainers that have no way with None."""
    return [length, Brevity()]


def shortest(group_completions: list[list[Any]], group_rewards: list[list[float]], **_: Any) -> list[list[float]]:
    """Score each completion of each group for GFPO's filter: the shorter, the better."""
    return [[1 / (1 + len(text(c))) for c in group] for group in group_completions]
