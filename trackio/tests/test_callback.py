"""The callback under the real Trainer, and its hooks by hand; TRL's trainers are in test_callback_trl.py.
Without transformers this file is not collected (conftest.py).
"""

from __future__ import annotations

import copy
import inspect
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from transformers.trainer_callback import CallbackHandler, DefaultFlowCallback, TrainerControl, TrainerState

import trackio
from trackio import callback, settings
from trackio.monitor import SmolLM3Monitor


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in (*settings.VARIABLES.values(), "RANK"):
        monkeypatch.delenv(name, raising=False)
    # What a trainer cannot be told otherwise: the hub is not there.
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TRACKIO_STRICT", "1")
    yield


class Model(torch.nn.Module):
    """The smallest thing Trainer can train; what it is given are its tokens."""

    main_input_name = "x"

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.config = SimpleNamespace(to_dict=lambda: {"model_type": "line", "seed": "the model's"})

    def num_parameters(self, exclude_embeddings: bool = False) -> int:
        return 2

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        out = self.layer(x)
        return {"loss": ((out - labels) ** 2).mean(), "logits": out}


ROWS = [{"x": torch.tensor([float(i)]), "labels": torch.tensor([2.0 * i])} for i in range(16)]


def arguments(folder: Path, kind: Any = transformers.TrainingArguments, **more: Any) -> Any:
    common = {
        "output_dir": str(folder / "out"),
        "report_to": [],
        "logging_steps": 1,
        "save_strategy": "no",
        "use_cpu": True,
        "disable_tqdm": True,
        "max_steps": 3,
        "per_device_train_batch_size": 2,
        "per_device_eval_batch_size": 2,
    }
    return kind(**{**common, **more})


def trainer(args: Any, hook: Any, model: Any = None) -> Any:
    return transformers.Trainer(
        model or Model(), args, train_dataset=ROWS, eval_dataset=ROWS[:2], callbacks=[hook]
    )


def stored(name: str = "e") -> Any:
    return trackio.Api().run("huggingface", name)


def split(name: str = "e") -> tuple[list[tuple[Any, str, Any]], dict[str, list[tuple[Any, Any]]]]:
    """Return the points that the trainer logged, and those that the callback measured, by key."""
    logged, measured = [], {}
    for step, key, value in stored(name).points():
        if key.startswith("monitor/"):
            measured.setdefault(key.removeprefix("monitor/"), []).append((step, value))
        else:
            logged.append((step, key, value))
    return logged, measured


def history(*states: Any) -> list[tuple[Any, str, Any]]:
    """Return what trainers say they logged, as points."""
    return [
        (entry["step"], key, value)
        for state in states
        for entry in state.log_history
        for key, value in entry.items()
        if key != "step"
    ]


def same(found: list[tuple[Any, str, Any]], expected: list[tuple[Any, str, Any]]) -> bool:
    return [(step, key, repr(value)) for step, key, value in found] == [
        (step, key, repr(value)) for step, key, value in expected
    ]


# -- the real Trainer --------------------------------------------------------------------------------------


def test_it_is_a_callback_with_the_signatures_of_one() -> None:
    hook = SmolLM3Monitor("e").create_monitoring_callback()
    assert isinstance(hook, transformers.TrainerCallback) and type(hook) is callback.MonitoringCallback
    for name in vars(callback.Hooks):
        if name.startswith("on_"):
            ours = list(inspect.signature(getattr(hook, name)).parameters)
            assert ours[:3] == ["args", "state", "control"] and hasattr(transformers.TrainerCallback, name)


