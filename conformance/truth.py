"""Compare the three records of one training and say what differs, of what kind, and who is to blame.

    trainer.state.log_history ─┐
    witness (the tape)        ─┼─► compare ─► Difference(kind, blame, …)
    read-back                 ─┘

Every difference has exactly one `kind` (`KINDS`), and every clause of the law names the kinds it forbids; so a fault is
reported once, by the clause that governs it. What is compared is an ordered multiset of (step, key, value): a trainer
logs twice at one step, and may log one key twice at one step.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from conformance import values
from conformance.tape import Logged, Tape

if TYPE_CHECKING:
    from conformance.delivered import Delivered

KINDS = {
    "missing": "a point is not stored",
    "equal-step": "a point logged at the same step as an earlier log is not stored",
    "last": "a point of the last log is not stored",
    "step": "stored at another step",
    "order": "points of one key are stored in another order",
    "extra": "a point was stored that was not logged",
    "value": "another value is stored",
    "exact": "the value is stored with less than its precision (more than one unit in the last place is lost)",
    "integer": "an integer beyond 2**53 is not stored exactly",
    "none-number": "None is stored as a number",
    "none": "None is not stored as None",
    "nan": "NaN is not stored as NaN",
    "infinity": "an infinity is not stored as itself",
    "text": "a text is not stored as itself",
    "scalar": "a numpy or torch scalar is not stored as its number",
    "nested": "a list or dict is not stored as itself",
    "merged": "two keys are stored as one",
    "unlogged": "log_history and the tracker's door do not agree",
}
#: float32 keeps 24 bits: what is nearer than this (relative) has lost precision, not its value.
NEAR = 2.0**-20


@dataclass(frozen=True)
class Difference:
    """One thing trained that is not stored as trained; values are plain, `ABSENT` where there is none."""

    kind: str
    step: int | None
    key: str
    trained: Any
    stored: Any
    stored_step: int | None = None
    blame: str = "tracker"
    note: str = ""
    event: int = 0


class _Absent:
    def __repr__(self) -> str:
        return "nothing"


ABSENT = _Absent()


@dataclass(frozen=True)
class Stored:
    """One point of the read-back, decoded."""

    step: int | None
    key: str
    value: Any


def is_number(value: Any) -> bool:
    """Whether a plain value counts as a number (bool and NaN do, text and None do not)."""
    return isinstance(value, (int, float))


def compare(trained: Any, stored: Any) -> str | None:
    """Return the kind of difference between an encoded trained value and a plain stored one, None if they agree.

    An int stored as an equal float agrees; −0.0 and 0.0 do not; NaN agrees with NaN only.
    """
    value = values.plain(trained)
    if isinstance(trained, dict) and trained.get(values.TAG) in ("numpy", "torch"):
        if is_number(value) and compare(value, stored) in (None, "exact"):
            return compare(value, stored)
        return None if _same_nested(value, stored) else ("scalar" if not isinstance(value, list) else "nested")
    if value is None:
        return None if stored is None else ("none-number" if _counts(stored) else "none")
    if isinstance(value, values.Unreadable):
        return None
    if isinstance(value, str):
        return None if stored == value and isinstance(stored, str) else "text"
    if isinstance(value, (list, dict)):
        return None if _same_nested(value, stored) else "nested"
    return _compare_number(value, stored)


def _counts(stored: Any) -> bool:
    """NaN says "no number" and 0.0 says "zero": only the second is a lie about None."""
    return is_number(stored) and not (isinstance(stored, float) and math.isnan(stored))


def _compare_number(value: float, stored: Any) -> str | None:
    special = None
    if isinstance(value, float) and not math.isfinite(value):
        special = "nan" if math.isnan(value) else "infinity"
    if not is_number(stored):
        return special or "value"
    if special == "nan":
        return None if isinstance(stored, float) and math.isnan(stored) else "nan"
    if value == stored:
        signs = math.copysign(1, value) == math.copysign(1, stored) if value == 0 else True
        return None if signs else "exact"
    if special:
        return special
    if isinstance(value, int) and abs(value) > 2**53:
        return "integer"
    if isinstance(stored, float) and not math.isfinite(stored):
        # Out of float32's range: a precision of storage, not another value.
        return "exact" if math.isinf(stored) and abs(value) > 3e38 and (value > 0) == (stored > 0) else "value"
    tiny = abs(value) < 2.0**-126 and abs(stored) <= 2.0**-125
    near = abs(value - stored) <= NEAR * max(abs(value), abs(stored))
    return "exact" if near or tiny else "value"


def _same_nested(value: Any, stored: Any) -> bool:
    if isinstance(value, dict):
        return (
            isinstance(stored, Mapping)
            and {str(k) for k in value} == {str(k) for k in stored}
            and all(_same_nested(v, {str(a): b for a, b in stored.items()}[str(k)]) for k, v in value.items())
        )
    if isinstance(value, list):
        return (
            isinstance(stored, (list, tuple))
            and len(value) == len(stored)
            and all(_same_nested(a, b) for a, b in zip(value, stored, strict=True))
        )
    return compare(value, stored) in (None, "exact")  # precision is the matter of a clause of its own


def differences(
    logged: Iterable[Logged],
    stored: Iterable[Stored],
    rename: Callable[[str], str],
    delivered: Delivered | None = None,
) -> list[Difference]:
    """Return what differs between the trained points and the stored ones, in the order trained.

    `rename` is the tracker's rule for keys. `delivered` says what transformers' reporting callback handed on; a point
    that it left out is blamed on it (`trl`, with a note), not on the tracker.
    """
    trained: dict[str, list[Logged]] = {}
    for point in logged:
        trained.setdefault(rename(point.key), []).append(point)
    merged = [d for name, points in trained.items() for d in _merged(name, points)]
    kept: dict[str, list[Stored]] = {}
    for found in stored:
        if found.key in trained:
            kept.setdefault(found.key, []).append(found)
    matches = [_Match.of(points, kept.get(key, [])) for key, points in trained.items()]
    survived = [point for match in matches for point, _ in match.pairs]
    everything = [point for points in trained.values() for point in points]
    missing = _Missing(everything, survived)
    found_differences = [*merged, *(d for match in matches for d in match.differences(missing))]
    if delivered is not None:
        found_differences = [delivered.judge(d, rename) for d in found_differences]
    return sorted(found_differences, key=lambda d: (d.event, d.key))


def _merged(name: str, points: list[Logged]) -> Iterator[Difference]:
    """Yield the keys that nobody can tell from an earlier one when they are read back under `name`."""
    first = points[0]
    for p in {p.key: p for p in reversed(points)}.values():
        if p.key != first.key:
            yield Difference("merged", p.step, p.key, p.key, name, p.step, note=f"as {first.key} is", event=p.event)


class _Missing:
    """What kind of loss one missing point is depends on the others: was its whole log lost, and which other ones."""

    def __init__(self, points: list[Logged], survived: list[Logged]) -> None:
        self._kept = {(p.step, p.key) for p in survived}
        # Of a key that is logged twice at one step (epoch) it cannot be told which point survived. And a log without an
        # ordinary number is not known to be lost: each of its values may be missing for itself.
        often = Counter((p.step, p.key) for p in points)
        telling = {p.event: p.step for p in points if often[p.step, p.key] == 1 and _ordinary(p.value)}
        events = {p.event for p in survived if often[p.step, p.key] == 1}
        lost = {event: step for event, step in telling.items() if event not in events}
        self._lost = {(p.step, p.key) for p in points if p.event in lost}
        self._how = "missing"
        if events and set(lost) == {max(telling, default=-1)}:
            self._how = "last"
        elif set(lost.values()) <= {p.step for p in survived}:
            self._how = "equal-step"

    def kind(self, point: Logged) -> str:
        if (point.step, point.key) in self._lost:
            return self._how
        value = values.plain(point.value)
        if value is None:
            return "none"
        if isinstance(value, (list, dict, values.Unreadable)):
            return "nested"
        if isinstance(value, str):
            return "text"
        if isinstance(point.value, dict) and point.value.get(values.TAG) in ("numpy", "torch"):
            return "scalar"
        if isinstance(value, float) and not math.isfinite(value):
            return "nan" if math.isnan(value) else "infinity"
        return "equal-step" if point.step is not None and (point.step, point.key) in self._kept else "missing"


def _ordinary(encoded: Any) -> bool:
    value = values.plain(encoded)
    return isinstance(value, (int, float)) and math.isfinite(value)


@dataclass(frozen=True)
class _Match:
    """The trained and the stored points of one key: pairs, and what is left on either side."""

    pairs: list[tuple[Logged, Stored]]
    left: list[Logged]
    free: list[Stored]
    order: list[Stored]

    @classmethod
    def of(cls, points: list[Logged], kept: list[Stored]) -> _Match:
        """Pair the points of one key, best fits first."""
        once = len(points) == 1
        left, free, pairs = list(points), list(kept), []
        fits: list[Callable[[Logged, Stored], bool]] = [
            lambda p, s: _same_step(p, s, once) and compare(p.value, s.value) is None,
            lambda p, s: compare(p.value, s.value) is None,
            lambda p, s: _same_step(p, s, once) and compare(p.value, s.value) == "exact",
            lambda p, s: compare(p.value, s.value) == "exact",
            lambda p, s: _same_step(p, s, once),
        ]
        for fit in fits:
            for p in list(left):
                s = next((s for s in free if fit(p, s)), None)
                if s is not None:
                    left.remove(p)
                    free.remove(s)
                    pairs.append((p, s))
        return cls(sorted(pairs, key=lambda pair: pair[0].event), left, free, kept)

    def differences(self, missing: _Missing) -> list[Difference]:
        once = len(self.pairs) + len(self.left) == 1
        found = []
        for p, s in self.pairs:
            value = values.plain(p.value)
            if (kind := compare(p.value, s.value)) is not None:
                found.append(Difference(kind, p.step, p.key, value, s.value, s.step, event=p.event))
            if not _same_step(p, s, once):
                found.append(Difference("step", p.step, p.key, value, s.value, s.step, event=p.event))
        for p in self.left:
            found.append(Difference(missing.kind(p), p.step, p.key, values.plain(p.value), ABSENT, event=p.event))
        for s in self.free:
            found.append(Difference("extra", s.step, s.key, ABSENT, s.value, s.step))
        places = [next(i for i, s in enumerate(self.order) if s is stored) for _, stored in self.pairs]
        if not found and places != sorted(places):
            first, then = next((a, b) for a, b in zip(self.pairs, self.pairs[1:], strict=False) if a[1] is not b[1])
            found.append(
                Difference(
                    "order", first[0].step, first[0].key, values.plain(first[0].value), then[1].value, then[1].step
                )
            )
        return found


def _same_step(p: Logged, s: Stored, once: bool) -> bool:
    """A value logged once in a run may be kept for the run as a whole, without a step (wandb's summary).

    Where no step was given (PPO through accelerate), none is asked for.
    """
    return p.step is None or s.step == p.step or (once and s.step is None)


#: Keys that `Trainer.log` itself adds to log_history, beside the logs that it sends to the callbacks.
HISTORY_ONLY = {"step"}


def history(tape: Tape) -> list[Difference]:
    """Return where `log_history` and the witness disagree: what the trainer believes against what passed the door."""
    entries = tape.end.get("log_history", [])
    logs = list(tape.of("on_log"))
    found = []
    for i in range(max(len(entries), len(logs))):
        entry = dict(entries[i]) if i < len(entries) else {}
        log = dict(logs[i]["logs"]) if i < len(logs) else {}
        step = entry.get("step", logs[i]["step"] if i < len(logs) else None)
        for key in sorted((entry.keys() | log.keys()) - (HISTORY_ONLY - log.keys())):
            a, b = entry.get(key, _NOTHING), log.get(key, _NOTHING)
            if a is _NOTHING or b is _NOTHING or (a != b and compare(a, values.plain(b)) is not None):
                trained = ABSENT if a is _NOTHING else values.plain(a)
                passed = ABSENT if b is _NOTHING else values.plain(b)
                found.append(Difference("unlogged", step, key, trained, passed, step, blame="trl", event=i))
    return found


_NOTHING = object()
