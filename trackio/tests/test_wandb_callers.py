"""The real callers of wandb, in the releases that are installed: `wandb_callers.py` runs, and is read here.

Without transformers this file is not collected (conftest.py).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import trackio

SCRIPT = Path(__file__).with_name("wandb_callers.py")
ONCE = ("train_runtime", "train_samples_per_second", "train_steps_per_second", "train_loss", "total_flos")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the script printed, with `api`, `stderr` and its working directory `cwd`."""
    folder = tmp_path_factory.mktemp("callers")
    (folder / "cwd").mkdir()
    known = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    done = subprocess.run(
        [sys.executable, str(SCRIPT)],
        cwd=folder / "cwd",
        env={**known, "TRACKIO_DIR": str(folder / "store"), "TRACKIO_STRICT": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout.splitlines()[-1])
    return {
        **facts,
        "api": trackio.Api(folder / "store"),
        "stderr": done.stderr,
        "cwd": folder / "cwd",
    }


def only(told: dict[str, Any], project: str) -> Any:
    (run,) = told["api"].runs(project)
    return run


def test_wandb_is_available_to_all(told: dict[str, Any]) -> None:
    assert told["available"] == [True, True] and "wandb" in told["reporting"] and told["trl"] is True
    assert "too late" not in told["stderr"]
    assert told["api"].projects() == ["acc", "hf"]
    assert sorted(path.name for path in told["cwd"].iterdir()) == ["out"]


def test_the_trainer_s_values_are_kept(told: dict[str, Any]) -> None:
    run = only(told, "hf")
    assert (run.name, run.status, told["open"]) == ("./a/../name", "finished", "./a/../name")
    found = list(run.points())
    assert len([entry for entry in told["history"] if "loss" in entry]) == 2
    for entry in told["history"]:
        for key, value in entry.items():
            name = key.replace("eval_", "eval/", 1) if key.startswith("eval_") else f"train/{key}"
            if key != "step":
                assert ((None, key, value) if key in ONCE else (entry["step"], name, value)) in found, key
    assert [(step, value) for step, key, value in found if key == "train/global_step"] == [
        (1, 1),
        (2, 2),
        (2, 2),
        (2, 2),
    ]
    assert [step for step, key, _ in found if key == "test/loss"] == [2]


def test_the_configuration_is_kept(told: dict[str, Any]) -> None:
    config = only(told, "hf").config
    assert (config["model_type"], config["layers"], config["model/num_parameters"]) == (
        "line",
        [1, {"a": None}],
        2,
    )
    assert (config["run_name"], config["max_steps"], config["warmup_steps"]) == ("./a/../name", 2, 0)
    assert len(config) > 100


def test_checkpoints_are_kept_with_the_summary_as_metadata(told: dict[str, Any]) -> None:
    base, checkpoint, final = only(told, "hf").artifacts()
    assert {item.name for item in (base, checkpoint, final)} == {"model-./a/../name"}
    assert {item.type for item in (base, checkpoint, final)} == {"model"}
    assert base.metadata["num_parameters"] == 2 and b"Linear" in base.file("model_architecture.txt").read()
    assert "checkpoint_global_step_2" in checkpoint.aliases
    assert "trainer_state.json" in [file.path for file in checkpoint.files()]
    losses = [entry["loss"] for entry in told["history"] if "loss" in entry]
    assert checkpoint.metadata["train/loss"] == losses[-1]
    assert checkpoint.metadata["train/global_step"] == checkpoint.metadata["model/num_parameters"] == 2
    (train_loss,) = (entry["train_loss"] for entry in told["history"] if "train_loss" in entry)
    assert final.metadata["train_loss"] == train_loss and "final_model" in final.aliases


def test_what_is_not_kept_is_said(told: dict[str, Any]) -> None:
    assert "histograms of gradients and parameters are not kept" in told["stderr"]


def test_profiling_goes_to_the_open_run(told: dict[str, Any]) -> None:
    # Before the run there is none to ask for, and TRL does ask.
    times = [(step, type(value)) for step, key, value in only(told, "hf").points() if "profiling" in key]
    assert times == [(2, float)]


def test_accelerate(told: dict[str, Any]) -> None:
    run = only(told, "acc")
    assert (run.name, run.status) == ("n", "finished")
    assert run.config == {"_wandb": {"tags": ["t"]}, "lr": 0.1}
    assert repr(list(run.points())) == "[(3, 'loss', 0.5), (3, 'loss', nan)]"
    assert [(step, key, table.rows) for step, key, table in run.tables()] == [(4, "table", [[1], [2]])]
    ((step, key, (image,)),) = run.media()
    assert (step, key, image.format) == (5, "pictures", "png")