def test_everything_a_trainer_logs_is_kept(tmp_path: Path) -> None:
    with SmolLM3Monitor("e") as monitor:
        subject = trainer(
            arguments(tmp_path, gradient_accumulation_steps=2, eval_strategy="steps", eval_steps=2),
            monitor.create_monitoring_callback(),
        )
        before = subject.evaluate()
        early = copy.deepcopy(subject.state)
        subject.train()
        subject.evaluate()
        predicted = subject.predict(ROWS[:4]).metrics
    logged, measured = split()
    expected = history(early, subject.state)
    assert same(logged[: len(expected)], expected)
    assert {(3, key, value) for key, value in predicted.items()} >= set(logged[len(expected) :]) != set()
    assert logged[0] == (0, "eval_loss", before["eval_loss"])
    assert {step for step, *_ in logged} == {0, 1, 2, 3}
    assert [step for step, _ in measured["step_time"]] == [1, 2, 3], "one per optimiser step"
    assert [step for step, _ in measured["steps_per_second"]] == [1, 2, 3]
    assert set(measured) == {"step_time", "steps_per_second"}, "nobody counted tokens or samples"
    run = stored()
    assert run.status == "finished" and run.config["model_type"] == "line"
    for key, value in subject.args.to_dict().items():
        assert repr(run.config[key]) == repr(value), key
    assert run.config["model/num_parameters"] == 2


def test_tokens_are_those_that_the_trainer_counted(tmp_path: Path) -> None:
    with SmolLM3Monitor("e") as monitor:
        args = arguments(tmp_path, gradient_accumulation_steps=2, include_num_input_tokens_seen=True)
        subject = trainer(args, monitor.create_monitoring_callback())
        subject.train()
    logged, measured = split()
    # Two rows of one number, twice a step.
    counted = [value for _, key, value in logged if key == "num_input_tokens_seen"]
    assert counted[:3] == [4, 8, 12]
    for (_, tokens), (_, steps) in zip(
        measured["tokens_per_second"], measured["steps_per_second"], strict=True
    ):
        assert math.isclose(tokens, 4 * steps)
    assert same(logged, history(subject.state))
    assert "num_input_tokens_seen" not in measured, "it is in the logs already"


def test_a_resumed_training_goes_on_where_it_was(tmp_path: Path) -> None:
    with SmolLM3Monitor("e") as monitor:
        hook = monitor.create_monitoring_callback()
        more = {"save_strategy": "steps", "save_steps": 2, "include_num_input_tokens_seen": True}
        first = trainer(arguments(tmp_path, max_steps=2, **more), hook)
        first.train()
        second = trainer(arguments(tmp_path, max_steps=4, **more), hook)
        second.train(resume_from_checkpoint=True)
    logged, measured = split()
    assert [step for step, key, _ in logged if key == "loss"] == [1, 2, 3, 4]
    seen = [value for _, key, value in logged if key == "num_input_tokens_seen"]
    assert max(seen) == 8
    pairs = list(zip(measured["tokens_per_second"], measured["steps_per_second"], strict=True))
    assert [step for (step, _), _ in pairs] == [1, 2, 3, 4]
    assert all(math.isclose(tokens, 2 * steps) for (_, tokens), (_, steps) in pairs), "from before the resume"
    assert [artifact.aliases[0] for artifact in stored().artifacts()] == ["step-2", "step-4"]


def test_checkpoints_are_artifacts_if_wanted(tmp_path: Path) -> None:
    for name, wanted in (("e", True), ("f", False)):
        with SmolLM3Monitor(name, log_artifacts=wanted) as monitor:
            args = arguments(tmp_path / name, max_steps=2, save_strategy="steps", save_steps=1)
            trainer(args, monitor.create_monitoring_callback()).train()
    assert list(stored("f").artifacts()) == []
    first, second = stored("e").artifacts()
    for artifact, step in ((first, 1), (second, 2)):
        folder = tmp_path / "e" / "out" / f"checkpoint-{step}"
        files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
        assert {file.path for file in artifact.files()} == set(files) and "trainer_state.json" in files
        assert all(artifact.file(name).read() == path.read_bytes() for name, path in files.items())


def test_several_trainers_one_after_another(tmp_path: Path) -> None:
    with SmolLM3Monitor("e") as monitor:
        hook = monitor.create_monitoring_callback()
        first = trainer(arguments(tmp_path, max_steps=2), hook)
        second = trainer(arguments(tmp_path, max_steps=3, learning_rate=0.5), hook)
        first.train()
        second.train()
        first.train()
    logged, measured = split()
    states = [step for step, key, _ in logged if key == "loss"]
    assert states == [1, 2, 1, 2, 3, 1, 2]
    assert [step for step, _ in measured["steps_per_second"]] == states
    changes = [value for _, _, kind, _, body in stored().records() if kind == "cfg" for value in [body]]
    rates = [body["learning_rate"] for body in changes if "learning_rate" in body]
    assert rates == [5e-05, 0.5, 5e-05]


