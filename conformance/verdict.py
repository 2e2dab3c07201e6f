"""How one check can end. A court raises one of these; the plugin turns it into an outcome. There is no skip.

holds         the clause held
gap           it did not (red), with the evidence
untestable    it could not be tried (red), and what is missing
known         it did not hold, and the tracker said so in `lacks`
unreachable   it did not hold because nothing reached the tracker: TRL or transformers is to blame; not scored
not-applicable  the tracker does not claim what the clause is about, or the release does not ask it
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from conformance import values
from conformance.clauses import Clause
from conformance.truth import Difference

OUTCOMES = ("holds", "gap", "untestable", "known", "unreachable", "not-applicable")
RED = ("gap", "untestable")
#: Outcome -> letter on pytest's progress line.
LETTERS = {
    "holds": ".",
    "gap": "G",
    "untestable": "U",
    "known": "k",
    "unreachable": "u",
    "not-applicable": "n",
}
#: This many differences of one gap are printed; all of them are in the results.
SHOWN = 4


@dataclass(frozen=True)
class Gap:
    """One clause that did not hold for one subject (a trainer, a tape, generated payloads)."""

    clause: str
    title: str
    must: str
    source: str
    subject: str
    tracker: str
    versions: Mapping[str, str]
    blame: str
    differences: tuple[Difference, ...] = ()
    detail: str = ""
    replay: Mapping[str, Any] | None = field(default=None, repr=False)
    again: str = ""
    alone: str = ""

    @property
    def id(self) -> str:
        """Stable for the same finding: `REC-03-7f1c`."""
        first = [(d.kind, d.step, d.key, values.show(d.trained)) for d in self.differences[:1]]
        what = json.dumps([self.clause, self.tracker, self.subject, self.versions.get("trl"), first], default=str)
        return f"{self.clause}-{hashlib.sha256(what.encode()).hexdigest()[:4]}"

    @property
    def headline(self) -> str:
        """What happened, in the words of the first difference."""
        if self.differences and self.differences[0].kind in (
            "none-number",
            "nan",
            "infinity",
            "value",
            "exact",
            "text",
        ):
            d = self.differences[0]
            return f"{values.show(d.trained, 24)} stored as {values.show(d.stored, 24)}"
        return self.title

    def lines(self) -> list[str]:
        """Return the gap as it is printed."""
        trl, version = self.versions.get("trl", "?"), self.versions.get(self.tracker, "")
        where = f"{self.subject} · trl {trl} · {f'{self.tracker} {version}'.strip()} · blame: {self.blame}"
        result = [f"{self.clause}  {self.headline:<46} {where}"]
        result += [line_of(d) for d in self.differences[:SHOWN]]
        if len(self.differences) > SHOWN:
            result.append(f"  … and {len(self.differences) - SHOWN} more")
        result += [f"  {line}" for line in self.detail.splitlines()]
        result.append(f"  clause  {self.must}    {self.source}")
        result += [f"  {word}   {text}" for word, text in (("again", self.again), ("alone", self.alone)) if text]
        return result

    def to_json(self) -> dict[str, Any]:
        """Return the gap as it stands in `results/*.json`."""
        return {
            "id": self.id,
            "clause": self.clause,
            "title": self.headline,
            "must": self.must,
            "source": self.source,
            "subject": self.subject,
            "tracker": self.tracker,
            "versions": dict(self.versions),
            "blame": self.blame,
            "detail": self.detail,
            "differences": [difference_json(d) for d in self.differences],
            "again": self.again,
            "alone": self.alone,
        }


def line_of(d: Difference) -> str:
    """Return one difference as a line: step, key, what was trained, what is stored."""
    step = "" if d.step is None else f"step {d.step}"
    stored = values.show(d.stored, 40)
    if d.stored_step != d.step and d.stored_step is not None:
        stored += f" at step {d.stored_step}"
    elif d.kind == "step":
        stored += " without a step"
    note = f"  ({d.note})" if d.note else ""
    return f"  {step:<7} {d.key[:60]:<40} trained {values.show(d.trained, 40):<24} stored {stored}{note}"


def difference_json(d: Difference) -> dict[str, Any]:
    """Return one difference as JSON, values as a person reads them."""
    return {
        "kind": d.kind,
        "step": d.step,
        "key": d.key,
        "trained": values.show(d.trained, 200),
        "stored": values.show(d.stored, 200),
        "stored_step": d.stored_step,
        "blame": d.blame,
        "note": d.note,
    }


class Verdict(Exception):
    """Base of everything a court raises; `outcome` is one of OUTCOMES."""

    outcome = "holds"

    def __init__(self, reason: str = "", gap: Gap | None = None, differences: tuple[Difference, ...] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.gap = gap
        self.differences = differences


class GapFound(Verdict):
    """The clause did not hold; `gap` says how."""

    outcome = "gap"


class Untestable(Verdict):
    """The check could not run; `reason` names what is missing."""

    outcome = "untestable"


class Known(Verdict):
    """A gap that the tracker's `lacks` announces; `reason` is the tracker's."""

    outcome = "known"


class Unreachable(Verdict):
    """What the clause asks for never reached the tracker."""

    outcome = "unreachable"


class NotApplicable(Verdict):
    """The clause does not ask anything of this tracker with this release."""

    outcome = "not-applicable"


def make_gap(
    clause: Clause,
    subject: str,
    tracker: str,
    versions: Mapping[str, str],
    differences: list[Difference],
    detail: str = "",
    replay: Mapping[str, Any] | None = None,
    blame: str = "tracker",
) -> Gap:
    """Return the gap; its blame is that of its first difference, `blame` if there is none."""
    blame = differences[0].blame if differences else blame
    return Gap(
        clause.id,
        clause.title,
        clause.must,
        clause.line,
        subject,
        tracker,
        versions,
        blame,
        tuple(differences),
        detail,
        replay,
    )
