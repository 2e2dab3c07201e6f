"""conformance.plugin: wrong input ends in one clear line, and collecting the checks imports nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ADAPTER = """
import atexit
import sys

from conformance import Tracker

atexit.register(lambda: print("imported:", sorted({"torch", "trl", "transformers"} & set(sys.modules))))


class Acme(Tracker):
    def attach(self, store, run):
        return "acme"

    def read(self, store, run):
        return []


class Again(Acme):
    name = "acme"


class Half(Tracker):
    def attach(self, store, run):
        return "acme"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an adapter file and a file that is no gap."""
    (tmp_path / "acme.py").write_text(ADAPTER)
    (tmp_path / "notes.json").write_text("{}")
    return tmp_path


def suite(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the suite as a user does."""
    command = [sys.executable, "-m", "pytest", "--pyargs", "conformance", "-p", "no:cacheprovider", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize(
    "options, line",
    [
        (["--tracker", "trakio"], "no tracker 'trakio'. Did you mean 'trackio'?"),
        (["--tracker", "acme.py:Half"], "class Half has no read(self, store, run); define it"),
        (["--tracker", "acme.py:Other"], "'acme.py' has no class 'Other'"),
        (
            ["--tracker", "acme.py:Acme", "--tracker", "acme.py:Again"],
            "are both called 'acme': give one class",
        ),
        (["--tracker", "acme.py:Acme", "--clause", "XXX"], "--clause XXX: there is no such clause. Known: ATT-01, "),
        (["--tracker", "acme.py:Acme", "--level", "9"], "--level 9: there are levels 0, 1, 2 and 3"),
        (["--tracker", "acme.py:Acme", "--trainer", "gropo"], "exports no such trainer. Did you mean grpo?"),
        (["--tracker", "acme.py:Acme", "--shard", "3/2"], "--shard 3/2: say which part of how many, such as 1/2"),
        (["--tracker", "acme.py:Acme", "--replay", "gone.json"], "--replay: there is no file gone.json"),
        (["--tracker", "acme.py:Acme", "--replay", "notes.json"], "--replay: notes.json is no gap of this kit"),
    ],
)
def test_wrong_input_ends_in_one_clear_line(folder: Path, options: list[str], line: str) -> None:
    done = suite(folder, *options)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    (told,) = [text for text in done.stderr.splitlines() if text.strip()]
    assert told.startswith("ERROR: ")
    assert line in told
    assert "Traceback" not in done.stdout + done.stderr
    assert not (folder / "results").exists()


def test_all_checks_are_collected_without_importing_what_is_tested(folder: Path) -> None:
    done = suite(folder, "--collect-only", "-q", "--tracker", "acme.py:Acme")
    assert done.returncode == pytest.ExitCode.OK, done.stdout[-2000:] + done.stderr
    checks = [text for text in done.stdout.splitlines() if "::test_" in text]
    assert len(checks) == len(set(checks)) > 100
    assert [text for text in checks if "the_gap_again" in text] == []
    assert done.stdout.rstrip().endswith("imported: []")


@pytest.mark.parametrize(
    "options, wanted",
    [
        (["--clause", "REC-03"], "test_none_is_not_stored_as_a_number"),
        (["--level", "2", "--trainer", "grpo", "--clause", "TRN-01"], "TRN-01-grpo]"),
        (["--trainer", "GRPOTrainer", "--clause", "TRN-01"], "TRN-01-grpo]"),
        (["--trainer", "grpo+chat", "--clause", "TRN-01"], "TRN-01-grpo+chat]"),
    ],
)
def test_options_choose_checks(folder: Path, options: list[str], wanted: str) -> None:
    done = suite(folder, "--collect-only", "-q", "--tracker", "acme.py:Acme", *options)
    (check,) = [text for text in done.stdout.splitlines() if "::test_" in text]
    assert wanted in check


def test_what_is_trained_on_demand_comes_beside_the_rest(folder: Path) -> None:
    def collected(*options: str) -> set[str]:
        done = suite(folder, "--collect-only", "-q", "--tracker", "acme.py:Acme", "--clause", "TRN-01", *options)
        return {text.rpartition("TRN-01-")[2] for text in done.stdout.splitlines() if "::test_" in text}

    stable, more = collected(), collected("--variants")
    assert more > stable
    assert all("+" in id for id in more - stable)
    assert all("experimental." in id for id in collected("--experimental") - stable)


def test_two_trackers_have_the_same_checks_each(folder: Path) -> None:
    (folder / "other.py").write_text(ADAPTER.replace("Acme", "Other"))
    done = suite(folder, "--collect-only", "-q", "--tracker", "acme.py:Acme", "--tracker", "other.py:Other")
    checks = [text for text in done.stdout.splitlines() if "::test_" in text]
    first, second = ([text for text in checks if f"[{word}" in text] for word in ("acme.py:Acme", "other.py:Other"))
    assert len(first) == len(second) == len(checks) / 2


def checks(folder: Path, *options: str) -> list[str]:
    """Return the checks that the suite collects, without running them."""
    done = suite(folder, "--collect-only", "-q", "--tracker", "acme.py:Acme", *options)
    return [text for text in done.stdout.splitlines() if "::test_" in text]


def test_shards_have_every_check_once_and_a_trainer_whole(folder: Path) -> None:
    whole = checks(folder)
    parts = [checks(folder, "--shard", f"{k}/3") for k in (1, 2, 3)]
    assert sorted(check for part in parts for check in part) == sorted(whole)
    assert min(len(part) for part in parts) > len(whole) / 6
    assert [sum("-sft]" in check for check in part) > 0 for part in parts].count(True) == 1


def test_experimental_trainers_are_trained_on_demand_or_by_name(folder: Path) -> None:
    asked, stable = ["--clause", "TRN-01"], checks(folder, "--clause", "TRN-01")
    everything = checks(folder, "--experimental", *asked)
    added = sorted(set(everything) - set(stable))
    assert added
    assert all("-experimental." in check for check in added)
    one = added[0].rpartition("TRN-01-")[2].removesuffix("]")
    assert checks(folder, "--trainer", one, *asked) == [added[0]]


def test_a_session_of_other_tests_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("def test_mine(tmp_path):\n    assert tmp_path.is_dir()\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "test_mine.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == pytest.ExitCode.OK
    assert "trl-conformance" not in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "__pycache__") == ["test_mine.py"]
