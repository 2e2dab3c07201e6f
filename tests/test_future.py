"""A TRL release that nobody knows yet: the kit says in a line each what it cannot train, and trains the rest.

It is made from the installed release: a copy, numbered higher, in which a trainer has another name, one wants an
argument that did not exist, and the module of one is gone.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.trainers import root

FUTURE = "99.0.0"


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.search(old, text), f"{old} is not in {path.name}"
    path.write_text(re.sub(old, new, text), encoding="utf-8")


@pytest.fixture(scope="module")
def future(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the future release: put in front of the path, it is the one that is installed."""
    place = tmp_path_factory.mktemp("future")
    installed = root()
    assert installed
    shutil.copytree(installed, place / "trl", ignore=shutil.ignore_patterns("__pycache__"))
    metadata = importlib.metadata.distribution("trl").read_text("METADATA") or ""
    (place / f"trl-{FUTURE}.dist-info").mkdir()
    told = re.sub(r"^Version: .*$", f"Version: {FUTURE}", metadata, count=1, flags=re.M)
    (place / f"trl-{FUTURE}.dist-info" / "METADATA").write_text(told, encoding="utf-8")
    for file in ("__init__.py", "trainer/__init__.py", "trainer/base_trainer.py", "trainer/kto_trainer.py"):
        edited(place / "trl" / file, r"\bKTOTrainer\b", "KahnemanTrainer")
    edited(
        place / "trl/trainer/reward_trainer.py",
        r"(def __init__\(\n        self,)(?=\n        model: )",
        r"\1\n        judge,",
    )
    (place / "trl/trainer/rloo_trainer.py").unlink()
    return place


def run(future: Path, *command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(future)}
    return subprocess.run([sys.executable, "-m", *command], cwd=cwd, env=env, capture_output=True, text=True)


@pytest.fixture(scope="module")
def suite(future: Path, tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    words = [word for name in ("kahneman", "reward", "rloo", "sft") for word in ("--trainer", name)]
    options = ["--clause", "TRN-01", "--results", "results", "-p", "no:cacheprovider"]
    return run(future, "pytest", "--pyargs", "conformance", *options, *words, cwd=tmp_path_factory.mktemp("suite"))


@pytest.mark.parametrize(
    "trainer, reason",
    [
        ("kahneman", "no recipe for KahnemanTrainer: add a row to conformance/recipes/rows.py"),
        ("reward", "missing 1 required positional argument: 'judge'"),
        ("rloo", "trl.trainer.rloo_trainer"),
    ],
)
def test_what_cannot_be_trained_is_untestable_in_words(
    suite: subprocess.CompletedProcess[str], trainer: str, reason: str
) -> None:
    # Where $CI is set, pytest says it again in its summary.
    lines = set(re.findall(rf"TRN-01  UNTESTABLE  {trainer}\n(.*)", suite.stdout))
    assert len(lines) == 1
    assert reason in lines.pop()


def test_the_rest_is_trained_and_no_trace_is_shown(suite: subprocess.CompletedProcess[str]) -> None:
    assert suite.returncode == pytest.ExitCode.TESTS_FAILED
    assert f"trl {FUTURE}" in suite.stdout
    assert "3 untestable" in suite.stdout
    assert "1 passed" in suite.stdout
    assert "Traceback" not in suite.stdout + suite.stderr
