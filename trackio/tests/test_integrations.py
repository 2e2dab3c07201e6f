"""The real callers, in the releases that are installed: transformers' callback and Trainer, TRL's profiling,
accelerate.

Where a release lacks a feature, the test says what is right for that release instead. Without transformers
this file is not collected (conftest.py).
"""

from __future__ import annotations

import contextvars
import inspect
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import accelerate
import accelerate.tracking
import pandas
import pytest
import torch
import transformers
from transformers.integrations import TrackioCallback
from transformers.trainer_callback import CallbackHandler, TrainerControl, TrainerState
from transformers.utils import is_torch_available
from trl.extras import profiling

import trackio

ODD = {"nan": math.nan, "inf": -math.inf, "zero": -0.0, "tiny": 5e-324, "long": 0.1 + 0.2, "none": None}


class ModelConfig:
    def to_dict(self) -> dict[str, Any]:
        return {"model_type": "line", "layers": [1, {"a": None}]}


class Model(torch.nn.Module):
    """The smallest thing Trainer can train."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.config = ModelConfig()
        self.peft_config = {"default": SimpleNamespace(r=8)}

    def num_parameters(self) -> int:
        return 2

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        out = self.layer(x)
        return {"loss": ((out - labels) ** 2).mean(), "logits": out}


def arguments(tmp_path: Path, **more: Any) -> transformers.TrainingArguments:
    more = {"report_to": [], "logging_steps": 1, "save_strategy": "no", "use_cpu": True, **more}
    return transformers.TrainingArguments(output_dir=str(tmp_path / "out" / "run"), disable_tqdm=True, **more)


def same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and repr(a) == repr(b)


def only_run() -> Any:
    (project,) = trackio.Api().projects()
    (run,) = trackio.Api().runs(project)
    return run


@pytest.fixture(autouse=True)
def one_accelerator_at_a_time() -> Iterator[None]:
    yield
    accelerate.state.AcceleratorState._reset_state(True)


def test_the_module_is_available_to_all() -> None:
    from transformers.integrations import get_available_reporting_integrations, is_trackio_available

    assert is_trackio_available() and is_torch_available()
    assert "trackio" in get_available_reporting_integrations()
    assert accelerate.utils.is_trackio_available()


def test_the_callback_s_calls(tmp_path: Path) -> None:
    args, state, control = arguments(tmp_path), TrainerState(), TrainerControl()
    events = CallbackHandler([TrackioCallback()], Model(), None, None, None)
    before = trackio.config
    events.on_train_begin(args, state, control)
    state.global_step = 7
    logs = {"loss": 0.1, "eval_accuracy": 0.5, "train_loss": 3.0, **ODD}
    kept = dict(logs)
    events.on_log(args, state, control, logs)
    assert all(same(logs[key], kept[key]) for key in kept), "the trainer's dict was changed"
    events.on_train_end(args, state, control)
    state.global_step = 8
    events.on_log(args, state, control, {"eval_loss": 0.25})
    events.on_predict(args, state, control, {"test_loss": 0.75})
    if hasattr(TrackioCallback, "on_push_begin"):
        events.on_push_begin(args, state, control)
    trackio.finish()

    run = only_run()
    assert run.project == getattr(args, "project", "huggingface") and run.status == "finished"
    assert args.run_name is None or run.name == args.run_name
    expected = [(7, "train/loss", 0.1), (7, "eval/accuracy", 0.5)]
    expected += [(7, f"train/{key}", value) for key, value in ODD.items()]
    expected += [
        (7, "train/global_step", 7),
        (8, "eval/loss", 0.25),
        (8, "train/global_step", 8),
        (8, "test/loss", 0.75),
    ]
    found = list(run.points())
    assert [point[:2] for point in found] == [point[:2] for point in expected]
    assert all(same(a[2], b[2]) for a, b in zip(found, expected, strict=True))

    assert trackio.config is before and dict(before) == run.config
    assert run.config["model/num_parameters"] == 2
    assert run.config["model_type"] == "line" and run.config["layers"] == [1, {"a": None}]
    assert run.config["peft_config"]["default"].type == "types.SimpleNamespace"
    for key, value in args.to_dict().items():
        assert same(run.config[key], value), key


def test_train_then_evaluate_then_predict_is_one_run(tmp_path: Path) -> None:
    more: dict[str, Any] = (
        {"project": "mine"}
        if "project" in inspect.signature(transformers.TrainingArguments).parameters
        else {}
    )
    args = arguments(tmp_path, report_to=["trackio"], max_steps=3, run_name="./a/../name", **more)
    data = [{"x": torch.tensor([float(i)]), "labels": torch.tensor([2.0 * i])} for i in range(8)]
    trainer = transformers.Trainer(Model(), args, train_dataset=data, eval_dataset=data)
    trainer.train()
    trainer.evaluate()
    predicted = trainer.predict(data).metrics
    trackio.finish()

    run = only_run()
    assert (run.project, run.name) == (more.get("project", "huggingface"), "./a/../name")
    found = list(run.points())
    for entry in trainer.state.log_history:
        for key, value in entry.items():
            if key in (
                "train_runtime",
                "train_samples_per_second",
                "train_steps_per_second",
                "train_loss",
                "total_flos",
                "step",
            ):
                continue
            name = key.replace("eval_", "eval/", 1) if key.startswith("eval_") else f"train/{key}"
            assert (entry["step"], name, value) in found
    assert [step for step, key, _ in found if key == "train/global_step"] == [1, 2, 3, 3, 3]
    assert (3, "test/loss", predicted["test_loss"]) in found
    assert run.status == "finished"


def test_no_thread_stays_after_train_and_evaluate(tmp_path: Path) -> None:
    args, state, control = arguments(tmp_path), TrainerState(), TrainerControl()
    events = CallbackHandler([TrackioCallback()], Model(), None, None, None)
    events.on_train_begin(args, state, control)
    events.on_train_end(args, state, control)
    events.on_log(args, state, control, {"eval_loss": 0.25})
    names = {thread.name for thread in threading.enumerate()}
    # transformers 5.15 and later begin the run again for this, and then it is simply running.
    assert ("trackio-flush" in names) == (trackio.context_vars.current_run.get() is not None)
    assert [value for _, key, value in only_run().points() if key == "eval/loss"] == [0.25]


def test_profiling(tmp_path: Path) -> None:
    context = getattr(profiling, "ProfilingContext", None)
    trainer = SimpleNamespace(
        args=SimpleNamespace(report_to=["trackio"]),
        state=SimpleNamespace(global_step=5),
        accelerator=SimpleNamespace(is_main_process=True),
        is_world_process_zero=lambda: True,
    )
    # Before any init, as in `trainer.evaluate()`, and after it.
    for _ in range(2):
        if context is not None:
            with context("work", ["trackio"], is_main_process=True, step=5):
                pass
        else:
            with profiling.profiling_context(trainer, "work"):
                pass
        trackio.init("p", "n")
    trackio.finish()
    found = [(step, key, type(value)) for step, key, value in trackio.Api().run("p", "n").points()]
    if hasattr(profiling, "trackio"):
        assert found == [(5, "profiling/Time taken: work", float)] * 2
    else:
        assert found == [], "this release profiles to wandb and MLflow only"


def test_tables_as_grpo_makes_them() -> None:
    trackio.init("p", "n")
    trackio.log({"train/loss": 0.5, "train/global_step": 4})
    frame = pandas.DataFrame(
        {
            "step": [4, 4],
            "prompt": ["a", [{"role": "user"}]],
            "reward": [0.5, math.nan],
            "advantage": [-0.0, 1.0],
        }
    )
    trackio.log({"completions": trackio.Table(dataframe=frame)})
    trackio.finish()
    ((step, key, table),) = trackio.Api().run("p", "n").tables()
    assert (step, key, table.columns) == (4, "completions", ["step", "prompt", "reward", "advantage"])
    assert repr(table.rows) == "[[4, 'a', 0.5, -0.0], [4, [{'role': 'user'}], nan, 1.0]]"


def test_traces_from_a_thread_under_a_copied_context() -> None:
    trackio.init("p", "n")
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]
    payload = {"rollouts": [trackio.Trace(messages=messages, metadata={"reward": 1.0})]}
    context = contextvars.copy_context()
    thread = threading.Thread(target=lambda: context.run(trackio.log, payload, step=9), daemon=True)
    thread.start()
    thread.join()
    ((step, key, (trace,)),) = trackio.Api().run("p", "n").media()
    assert (step, key, trace.messages, trace.metadata) == (9, "rollouts", messages, {"reward": 1.0})


def test_the_model_card_s_link() -> None:
    import trl.trainer.utils as utils

    if hasattr(utils, "get_trackio_space_url"):
        assert utils.get_trackio_space_url() is None
        trackio.init("p", "n")
        assert utils.get_trackio_space_url() is None, "the run is in no Space"
    run = trackio.init("p", "n")
    current = trackio.context_vars.current_run.get()
    assert current is run and (current._space_id, current.project, current.name) == (None, "p", "n")


def test_tensors() -> None:
    grad = torch.tensor([[1.5, math.nan]], requires_grad=True)
    payload = {
        "scalar": torch.tensor(0.1),
        "double": torch.tensor(0.1, dtype=torch.float64),
        "int": torch.tensor(3),
        "bool": torch.tensor(True),
        "half": torch.tensor(0.1, dtype=torch.bfloat16, requires_grad=True),
        "one": torch.tensor([2.0]),
        "grad": grad * 2,
        "parameter": torch.nn.Parameter(torch.eye(2)),
        "bfloat16": torch.tensor([1.0, -2.5, math.inf]).to(torch.bfloat16),
        "bools": torch.tensor([True, False]),
        "complex": torch.tensor([1 + 2j]).conj(),
        "slice": torch.arange(6).reshape(2, 3).t(),
        "sparse": torch.eye(2).to_sparse(),
        "empty": torch.zeros(0, 3),
        "meta": torch.empty(2, 3, device="meta"),
        "quantised": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        "dtype": torch.bfloat16,
        "module": torch.nn.Linear(1, 1),
    }
    run = trackio.init("p", "n")
    run.log(payload, step=torch.tensor(4))
    assert run.health()["dropped"] == 0
    points = list(only_run().points())
    assert {step for step, *_ in points} == {4} and [key for _, key, _ in points] == list(payload)
    found = {key: value for _, key, value in points}
    plain = {
        "scalar": payload["scalar"].item(),
        "double": 0.1,
        "int": 3,
        "bool": True,
        "half": payload["half"].item(),
    }
    assert all(same(found[key], value) for key, value in plain.items())
    for key in ("one", "grad", "parameter", "bfloat16", "bools", "complex", "slice", "sparse", "empty"):
        tensor = payload[key].detach().to_dense() if key == "sparse" else payload[key].detach()
        assert (found[key].dtype, found[key].shape) == (str(tensor.dtype)[6:], tuple(tensor.shape)), key
        assert repr(found[key].tolist()) == repr(tensor.tolist()), key
    assert found["meta"] == trackio.Marker("meta", "torch.float32", {"shape": [2, 3]})
    assert found["dtype"] == trackio.Marker("repr", "torch.dtype", "torch.bfloat16")
    assert [found[key].kind for key in ("quantised", "module")] == ["repr", "repr"]


def test_a_real_peft_config() -> None:
    import peft

    trackio.init("p", "n")
    config = {"default": peft.LoraConfig(r=8, target_modules=["q", "v"])}
    trackio.config.update({"peft_config": config}, allow_val_change=True)
    found = only_run().config["peft_config"]["default"]
    assert (found.kind, found.type) == ("object", "peft.tuners.lora.config.LoraConfig")
    assert found.value["r"] == 8 and found.value["target_modules"] == {"q", "v"}


def test_accelerate(tmp_path: Path) -> None:
    accelerator = accelerate.Accelerator(log_with="trackio", cpu=True)
    accelerator.init_trackers("p", config={"lr": 0.1, "layers": None}, init_kwargs={"trackio": {"name": "n"}})
    accelerator.log(dict(ODD), step=3)
    accelerator.log({"a": 1})
    run = accelerator.get_tracker("trackio", unwrap=True)
    assert isinstance(run, trackio.Run) and str(run) == run.id
    accelerator.end_training()
    assert run.health()["dropped"] == 0

    stored = only_run()
    assert (stored.project, stored.name, stored.status) == ("p", "n", "finished")
    assert stored.config == {"lr": 0.1, "layers": None}
    # accelerate 1.11 takes the step and drops it; by 1.15 it passes it on.
    passes = "step=step" in inspect.getsource(accelerate.tracking.TrackioTracker.log)
    step = 3 if passes else None
    found = list(stored.points())
    assert [point[:2] for point in found] == [(step, key) for key in [*ODD, "a"]]
    assert all(same(point[2], value) for point, value in zip(found, [*ODD.values(), 1], strict=True))


def test_accelerate_names_only_the_project() -> None:
    for _ in range(2):
        accelerator = accelerate.Accelerator(log_with="trackio", cpu=True)
        accelerator.init_trackers("p")
        accelerator.log({"a": 1}, step=None)
        accelerator.end_training()
        accelerate.state.AcceleratorState._reset_state(True)
    assert [[value for *_, value in run.points()] for run in trackio.Api().runs("p")] == [[1], [1]]
