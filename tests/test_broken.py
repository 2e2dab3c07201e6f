"""The law can fail: every broken tracker is caught by exactly the clauses that name it, and the honest ones by none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conformance.clauses import all_clauses
from conformance.registry import load

FOLDER = Path(__file__).parent / "broken"
HONEST = ("Honest", "HonestHub", "HonestModule", "HonestWandb", "HonestAccelerate")
BROKEN = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "honest")
#: Seconds for one child: enough for a tiny training on a busy machine, and a hanging tracker has to be waited for.
LIMIT = 15


def class_name(name: str) -> str:
    """Return `DropsNone` for `drops_none`."""
    return "".join(word.capitalize() for word in name.split("_"))


def word(name: str) -> str:
    """Return how the command line names a broken tracker, or an honest one."""
    return f"{FOLDER / 'honest.py'}:{name}" if name in HONEST else f"{FOLDER / name}.py:{class_name(name)}"


def test_every_clause_names_a_broken_tracker() -> None:
    assert [id for id, law in all_clauses().items() if not law.caught] == []


def test_every_named_tracker_is_there_and_every_one_there_is_named() -> None:
    assert {name for law in all_clauses().values() for name in law.caught} == set(BROKEN)


@pytest.mark.parametrize("name", BROKEN)
def test_has_its_class_and_says_its_fault(name: str) -> None:
    adapter = load(word(name))
    assert adapter.__name__ == class_name(name)
    assert adapter.__doc__


@pytest.fixture(scope="session")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """Return tracker -> the results of all its checks; two sessions side by side, each with one warm parent for all."""
    folder = tmp_path_factory.mktemp("broken")
    everyone = [*HONEST, *BROKEN]
    sessions = [_start(everyone[half::2], folder, half) for half in (0, 1)]
    for session in sessions:
        session.wait()
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in (folder / "results").glob("*.json")]
    found = {report["tracker"]: report["results"] for report in reports if "results" in report}
    assert len(found) == len(everyone), "".join(path.read_text()[-4000:] for path in folder.glob("*.log"))
    return found


def _start(names: list[str], folder: Path, number: int) -> subprocess.Popen[bytes]:
    options = [option for name in names for option in ("--tracker", word(name))]
    options += ["--trainer", "sft", "--trainer", "grpo", "--examples", "0", "--results", str(folder / "results")]
    with (folder / f"{number}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", "--pyargs", "conformance", "-p", "no:cacheprovider", "-q", *options],
            cwd=folder,
            env={**os.environ, "TRL_CONFORMANCE_LIMIT": str(LIMIT)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def red(results: list[dict[str, Any]], outcome: str) -> dict[str, str]:
    """Return the clauses that ended so, each with a reason."""
    return {
        entry["clause"]: f"{entry['subject']}: {entry['reason']}" for entry in results if entry["outcome"] == outcome
    }


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_tracker_has_no_gap(name: str, outcomes: dict[str, list[dict[str, Any]]]) -> None:
    results = outcomes[load(word(name)).name]
    assert red(results, "gap") == {}
    assert red(results, "untestable") == {}


@pytest.mark.parametrize("name", BROKEN)
def test_is_caught_by_exactly_the_clauses_that_name_it(name: str, outcomes: dict[str, list[dict[str, Any]]]) -> None:
    gaps = red(outcomes[load(word(name)).name], "gap")
    named = {id for id, law in all_clauses().items() if name in law.caught}
    assert set(gaps) == named, f"caught without being named by {sorted(set(gaps) - named)}: {gaps}"
