"""conformance.matrix.record: what the installed TRL really does becomes a schema (needs TRL)."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance import __main__ as command
from conformance.matrix import record, schema
from conformance.trainers import Trainer, minor, release


def test_a_trainer_is_recorded_with_its_module_calls_and_one_without_recipe_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        record, "discover", lambda: [Trainer("GRPOTrainer", "trl", True), Trainer("NewTrainer", "trl", True)]
    )
    assert command.main(["record", "--schema", str(tmp_path)]) == 0
    trl = minor(release("trl"))
    assert capsys.readouterr().out == f"{tmp_path}/trl-{trl}.json: 1 schemas, untestable: new\n"
    found = schema.golden(trl, tmp_path)
    assert found["versions"]["trl"] == release("trl")
    grpo, new = found["trainers"]["grpo"], found["trainers"]["new"]
    assert "New" in new["untestable"]
    assert "\n" not in new["untestable"]
    assert grpo["metrics"]["rewards/*/mean"] == "NoneType|float"
    assert grpo["config"]["learning_rate"] == "float"
    assert grpo["events"].startswith("init_end:0 train_begin:0 ")
    assert {"step", "prompt", "completion", "*"} <= set(grpo["tables"]["completions"])
    (where,) = grpo["calls"]["wandb.Table(dataframe)"]
    assert where.startswith("trl/trainer/grpo_trainer.py:")
    assert any(call.startswith("trackio.log(") for call in grpo["calls"])
    assert any("GRPOTrainer._prepare_inputs" in key for key in grpo["logged"])


def test_a_stable_trainer_without_tape_is_an_error_of_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("sft does not train: ValueError:\n  x [trl/a.py:1]")

    monkeypatch.setattr(record, "record", fails)
    assert command.main(["record", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "trl-conformance record: sft does not train: ValueError: x [trl/a.py:1]\n"
    assert not list(tmp_path.iterdir())