def test_a_tracker_that_cannot_write_does_not_stop_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.delenv("TRACKIO_STRICT")
    obstacle = tmp_path / "file"
    obstacle.write_text("")
    monkeypatch.setenv("TRACKIO_DIR", str(obstacle / "store"))
    with SmolLM3Monitor("e") as monitor:
        subject = trainer(arguments(tmp_path), monitor.create_monitoring_callback())
        assert subject.train().global_step == 3
        assert monitor.run is not None and monitor.run.health()["dropped"] >= 4
    assert "calls were not kept" in capsys.readouterr().err


def test_mode_none_trains_and_writes_nothing(tmp_path: Path, store: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        hook = SmolLM3Monitor("e", monitoring_mode="none").create_monitoring_callback()
    assert trainer(arguments(tmp_path), hook).train().global_step == 3
    assert not store.exists()


# -- the hooks, by hand ------------------------------------------------------------------------------------


class Clock:
    """Stands in for the module `time` of the callback."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


class Drive:
    """A real CallbackHandler with the callback in it, and a clock that is set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, **kind: Any) -> None:
        self.clock = Clock()
        monkeypatch.setattr(callback, "time", self.clock)
        self.monitor = SmolLM3Monitor("e")
        self.hook = self.monitor.create_monitoring_callback(**kind)
        self.events = CallbackHandler([DefaultFlowCallback, self.hook], Model(), None, None, None)
        self.args, self.state, self.control = arguments(folder), TrainerState(), TrainerControl()

    def __call__(self, event: str, after: float = 0.0, *given: Any, **changes: Any) -> None:
        self.clock.now += after
        for name, value in changes.items():
            setattr(self.state, name, value)
        getattr(self.events, event)(self.args, self.state, self.control, *given)

    def step(self, wait: float, work: float, **changes: Any) -> None:
        self("on_step_begin", wait)
        self("on_step_end", work, global_step=self.state.global_step + 1, **changes)


@pytest.fixture
def drive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Drive:
    return Drive(monkeypatch, tmp_path)


def test_nothing_is_changed_or_steered(drive: Drive) -> None:
    logs = {"loss": 0.1 + 0.2, "none": None, "nan": math.nan, "inf": -math.inf, "text": "NaN", "n": 2**60}
    kept = dict(logs)
    before = copy.deepcopy(drive.control)
    for name in [name for name in vars(callback.Hooks) if name.startswith("on_")]:
        more = {"logs": logs} if name == "on_log" else {"metrics": logs}
        assert getattr(drive.hook, name)(drive.args, drive.state, drive.control, **more) is None
    assert vars(drive.control) == vars(before)
    assert list(map(repr, logs.items())) == list(map(repr, kept.items()))
    found = [(key, repr(value)) for _, key, value in stored().points()]
    assert [pair for pair in found if not pair[0].startswith("monitor/")] == [
        *((key, repr(value)) for key, value in kept.items())
    ] * 2, "once logged and once predicted; what an evaluation logged is not written twice"


def test_time_is_that_of_the_steps(drive: Drive) -> None:
    drive("on_train_begin")
    drive.step(wait=1.0, work=2.0)
    drive.step(wait=0.0, work=5.0)
    drive("on_log", 0.0, {"loss": 1.0})
    drive("on_evaluate", 50.0, {"eval_loss": 1.0})
    drive.step(wait=1.0, work=3.0)
    drive("on_log", 0.0, {"loss": 1.0})
    drive("on_save", 7.0)
    drive.step(wait=0.0, work=1.0)
    drive("on_log", 0.0, {"loss": 1.0})
    drive("on_log", 9.0, {"train_loss": 1.0})
    logged, measured = split()
    assert measured == {
        "step_time": [(2, 3.5), (3, 3.0), (4, 1.0)],
        "step_time_max": [(2, 5.0)],
        "steps_per_second": [(2, 2 / 8), (3, 1 / 4), (4, 1.0)],
    }
    assert (2, "eval_loss", 1.0) in logged, "an evaluation that did not log by itself"


