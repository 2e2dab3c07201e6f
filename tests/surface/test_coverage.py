"""conformance.surface.coverage and stand_ins: reached sites, reasons, and uses that no scan saw."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from surfaces import made

from conformance.surface import coverage
from conformance.surface.coverage import Reason

TEXT = """
import wandb
def train():
    wandb.log({"a": 1})
    wandb.run.url
def search():
    wandb.sweep({})
"""


def test_a_site_is_reached_reasoned_or_neither() -> None:
    asked = [("wandb", "log", "trl/trainer/x.py:4"), ("wandb", "run", "trl/trainer/x.py:5")]
    covered = coverage.cover(made(TEXT), asked, [Reason("a search is not a training", inside="search")])
    assert [str(use) for use in covered.reached] == ["wandb.log(_)"]
    assert [str(use) for use, _ in covered.reasoned] == ["wandb.sweep(_)"]
    assert [str(use) for use in covered.unexplained] == ["wandb.run.url"]
    assert covered.unseen == []
    assert covered.share == 0.5


def test_a_reached_site_needs_no_reason_and_a_reason_without_a_site_is_stale() -> None:
    known = [Reason("never", what="wandb.log*"), Reason("a search", inside="search")]
    covered = coverage.cover(made(TEXT), [("wandb", "log", "trl/trainer/x.py:4")], known)
    assert coverage.stale([covered], known) == [known[0]]


def test_a_use_that_no_scan_saw_is_told() -> None:
    asked = [("wandb", "log", "trl/trainer/y.py:4"), ("wandb", "run.name", "trl/trainer/x.py:5")]
    assert coverage.cover(made(TEXT), asked, []).unseen == [
        ("wandb", "log", "trl/trainer/y.py:4"),
        ("wandb", "run.name", "trl/trainer/x.py:5"),
    ]


def test_the_page_counts_and_lists(capsys: pytest.CaptureFixture[str]) -> None:
    known = [Reason("a search is not a training", inside="search")]
    covered = [coverage.cover(made(TEXT), [("wandb", "log", "trl/trainer/x.py:4")], known)]
    page = coverage.page(covered, {"1.0.0": {"sft train": "ValueError: no"}}, [])
    assert "**1 of 2 reachable sites are reached (50.0 %).**" in page
    assert "| trl 1.0.0 | 3 | 1 | 1 | 1 | 0 |" in page
    assert "| a search is not a training | 1 | `wandb.sweep(_)` trl/trainer/x.py:7 (trl 1.0.0) |" in page
    assert "* `wandb.run.url` trl/trainer/x.py train (1.0 :5)" in page
    assert "* sft train: ValueError: no (1.0.0)" in page


def test_stand_ins_take_whatever_a_library_asks_and_note_where(tmp_path: Path) -> None:
    """A library that uses a dozen modules in every way that the scan knows."""
    package = tmp_path / "trl"
    package.mkdir()
    text = """
    import importlib.metadata, importlib.util
    import wandb, wandb.env, mlflow, clearml
    from trackio import context_vars
    from wandb.sdk.lib.config_util import ConfigError
    from tensorboardX import SummaryWriter
    def work():
        assert importlib.util.find_spec("swanlab") and importlib.metadata.version("swanlab")
        assert hasattr(wandb, "run") and wandb.run is not None
        wandb.config["x"] = 1
        dict(wandb.summary)
        run = context_vars.current_run.get()
        url = "https://" + run.name
        len("x") > mlflow.utils.validation.MAX_PARAM_VAL_LENGTH
        try:
            pass
        except ConfigError:
            pass
        SummaryWriter(log_dir="x").add_scalar("a", 1.0)
        class Model(mlflow.pyfunc.PythonModel): ...
        with wandb.Artifact(name="x").new_file("a") as file:
            file.write(b"")
    """
    (package / "__init__.py").write_text(textwrap.dedent(text))
    code = """
    from conformance.surface import stand_ins
    stand_ins.stand()
    import trl
    trl.work()
    print(*sorted(f"{m}.{p} {w}" for m, p, w in stand_ins.ASKED), sep="\\n")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={"PYTHONPATH": f"{tmp_path}:{Path(coverage.__file__).parents[2]}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    dynamic = {tuple(line.split(" ")) for line in done.stdout.splitlines()}
    static = made(text, place="trl/__init__.py")
    missed = {
        (str(use.module) + "." + use.path, use.where) for use in static.uses if use.kind not in ("base", "catch")
    } - dynamic
    assert missed == {("wandb.env", "trl/__init__.py:3")}, "importing a submodule is no use of its parent"
    asked = [(*name.split(".", 1), where) for name, where in dynamic]
    assert coverage.cover(static, asked, []).unseen == []
