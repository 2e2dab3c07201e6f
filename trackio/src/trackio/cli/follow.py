"""`trackio show --follow`: the table, and then what comes, until the run ends."""

from __future__ import annotations

import heapq
import sys
import time
from collections.abc import Iterator
from typing import Any

import orjson

from ..api import StoredRun, _alive
from ..journal import JournalDamaged, journals
from ..lines import parse
from .common import entries, plain, tell
from .show import headline, metrics_table
from .summary import Summary
from .text import brief, clean, drawn, iso, moment, rich_console, show


class Tail:
    """Reads what was added to a run's journals since the last call; half a line waits for the rest."""

    def __init__(self, run: StoredRun) -> None:
        self.run = run
        self._offsets: dict[str, int] = {}
        self._sealed: dict[str, bool] = {}
        self._who: dict[str, dict[str, Any]] = {}
        self._status: dict[str, Any] = {}

    def poll(self) -> Iterator[list[Any]]:
        """Yield new records by time. Raises JournalDamaged if the store is strict, else says it on stderr."""
        paths = journals(self.run.folder)
        return heapq.merge(*map(self._fresh, paths), key=lambda record: record[1])

    def _fresh(self, path: str) -> Iterator[list[Any]]:
        try:
            file = open(path, "rb")  # noqa: SIM115
        except FileNotFoundError:  # deleted meanwhile
            return
        with file:
            offset = self._offsets.get(path, 0)
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                try:
                    record, self._sealed[path] = parse(line, self._sealed.get(path, False))
                except ValueError as error:
                    if self.run.strict:
                        raise JournalDamaged(path, offset, str(error)) from None
                    tell(f"passed over a damaged record: {path}, byte {offset}: {error}")
                    record = None
                offset += len(line)
                self._offsets[path] = offset
                if record is None:
                    continue
                if record[2] == "open":
                    self._who[path] = record[4]
                elif record[2] == "status":
                    self._status[path] = record[4]
                yield record

    def ended(self) -> bool:
        """Tell whether the run has ended. Only then is a run's status asked for, which reads all of it."""
        for path in journals(self.run.folder):
            if path not in self._offsets:
                return False
            if self._status.get(path) in (None, "running") and _alive(self._who.get(path, {}), path):
                return False
        return self.run.status != "running"


def follow(run: StoredRun, globs: list[str] | None, as_json: bool, interval: float) -> int:
    """Show a run while it is written, and return when it has ended.

    A terminal with rich shows one table that changes. Elsewhere the table of what is there comes first and
    then a line for each record; with `as_json` a line of JSON for each value, those already there too.
    """
    tail, summary = Tail(run), Summary(run, globs)
    console = None if as_json else rich_console(sys.stdout)
    if console is not None:
        from rich.live import Live

        with Live(console=console, auto_refresh=False) as live:
            for batch in _batches(tail, interval):
                live.update(_screen(summary.read(batch)), refresh=True)
        print(clean(headline(summary, run.status)))
        return 0
    first = True
    for batch in _batches(tail, interval):
        if as_json:
            for moment_, step, key, raw in entries(run, globs=globs, records=batch):
                line = {"time": iso(moment_), "step": step, "key": key, "value": raw}
                print(orjson.dumps(line).decode())
        elif first:
            summary.read(batch)
            print(clean(headline(summary, run.status)))
            if summary.metrics:
                show(metrics_table(summary))
        else:
            for record in batch:
                _line(run, globs, record)
        first = False
        sys.stdout.flush()
    if not as_json:
        print(clean(f"{run.project} / {run.name}   {run.status}"))
    return 0


def _batches(tail: Tail, interval: float) -> Iterator[Iterator[list[Any]]]:
    """Yield what is new, again and again, the last time after the run has ended."""
    yield tail.poll()
    while not tail.ended():
        time.sleep(interval)
        yield tail.poll()
    yield tail.poll()


def _line(run: StoredRun, globs: list[str] | None, record: list[Any]) -> None:
    found = entries(run, globs=globs, records=[record])
    values = [f"{key}={brief(plain(run, raw))}" for _, _, key, raw in found]
    if values:
        step = "-" if record[3] is None else record[3]
        print(clean("  ".join([moment(record[1]), f"step {step}", *values])))


def _screen(summary: Summary) -> Any:
    from rich.console import Group
    from rich.text import Text

    head = Text(clean(headline(summary, "running")), style="bold")
    return Group(head, drawn(metrics_table(summary)))
