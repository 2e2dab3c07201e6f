"""conformance.results: what a session writes and says follows from its checks, and follows the published schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from entries import ADAPTER, VERSIONS, entry, every_outcome, gap, unreachable

import conformance
from conformance import results
from conformance.results import Session, count, lines
from conformance.verdict import OUTCOMES, GapFound, Known, NotApplicable, Untestable, Verdict

SCHEMA = json.loads((Path(conformance.__file__).parent / "report" / "results.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


@pytest.fixture
def word(tmp_path: Path) -> str:
    """A tracker that refuses two capabilities."""
    (tmp_path / "half.py").write_text(ADAPTER)
    return f"{tmp_path / 'half.py'}:Half"


def finished(
    entries: list[dict[str, Any]], folder: Path, strict: bool = False, replay: bool = False, **collected: int
) -> tuple[Session, dict[str, Any]]:
    """Return the session after its end, and the report it wrote ({} if none), checked against the schema."""
    session = Session(strict, entries, {name[1:]: number for name, number in collected.items()})
    session.finish(folder, replay)
    paths = list(folder.glob("*.json"))
    report = json.loads(paths[0].read_text(encoding="utf-8")) if paths else {}
    if report:
        VALIDATOR.validate(report)
    return session, report


def test_the_schema_is_one_and_knows_every_outcome() -> None:
    VALIDATOR.check_schema(SCHEMA)
    assert SCHEMA["$defs"]["entry"]["properties"]["outcome"]["enum"] == list(OUTCOMES)


def test_a_report_of_every_outcome_follows_the_schema(word: str, tmp_path: Path) -> None:
    _, report = finished(every_outcome(word), tmp_path / "results", l0=1, l1=5, l2=1)
    assert report["tracker"] == "half"
    assert report["versions"] == VERSIONS
    assert report["checks"] == {"there": 7, "ran": 7, "by_level": {"0": 1, "1": 5, "2": 1}}
    assert report["outcomes"] == {
        "holds": 2,
        "gap": 1,
        "untestable": 1,
        "known": 1,
        "unreachable": 1,
        "not-applicable": 1,
    }
    assert report["unreachable_points"] == 2
    told = {e["clause"]: (e["outcome"], e["subject"], e["refused"], e["reason"]) for e in report["results"]}
    assert told["ATT-01"] == ("holds", "payload", False, "")
    assert told["REC-04"] == ("known", "payload", True, "there is no null in its format")
    assert told["REC-05"] == ("untestable", "payload", False, "RuntimeError: two\nlines")
    assert told["REC-08"] == ("unreachable", "grpo", False, "not handed on")


@pytest.mark.parametrize("path", [(), ("checks",), ("outcomes",), ("results", 0), ("results", 2, "gap")])
def test_the_schema_refuses_what_it_does_not_describe(word: str, tmp_path: Path, path: tuple[Any, ...]) -> None:
    _, report = finished(every_outcome(word), tmp_path / "results")
    place = report
    for step in path:
        place = place[step]
    place["surprise"] = 1
    assert [error.validator for error in VALIDATOR.iter_errors(report)] != []


def test_the_header_counts(word: str, tmp_path: Path) -> None:
    session, _ = finished(every_outcome(word), tmp_path / "results", l0=1, l1=8)
    assert session.headers[0] == (
        "half 2.0 · trl 1.16.0 · transformers 5.23.0 · 7 of 9 checks ran · 1 gaps · 1 untestable · 1 known · 0 stale"
        " · 1 unreachable · 1 not applicable"
    )
    assert session.headers[1].endswith("-half.json")


@pytest.mark.parametrize(
    "red, level, says",
    [
        (None, 2, "level 2 train"),
        ("TRN-01", 1, "level 1 record"),
        ("REC-01", 0, "level 0 attach"),
        ("ATT-01", -1, "no level"),
    ],
)
@pytest.mark.parametrize("kind", ["gap", "untestable"])
def test_the_level_is_the_highest_without_red(
    word: str, tmp_path: Path, red: str | None, level: int, says: str, kind: str
) -> None:
    def error(clause: str) -> BaseException | None:
        wrong = GapFound("g", gap(clause)) if kind == "gap" else RuntimeError("?")
        return wrong if clause == red else None

    entries = [entry(word, clause, error(clause)) for clause in ("ATT-01", "REC-01", "TRN-01")]
    session, report = finished(entries, tmp_path / "results", l0=1, l1=1, l2=1)
    assert report["level"] == level
    assert session.headers[0].endswith(says)


def test_there_is_no_level_unless_every_check_ran(word: str, tmp_path: Path) -> None:
    session, report = finished([entry(word, "ATT-01")], tmp_path / "results", l0=2)
    assert report["level"] is None
    assert "level" not in session.headers[0]


@pytest.mark.parametrize(
    "outcomes, stale",
    [
        ([("REC-04", None)], ["none"]),
        ([("REC-04", None), ("REC-11", None)], ["exact", "none"]),
        ([("REC-04", Known("no null", None))], []),
        ([("REC-11", None), ("REC-11", Known("float32", None))], []),
        ([("REC-04", NotApplicable("not asked"))], []),
        ([("REC-14", None), ("REC-01", None)], []),
    ],
)
def test_a_refusal_that_is_not_needed_is_stale(
    word: str, tmp_path: Path, outcomes: list[tuple[str, Verdict | None]], stale: list[str]
) -> None:
    entries = [entry(word, clause, error) for clause, error in outcomes]
    session = Session(True, entries)
    session.finish(tmp_path / "results", replay=False)
    (path,) = (tmp_path / "results").glob("*.json")
    assert json.loads(path.read_text(encoding="utf-8"))["stale"] == stale
    assert session.problems == [f"--strict: lacks[{name!r}] is stale" for name in stale]


def test_experimental_trainers_are_told_but_not_scored(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "frozen", dict)
    found = [
        entry(word, "TRN-01", GapFound("g", gap("TRN-01")), subject="experimental.gkd.gkd", scored=False),
        entry(word, "TRN-02", Untestable("no recipe\nmore"), subject="experimental.gfpo.gfpo", scored=False),
        entry(word, "TRN-03", Untestable("no recipe\nmore"), subject="experimental.gfpo.gfpo", scored=False),
        entry(word, "REC-04", None, subject="experimental.gkd.gkd", scored=False),
        entry(word, "REC-08", unreachable(), subject="experimental.gkd.gkd", scored=False),
    ]
    scored = [entry(word, "ATT-01"), entry(word, "REC-01"), entry(word, "TRN-01", subject="sft")]
    session, report = finished([*scored, *found], tmp_path / "results", strict=True, l0=1, l1=1, l2=1)
    assert report["level"] == 2
    assert report["checks"] == {"there": 3, "ran": 3, "by_level": {"0": 1, "1": 1, "2": 1}}
    assert (report["outcomes"]["gap"], report["outcomes"]["untestable"]) == (0, 0)
    assert report["unscored"]["outcomes"] == {
        "holds": 1,
        "gap": 1,
        "untestable": 2,
        "known": 0,
        "unreachable": 1,
        "not-applicable": 0,
    }
    assert [e["scored"] for e in report["results"]] == [True] * 3 + [False] * 5
    assert report["stale"] == []
    assert session.problems == []
    assert session.headers[0].endswith(
        "level 2 train · not scored: 5 of 5 checks of experimental trainers, 1 gaps, 2 untestable"
    )
    assert session.others[0].startswith("TRN-01  ")
    assert session.others[-1] == "UNTESTABLE  experimental.gfpo.gfpo (2 checks)  no recipe"


@pytest.mark.parametrize(
    "told, drift, says",
    [
        ([None, None], None, False),
        ([None, [], []], [], False),
        ([["a: new b"], None, ["a: new b", "c: gone d"]], ["a: new b", "c: gone d"], True),
    ],
)
def test_drift_is_information(
    word: str, tmp_path: Path, told: list[list[str] | None], drift: list[str] | None, says: bool
) -> None:
    found = [{**entry(word, "TRN-01", subject=str(i)), "drift": lines} for i, lines in enumerate(told)]
    session, report = finished(found, tmp_path / "results")
    assert report["drift"] == drift
    assert session.problems == []
    assert ("differences from the recorded schemas" in session.headers[0]) is says


def test_the_file_of_a_shard_says_so(word: str, tmp_path: Path) -> None:
    Session(False, [entry(word, "ATT-01")]).finish(tmp_path, replay=False, shard=".1of2")
    (path,) = tmp_path.glob("*.json")
    assert path.name.endswith("-half.1of2.json")


def test_strict_makes_unreachable_red_and_nothing_else_does(word: str, tmp_path: Path) -> None:
    entries = [entry(word, "REC-08", unreachable(), subject="grpo")]
    assert finished(entries, tmp_path / "a")[0].problems == []
    assert finished(entries, tmp_path / "b", strict=True)[0].problems == [
        "--strict: test_x[half-REC-08-grpo] is unreachable"
    ]


def test_a_check_that_vanished_is_a_problem(word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "release", lambda name: "1.16.0")
    monkeypatch.setattr(results, "frozen", lambda: {"1.16": {"0": 1, "1": 70}})
    entries = [entry(word, "ATT-01")]
    assert finished(entries, tmp_path / "a", l0=1, l1=70)[0].problems == []
    assert finished(entries, tmp_path / "b", replay=True, l0=1, l1=69)[0].problems == []
    (problem,) = finished(entries, tmp_path / "c", l0=1, l1=69)[0].problems
    assert problem.startswith("this kit has 1 + 70 checks for trl 1.16, but 1 + 69 were collected")


def test_a_replay_writes_no_report(word: str, tmp_path: Path) -> None:
    session, report = finished([entry(word, "REC-01", subject="sft")], tmp_path / "results", replay=True)
    assert report == {}
    assert len(session.headers) == 1


def test_checks_are_counted_for_each_tracker() -> None:
    assert count([0, 0, 1, 1, 1, 1, 2, 2], trackers=2) == {"0": 1, "1": 2, "2": 1}


def test_a_red_check_prints_its_gap_or_its_reason(word: str) -> None:
    told = lines(entry(word, "REC-03", GapFound("None stored as 0.0", gap("REC-03"))))
    assert told[0].startswith("REC-03  None stored as 0.0")
    assert any("trained None" in line and "stored 0.0" in line for line in told)
    assert lines(entry(word, "REC-05", RuntimeError("why"))) == ["REC-05  UNTESTABLE  payload", "  RuntimeError: why"]
