"""What transformers' reporting callback, or accelerate's tracker class, did with what it got.

The record between the door and the tracker.

What it left out, logged after it had ended the run, or logged without beginning one, is not the tracker's fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from conformance import values
from conformance.tape import Tape
from conformance.truth import ABSENT, Difference, compare

#: Module -> the functions by which a reporting callback begins and ends a run.
RUNS = {"wandb": ("init", "finish"), "trackio": ("init", "finish"), "mlflow": ("start_run", "end_run")}


class Delivered:
    """What transformers' reporting callback, or accelerate's tracker class, handed to the tracker's module.

    By the log event it stood in. accelerate's classes hand on the step as an argument, or leave it out.
    """

    def __init__(self, tape: Tape) -> None:
        self._by_event: list[list[tuple[str, Any]]] = []
        self._steps: list[set[int | None]] = []
        self._whose = "transformers'"
        self._callbacks: list[str] = []
        #: What came before the first log: the configuration.
        self._early: list[tuple[str, Any]] = []
        #: Log events whose values came after the reporting callback itself had ended the run.
        self._late: set[int] = set()
        opened: bool | None = None
        modules = set()
        for e in tape.events:
            if e["event"] == "on_log":
                self._by_event.append([])
                self._steps.append(set())
            elif e["event"] == "handler":
                self._callbacks = e.get("inside", [])
                self._whose = "accelerate's" if e.get("door") == "accelerate" else self._whose
            elif e["event"] == "call" and e["door"] == "integration":
                module, _, function = e["path"].partition(".")
                modules.add(module)
                if function in RUNS.get(module, ()):
                    opened = function == RUNS[module][0]
                elif opened is False:
                    self._late.add(len(self._by_event) - 1)
                (self._by_event[-1] if self._by_event else self._early).extend(_handed(e))
                if self._steps:
                    self._steps[-1].add(e["kwargs"].get("step", e["kwargs"].get("global_step")))
        #: Whether the last thing that the module was asked came after its run had been ended.
        self.ends_late = opened is False and len(self._by_event) - 1 in self._late
        #: Whether the reporting callback used the module without beginning a run.
        self.never_began = opened is None and bool(modules & RUNS.keys())

    @classmethod
    def of(cls, tape: Tape) -> Delivered | None:
        """Return what the tape says, None if nobody stood between the reporting callback and the module."""
        found = cls(tape)
        return found if found._callbacks else None

    def judge(self, difference: Difference, rename: Callable[[str], str]) -> Difference:
        """Return the difference, blamed on the reporting callback if the trained point never passed it."""
        if difference.kind == "step" and self._whose == "accelerate's":
            told = difference.step in self._steps[difference.event]
            return difference if told else self._blamed(difference, "did not hand the step to the tracker")
        if difference.trained is ABSENT or difference.kind == "step":
            return difference
        if difference.kind == "merged":
            # Handed on under the name that another key has as well.
            own = any(key == difference.key for handed in self._by_event for key, _ in handed)
            return difference if own else self._blamed(difference)
        if difference.event in self._late:
            return replace(difference, blame="trl", note=self.late)
        names = {difference.key, rename(difference.key)}
        handed = self._by_event[difference.event] if difference.event < len(self._by_event) else []
        return difference if _among(handed, names, difference.trained) else self._blamed(difference)

    def judge_config(self, difference: Difference) -> Difference:
        """Return the difference of a configuration key, blamed on the reporting callback if it left the key out."""
        return difference if _among(self._early, {difference.key}, difference.trained) else self._blamed(difference)

    @property
    def late(self) -> str:
        """Say that the reporting callback logged after it had ended the run."""
        return f"{self._who} handed it over after it had ended the run itself"

    @property
    def unbegun(self) -> str:
        """Say that the reporting callback did not begin a run."""
        return f"{self._who} did not begin a run, and logged into the one before"

    @property
    def _who(self) -> str:
        return f"{self._whose} {', '.join(self._callbacks)}"

    def _blamed(self, difference: Difference, what: str = "did not hand it to the tracker") -> Difference:
        return replace(difference, blame="trl", note=f"{self._who} {what}")


def _among(handed: list[tuple[str, Any]], names: set[str], value: Any) -> bool:
    return any(key in names and compare(given, value) is None for key, given in handed)


def _handed(call: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the (key, encoded value) pairs of a recorded call: `log({k: v})`, `add_scalar(k, v)`, `summary[k] = v`."""
    arguments = [*call["args"], *call["kwargs"].values()]
    for argument in arguments:
        if isinstance(argument, dict) and values.TAG not in argument:
            yield from argument.items()
    if len(call["args"]) >= 2 and isinstance(call["args"][0], str):
        yield call["args"][0], call["args"][1]
