"""The tape: the recorded stream of events of one training, written by the witness, read by everything else.

A tape is a file of JSON lines, written event by event so that it survives whatever ends the training. The first line is
the header (versions, trainer, tracker); every other line is an event with its `event` name and the trainer's `step`:

* the trainer's own events (`on_train_begin`, `on_log` with `logs`, `on_evaluate` with `metrics`, …);
* `call`: a call that reached the tracker's module, through TRL (`door` = `module`) or through transformers' reporting
  callback (`door` = `integration`), with `path`, `args`, `kwargs` and `where`, the caller's file and line;
* `edited`, `steered`: what the tracker's callback changed in the caller's `logs` and in `TrainerControl`;
* `attached`, `handler`, `named`: that the tracker's `attach` returned, who stands before the tracker, and what the
  training calls the run;
* `told`, `finished`: what a trainer without callbacks told accelerate's tracker, and that it closed it;
* `accompany`: which callbacks of TRL's own were added, and which could not be made;
* `unreachable`: the trainer has no door (`door` says which it has) through which the tracker was attached;
* `end`: the trainer's `log_history` and what the training came to.

A training that was resumed in a new process goes on in the same file, with a `header` of its own.

Values are encoded by `conformance.values`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple


class Logged(NamedTuple):
    """One trained point: `event` counts the log events of the tape from 0, `value` is encoded."""

    event: int
    step: int
    key: str
    value: Any


class Writer:
    """Appends events to a tape file; each is on disk before the training goes on."""

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.step = 0
        self.write({"event": "header", **header})

    def write(self, event: dict[str, Any]) -> None:
        """Append one event; `event` must be JSON-able (encoded values)."""
        os.write(self._file, json.dumps(event).encode() + b"\n")


@dataclass(frozen=True)
class Tape:
    """A tape in memory: `header` and `events` in order."""

    header: dict[str, Any] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path) -> Tape:
        """Read a tape file; a torn last line (the process was killed) is left out. A missing file is an empty tape."""
        lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
        events = [json.loads(line) for line in lines]
        return cls(events[0], events[1:]) if events else cls()

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Tape:
        """Return the tape that `to_json` described."""
        return cls(data["header"], data["events"])

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form used in `fixtures/tapes` and in replay files: header and the trainer's own events."""
        own = [e for e in self.events if e["event"].startswith("on_") or e["event"] == "end"]
        return {"header": self.header, "events": own}

    def of(self, event: str, **where: Any) -> Iterator[dict[str, Any]]:
        """Yield the events of one name whose fields equal `where`."""
        for e in self.events:
            if e["event"] == event and all(e.get(k) == v for k, v in where.items()):
                yield e

    def logged(self) -> list[Logged]:
        """Return every trained point in the order in which the trainer logged it."""
        return [
            Logged(i, e["step"], key, value)
            for i, e in enumerate(self.of("on_log"))
            for key, value in (e["logs"] or {}).items()
        ]

    def history(self) -> list[dict[str, Any]]:
        """Return the trainer's `log_history`, or its logs where it keeps none (it logs through accelerate)."""
        kept: list[dict[str, Any]] = self.end.get("log_history") or [e["logs"] for e in self.of("on_log")]
        return kept

    @property
    def end(self) -> dict[str, Any]:
        """The last event of a training that reached its end, {} otherwise."""
        return next(self.of("end"), {})


def from_payloads(payloads: list[dict[str, Any]], first_step: int = 1) -> Tape:
    """Return a tape that logs one payload (encoded values) per step: what the property-based checks replay."""
    begin: list[dict[str, Any]] = [{"event": "on_train_begin", "step": 0}]
    logs = [{"event": "on_log", "step": first_step + i, "logs": p} for i, p in enumerate(payloads)]
    return Tape(
        {"trainer": "payloads"}, [*begin, *logs, {"event": "on_train_end", "step": first_step + len(payloads) - 1}]
    )
