"""Entries of results as the checks of a tracker would leave them, for the tests of what is made of them."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from conformance import results
from conformance.clauses import all_clauses
from conformance.tape import from_payloads
from conformance.truth import ABSENT, Difference
from conformance.verdict import GapFound, Known, NotApplicable, Unreachable, make_gap

VERSIONS = {"trl": "1.16.0", "transformers": "5.23.0", "half": "2.0"}
ADAPTER = """
from conformance import Tracker

class Half(Tracker):
    lacks = {"none": "there is no null in its format", "exact": "float32"}

    def attach(self, store, run):
        return "half"

    def read(self, store, run):
        return []
"""


def entry(
    word: str, clause: str, error: BaseException | None = None, subject: str = "", scored: bool = True
) -> dict[str, Any]:
    """Return the entry of a check that ended with `error`."""
    name = f"test_x[half-{clause}-{subject}]" if subject else "test_x[half]"
    seen: Any = subject if scored else SimpleNamespace(id=subject, stable=False)
    item = SimpleNamespace(
        nodeid=f"conformance/test_1_record.py::{name}",
        funcargs={"bench": SimpleNamespace(versions=VERSIONS, sandbox=None)},
        callspec=SimpleNamespace(params={"bench": word, **({"replayed": seen} if subject else {})}),
        fixturenames=["bench", "replayed" if subject else "payload"],
    )
    return json.loads(json.dumps(results.entry(item, clause, error, 0.12345)))  # as it travels between processes


def gap(clause: str) -> Any:
    found = [Difference("none-number", 1, "loss", None, 0.0, 1), Difference("missing", None, "x", 0.5, ABSENT)]
    return make_gap(all_clauses()[clause], "payload", "half", VERSIONS, found, "detail", from_payloads([]).to_json())


def unreachable() -> Unreachable:
    return Unreachable(
        "not handed on", differences=(Difference("last", 3, "a", 1.0, ABSENT, blame="trl", note="n"),) * 2
    )


def every_outcome(word: str) -> list[dict[str, Any]]:
    return [
        entry(word, "ATT-01"),
        entry(word, "REC-01", subject="sft"),
        entry(word, "REC-03", GapFound("None stored as 0.0", gap("REC-03"))),
        entry(word, "REC-04", Known("there is no null in its format", gap("REC-04"))),
        entry(word, "REC-05", RuntimeError("two\nlines")),
        entry(word, "REC-08", unreachable(), subject="grpo"),
        entry(word, "TRN-11", NotApplicable("half does not claim tables")),
    ]
