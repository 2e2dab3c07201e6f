"""What a run amounts to, in one pass and constant memory per key: last, min, max, mean, trend."""

from __future__ import annotations

import math
from typing import Any

from ..api import StoredRun
from .common import is_rich_record, mapping, matches, plain

#: Characters of a sparkline.
WIDTH = 24


class Trend:
    """Means over equal spans of steps; a span doubles whenever there are too many of them."""

    def __init__(self) -> None:
        self._shift = 0
        self._spans: dict[int, list[float]] = {}

    def add(self, step: int, value: float) -> None:
        """Count `value` at `step`."""
        span = self._spans.setdefault(step >> self._shift, [0.0, 0, 0])
        if math.isfinite(value):
            span[0] += value
            span[1] += 1
        else:
            span[2] += 1
        if len(self._spans) > 8 * WIDTH:
            self._merge()

    def _merge(self) -> None:
        self._shift += 1
        old, self._spans = self._spans, {}
        for place, parts in old.items():
            span = self._spans.setdefault(place >> 1, [0.0, 0, 0])
            for index, part in enumerate(parts):
                span[index] += part

    def line(self, width: int = WIDTH) -> list[float | None]:
        """Return at most `width` means from the first step to the last: NaN where nothing was finite, None
        where nothing was logged.
        """
        if not self._spans:
            return []
        first, last = min(self._spans), max(self._spans)
        count = min(width, last - first + 1)
        places: list[list[float]] = [[0.0, 0, 0] for _ in range(count)]
        for place, parts in self._spans.items():
            # Integers: a step may be anything up to 64 bits.
            target = places[(place - first) * count // (last - first + 1)]
            for index, part in enumerate(parts):
                target[index] += part
        return [total / n if n else (math.nan if odd else None) for total, n, odd in places]


class Metric:
    """One key. `numbers` counts ints and floats, finite or not; `low` and `high` leave out NaN."""

    __slots__ = (
        "count",
        "finite",
        "high",
        "high_step",
        "infinite",
        "last",
        "last_step",
        "low",
        "low_step",
        "nan",
        "none",
        "numbers",
        "other",
        "total",
        "trend",
    )

    def __init__(self) -> None:
        self.count = self.numbers = self.finite = self.nan = self.infinite = self.none = self.other = 0
        self.total = 0.0
        self.last: Any = None
        self.low: Any = None
        self.high: Any = None
        self.last_step: int | None = None
        self.low_step: int | None = None
        self.high_step: int | None = None
        self.trend = Trend()

    def add(self, step: int | None, value: Any) -> None:
        """Count a value."""
        self.count += 1
        self.last, self.last_step = value, step
        if type(value) is not float and type(value) is not int:
            if value is None:
                self.none += 1
            else:
                self.other += 1
            return
        self.numbers += 1
        try:
            number = float(value)
        except OverflowError:
            number = math.inf if value > 0 else -math.inf
        if number == number:
            if self.low is None or value < self.low:
                self.low, self.low_step = value, step
            if self.high is None or value > self.high:
                self.high, self.high_step = value, step
        if math.isfinite(number):
            self.finite += 1
            self.total += number
        elif number == number:
            self.infinite += 1
        else:
            self.nan += 1
        self.trend.add(self.count if step is None else step, number)

    @property
    def mean(self) -> float | None:
        """The mean of what is finite, None where nothing is."""
        return self.total / self.finite if self.finite else None

    def odd(self) -> str:
        """Say what was logged that is no finite number."""
        parts = {"nan": self.nan, "inf": self.infinite, "none": self.none, "no number": self.other}
        return ", ".join(f"{count} {name}" for name, count in parts.items() if count)


class Summary:
    """A run: `points`, the highest `step`, moments of the first and last record, and one `Metric` a key.

    Tables, images and the like are counted in `rich`, as {key: [count, last step]}; the configuration is
    `config`. `system` summarises `sys` records instead of `log` ones.
    """

    def __init__(self, run: StoredRun, globs: list[str] | None = None, system: bool = False) -> None:
        self.run = run
        self.globs, self._kind = globs, "sys" if system else "log"
        self.points = 0
        self.step: int | None = None
        self.first = self.latest = 0
        self.metrics: dict[str, Metric] = {}
        self.rich: dict[str, list[Any]] = {}
        self.config: dict[str, Any] = {}

    def add(self, record: list[Any]) -> None:
        """Take up one record of a journal."""
        _, moment, kind, step, body = record
        if not self.first:
            self.first = moment
        self.latest = max(self.latest, moment)
        if kind == "cfg":
            self.config.update(mapping(self.run, body))
        elif kind == self._kind:
            if step is not None and (self.step is None or step > self.step):
                self.step = step
            for key, raw in mapping(self.run, body):
                self.points += 1
                if not matches(key, self.globs):
                    continue
                if is_rich_record(raw):
                    self.rich.setdefault(key, [0, None])
                    self.rich[key] = [self.rich[key][0] + 1, step]
                    continue
                metric = self.metrics.get(key)
                if metric is None:
                    metric = self.metrics[key] = Metric()
                metric.add(step, plain(self.run, raw))

    def read(self, records: Any = None) -> Summary:
        """Take up records, by default those of the run, and return self. Raises JournalDamaged if strict."""
        for record in self.run.records() if records is None else records:
            self.add(record)
        return self