def test_tokens_of_the_state_before_those_of_the_logs(drive: Drive) -> None:
    drive("on_init_end")
    drive("on_train_begin", num_input_tokens_seen=1000)
    # transformers 4.57 counts a first micro-batch before the step begins.
    drive("on_step_begin", 1.0, num_input_tokens_seen=1030)
    drive("on_step_end", 3.0, global_step=1, num_input_tokens_seen=1040)
    drive("on_log", 0.0, {"loss": 1.0, "num_tokens": 4})
    _, measured = split()
    assert measured["tokens_per_second"] == [(1, 10.0)]
    assert measured["num_input_tokens_seen"] == [(1, 1040)]


@pytest.mark.parametrize("new, rates", [(True, [(1, 5.0), (3, 2.5)]), (False, [(3, 2.5)])])
def test_tokens_of_the_logs(drive: Drive, new: bool, rates: list[Any]) -> None:
    if new:
        drive("on_init_end")
    drive("on_train_begin")
    drive.step(0.0, 2.0)
    drive("on_log", 0.0, {"num_tokens": 10.0})
    drive.step(0.0, 2.0)
    drive("on_log", 0.0, {"eval_num_tokens": 10.0, "num_tokens": None})
    drive.step(0.0, 2.0)
    drive("on_log", 0.0, {"num_tokens": 20.0})
    drive.step(0.0, 2.0)
    drive("on_log", 0.0, {"num_tokens": 3.0})
    _, measured = split()
    assert measured["tokens_per_second"] == rates, "unknown before, missing, or fallen: no rate is made up"


def test_samples_are_those_that_ppo_counts(drive: Drive) -> None:
    # TRL 1.0.0, experimental/ppo/ppo_trainer.py: it counts, logs, and then ends the step, with no begin.
    drive("on_train_begin", episode=0)
    for step in (1, 2):
        drive("on_log", 4.0, {"episode": 8 * step}, episode=8 * step)
        drive("on_step_end", 0.0, global_step=step)
    drive("on_log", 4.0, {"episode": 24}, episode=24)
    _, measured = split()
    assert measured == {
        "samples_per_second": [(1, 2.0), (2, 2.0)],
        "steps_per_second": [(1, 0.25), (2, 0.25)],
    }


def test_other_ranks_write_only_if_told(
    drive: Drive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "out" / "checkpoint-0").mkdir(parents=True)
    everybody = Drive(monkeypatch, tmp_path, all_ranks=True)
    monkeypatch.setattr(transformers.TrainingArguments, "process_index", 3)
    for one in (drive, everybody):
        one.state.is_world_process_zero = False
        one("on_train_begin")
        one.step(0.0, 2.0)
        one("on_log", 0.0, {"loss": 0.5})
        one("on_save")
        if one is drive:
            assert {record[2] for record in stored().records()} == {"open", "status"}
    found = list(stored().points())
    assert found[0] == (1, "rank3/loss", 0.5) and (1, "rank3/monitor/step_time", 2.0) in found
    assert all(key.startswith("rank3/") for _, key, _ in found)
    assert list(stored().artifacts()) == [] and stored().config == {}


def test_what_cannot_be_described_is_counted_and_the_rest_is_kept(
    drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRACKIO_STRICT")
    drive.events.model.config = SimpleNamespace(to_dict=lambda: 1 / 0)
    drive("on_train_begin")
    drive("on_save")
    assert stored().config["learning_rate"] == 5e-05 and stored().config["model/num_parameters"] == 2
    assert drive.monitor.run is not None and drive.monitor.run.health()["dropped"] == 1
    drive("on_log", 0.0, 3)
    assert drive.monitor.run.health()["dropped"] == 2, "what is no dict is counted and reaches nobody"
    drive("on_log", 0.0, {"loss": 0.5})
    assert list(stored().points()) == [(0, "loss", 0.5)]
