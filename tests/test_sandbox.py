"""conformance.sandbox: whatever a child does is an outcome, and the warm parent outlives it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.sandbox import Outcome, Sandbox, SandboxError

HERE = "sandbox_jobs"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A warm parent that has imported nothing but the jobs of this test."""
    with Sandbox(environment(), f"{HERE}:preload", tmp_path_factory.mktemp("sandbox")) as found:
        yield found


def environment() -> dict[str, str]:
    return {"PYTHONPATH": str(Path(__file__).parent / "jobs"), "ACME_DIR": "/acme"}


@pytest.fixture(autouse=True)
def _the_parent_survives(sandbox: Sandbox) -> Iterator[None]:
    yield
    after = sandbox.run(f"{HERE}:add", a=1, b=2)
    assert (after.state, after.value) == ("ok", 3)


def test_the_preload_answers_with_its_facts(sandbox: Sandbox) -> None:
    assert sandbox.facts["acme"] == "/acme"
    assert sandbox.facts["pid"] != os.getpid()
    assert sandbox.facts["offline"] == "1"


def test_a_value_comes_back(sandbox: Sandbox) -> None:
    outcome = sandbox.run(f"{HERE}:add", a=[1], b=[2])
    assert (outcome.state, outcome.value, outcome.error) == ("ok", [1, 2], "")


def test_what_a_child_raises_comes_back_as_text(sandbox: Sandbox) -> None:
    outcome = sandbox.run(f"{HERE}:fail", error="no such run")
    assert (outcome.state, outcome.error) == ("raised", "LookupError: no such run")
    assert "in fail" in outcome.trace


@pytest.mark.parametrize("how", ["exit", "interrupt"])
def test_what_ends_a_program_is_raised_like_any_error(sandbox: Sandbox, how: str) -> None:
    outcome = sandbox.run(f"{HERE}:leave", how=how)
    assert outcome.state == "raised"
    assert outcome.error.startswith("SystemExit: 3" if how == "exit" else "KeyboardInterrupt")


def test_a_job_that_is_not_there_is_raised(sandbox: Sandbox) -> None:
    assert sandbox.run(f"{HERE}:nothing").error.startswith("AttributeError")


def test_a_hang_ends_at_its_limit_and_says_where(sandbox: Sandbox) -> None:
    outcome = sandbox.run(f"{HERE}:hang", limit=1)
    assert (outcome.state, outcome.error) == ("hung", "did not end within 1 s")
    assert 1 <= outcome.seconds < 10
    assert "in hang" in outcome.trace


def test_an_exit_without_an_answer_has_its_code(sandbox: Sandbox) -> None:
    outcome = sandbox.run(f"{HERE}:leave", how="_exit")
    assert (outcome.state, outcome.error) == ("died", "exit code 7 without an answer")
    assert "last words" in outcome.output


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_signal_is_named(sandbox: Sandbox, number: signal.Signals) -> None:
    outcome = sandbox.run(f"{HERE}:kill", number=int(number))
    assert (outcome.state, outcome.error) == ("died", f"killed by {number.name}")


def test_output_of_every_kind_is_captured(sandbox: Sandbox, capfd: pytest.CaptureFixture[str]) -> None:
    output = sandbox.run(f"{HERE}:chatter").output
    assert [word for word in ("printed", "warned", "raw", "at exit") if word not in output] == []
    assert capfd.readouterr() == ("", "")


def test_each_child_has_its_own_environment_and_working_directory(sandbox: Sandbox) -> None:
    one, two = (sandbox.run(f"{HERE}:surroundings", env={"ACME_RUN": name}).value for name in ("one", "two"))
    assert (one["run"], two["run"]) == ("one", "two")
    assert one["cwd"] != two["cwd"]
    assert (one["found"], two["found"]) == ([], [])
    assert sandbox.run(f"{HERE}:surroundings").value["run"] is None
    assert sandbox.facts["pid"] not in (one["pid"], two["pid"])


def test_what_a_child_changes_in_memory_ends_with_it(sandbox: Sandbox) -> None:
    assert [sandbox.run(f"{HERE}:remember").value for _ in range(2)] == [1, 1]


def test_a_process_that_a_child_left_behind_is_gone(sandbox: Sandbox) -> None:
    left = sandbox.run(f"{HERE}:leave_a_child_that_ends").value
    with pytest.raises(ProcessLookupError):
        os.kill(left, 0)


def test_an_answer_that_cannot_travel_is_no_answer(sandbox: Sandbox) -> None:
    outcome = sandbox.run(f"{HERE}:answer_that_cannot_travel")
    assert outcome.state in ("raised", "died")
    assert outcome.error


def started(preload: str, folder: Path) -> Any:
    with Sandbox(environment(), preload, folder) as found:
        return found.facts


def test_a_parent_that_cannot_import_says_so(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="ModuleNotFoundError: No module named 'no_such_module_at_all'"):
        started("no_such_module_at_all:preload", tmp_path)


def test_a_parent_that_dies_while_importing_says_so(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="went away"):
        started(f"{HERE}:die", tmp_path)


def test_the_process_of_pytest_stays_as_it_was(sandbox: Sandbox) -> None:
    before = (dict(os.environ), Path.cwd(), threading.active_count())
    assert isinstance(sandbox.run(f"{HERE}:surroundings"), Outcome)
    assert (dict(os.environ), Path.cwd(), threading.active_count()) == before
    assert HERE not in sys.modules
