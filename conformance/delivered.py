"""What transformers' reporting callback did with what it got: the record between the callback door and the tracker.

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
    """What transformers' reporting callback handed to the tracker's module, by the log event it stood in."""

    def __init__(self, tape: Tape) -> None:
        self._by_event: list[list[tuple[str, Any]]] = []
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
            elif e["event"] == "handler":
                self._callbacks = e.get("inside", [])
            elif e["event"] == "call" and e["door"] == "integration":
                module, _, function = e["path"].partition(".")
                modules.add(module)
                if function in RUNS.get(module, ()):
                    opened = function == RUNS[module][0]
                elif opened is False:
                    self._late.add(len(self._by_event) - 1)
                (self._by_event[-1] if self._by_event else self._early).extend(_handed(e))
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
        return f"transformers' {', '.join(self._callbacks)} handed it over after it had ended the run itself"

    @property
    def unbegun(self) -> str:
        """Say that the reporting callback did not begin a run."""
        return f"transformers' {', '.join(self._callbacks)} did not begin a run, and logged into the one before"

    def _blamed(self, difference: Difference) -> Difference:
        who = ", ".join(self._callbacks)
        return replace(difference, blame="trl", note=f"transformers' {who} did not hand it to the tracker")


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
