"""What this tracker grew from: a `trackio` module whose faults were measured. One test for each of them, and
one for each function that the origin required of a tracker.

The origin's own "compatibility tests" passed where no tracker was installed. The last test here calls all the
others with an empty module in the tracker's place, and each must fail. Without transformers this file is not
collected (conftest.py).
"""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import accelerate
import pytest
import torch
import transformers

import trackio
import trackio.monitor
import trackio.settings
from trackio.flush import FLUSHER

Python = Callable[..., "subprocess.Popen[str]"]
VARIABLES = ("EXPERIMENT_NAME", "TRACKIO_URL", "TRACKIO_TOKEN", "HF_TOKEN", "TRACKIO_DATASET_REPO")


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in (*VARIABLES, "MONITORING_MODE", "RANK"):
        monkeypatch.delenv(name, raising=False)
    yield
    accelerate.state.AcceleratorState._reset_state(True)


def points(name: str = "n", project: str = "p") -> list[tuple[Any, str, Any]]:
    return list(trackio.Api().run(project, name).points())


def ended(process: subprocess.Popen[str]) -> str:
    """Wait for a process that must end well, and return what it printed."""
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out + err


# -- the measured faults -----------------------------------------------------------------------------------


def test_project_and_name_are_honoured() -> None:
    """`init` ignored `project=` and `name=`."""
    trackio.init(project="p", name="n")
    trackio.log({"a": 1}, step=1)
    trackio.finish()
    assert trackio.Api().projects() == ["p"] and [run.name for run in trackio.Api().runs("p")] == ["n"]
    assert points() == [(1, "a", 1)]


def test_init_returns_something_to_log_with() -> None:
    """`init` returned a string, so accelerate's `run.log` failed."""
    accelerator = accelerate.Accelerator(log_with="trackio", cpu=True)
    accelerator.init_trackers("p", config={"lr": 0.1}, init_kwargs={"trackio": {"name": "n"}})
    accelerator.log({"a": 1})
    assert isinstance(accelerator.get_tracker("trackio", unwrap=True), trackio.Run)
    accelerator.end_training()
    assert [(key, value) for _, key, value in points()] == [("a", 1)]


def test_a_flush_writes_what_is_new_and_nothing_else(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each flush read and wrote the whole data set again: 1,000 logs in 100 flushes cost 47 MB."""
    written: list[int] = []
    write = os.write

    def counting(fd: int, data: Any) -> int:
        written.append(write(fd, data))
        return written[-1]

    trackio.init("p", "n")
    (journal,) = store.rglob("w-*.jsonl")
    before, inode = journal.read_bytes(), journal.stat().st_ino
    monkeypatch.setattr(os, "write", counting)
    flushes = []
    for flush in range(100):
        for step in range(10 * flush, 10 * flush + 10):
            trackio.log({"loss": 0.123456789, "step": step}, step=step)
        FLUSHER.sync()
        flushes.append(sum(written))
        written.clear()
        after = journal.read_bytes()
        assert after.startswith(before) and len(after) - len(before) == flushes[-1]
        before = after
    assert journal.stat().st_ino == inode and max(flushes) < 1.2 * min(flushes)
    assert {path for path in store.rglob("*") if path.is_file() and path.suffix == ".jsonl"} == {journal}
    assert len(points()) == 2000


def test_four_runs_at_a_time_keep_all_their_entries(python: Python) -> None:
    """Four concurrent runs kept 100 of 240 entries: each flush wrote over the others'."""
    code = (
        "import trackio; trackio.init('p', '{}')\n"
        "while len(trackio.Api().runs('p')) < 4: pass\n"
        "for i in range(60): trackio.log({{'i': i}}, step=i)"
    )
    children = [python(code.format(name)) for name in "abcd"]
    for child in children:
        ended(child)
    kept = [points(name) for name in "abcd"]
    assert kept == [[(i, "i", i) for i in range(60)]] * 4


def test_an_outage_is_counted_and_what_follows_is_kept(python: Python) -> None:
    """One outage lost its window for good, without a word. Here a full disk: files cannot grow."""
    code = """
import glob, os, resource, trackio
run = trackio.init('p', 'n')
trackio.log({'i': 0}, step=0)
size = max(os.path.getsize(path) for path in glob.glob(run.folder + '/w-*'))
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 30, limits[1]))
for i in range(1, 6): trackio.log({'i': i}, step=i)
resource.setrlimit(resource.RLIMIT_FSIZE, limits)
for i in range(6, 9): trackio.log({'i': i}, step=i)
print(run.health()['dropped'], run.health()['written'], run.health()['last_error'])
"""
    said = ended(python(code))
    assert said.startswith("5 4 OSError") and "5 of 9 calls were not kept" in said
    run = trackio.Api().run("p", "n")
    assert list(run.points()) == [(i, "i", i) for i in (0, 6, 7, 8)]
    assert (run.damage.missing, run.damage.lines, run.status) == (5, [], "finished")


def test_a_store_that_is_not_there_for_a_while_loses_nothing(store: Path) -> None:
    """The same outage of the whole folder: the journal is open, and its folder comes back under its name."""
    trackio.init("p", "n")
    for i in range(3):
        trackio.log({"i": i}, step=i)
        if i == 0:
            store.rename(store.with_name("away"))
        if i == 1:
            store.with_name("away").rename(store)
    trackio.finish()
    assert points() == [(i, "i", i) for i in range(3)]


def test_records_of_equal_or_no_step_stay_apart() -> None:
    """Records with an equal step, or with none, collapsed into one."""
    trackio.init("p", "n")
    for value in (1, 1, 2):
        trackio.log({"a": value})
    for value in (3, 3, 4):
        trackio.log({"a": value}, step=7)
    assert points() == [
        *((None, "a", value) for value in (1, 1, 2)),
        *((7, "a", value) for value in (3, 3, 4)),
    ]


def test_tensors_are_numbers() -> None:
    """A tensor was stored as the text "tensor(1.5)"."""
    trackio.init("p", "n")
    trackio.log({"a": torch.tensor(1.5, requires_grad=True), "b": torch.tensor(3)}, step=torch.tensor(2))
    assert points() == [(2, "a", 1.5), (2, "b", 3)]
    assert [type(value) for *_, value in points()] == [float, int]


def test_the_trainer_s_logs_are_left_alone() -> None:
    """The trainer's own dict of logs was changed, so the callbacks behind saw something else."""
    logs = {"loss": 1.0, "nested": {"a": [1]}}
    trackio.init("p", "n")
    trackio.log(logs, step=4)
    with trackio.monitor.SmolLM3Monitor("m", "p") as monitor:
        monitor.log_metrics(logs, step=4)
        monitor.log_evaluation_results(logs, step=4)
        hook = monitor.create_monitoring_callback()
        state = transformers.TrainerState(global_step=4)
        hook.on_log(types.SimpleNamespace(to_dict=dict), state, None, logs=logs)
    assert logs == {"loss": 1.0, "nested": {"a": [1]}}
    assert points()[0] == points("m")[0] == (4, "loss", 1.0)


def test_no_rank_writes_into_the_working_directory(python: Python, tmp_path: Path) -> None:
    """Files were written into the working directory by every rank."""
    code = (
        "from trackio.monitor import SmolLM3Monitor as M; import trackio\n"
        "with M('n', 'p') as m: m.log_metrics({'a': 1}, step=1); m.log_configuration({'a': 1})\n"
        "with M('n', 'p') as m: m.log_training_summary({'a': 1})\n"
        "trackio.log({'b': 1}); trackio.finish()"
    )
    children = [python(code, RANK=rank, LOCAL_RANK=rank, WORLD_SIZE="2") for rank in "01"]
    for child in children:
        ended(child)
    assert list((tmp_path / "work").iterdir()) == []
    assert sorted(key for _, key, _ in points()) == ["a", "a", "b", "b", "summary/a", "summary/a"]


def test_logging_samples_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call of log sampled the GPU and the processors."""
    asked: list[tuple[str, str]] = []

    class Spy(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            if not name.startswith("__") and threading.current_thread() is threading.main_thread():
                asked.append((self.__name__, name))
            raise AttributeError(name)

    for name in ("pynvml", "psutil"):
        monkeypatch.setitem(sys.modules, name, Spy(name))
    monkeypatch.setattr(subprocess.Popen, "__init__", lambda *given, **_: asked.append(("Popen", str(given))))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: asked.append(("torch", "cuda")))
    trackio.init("p", "n")
    for step in range(100):
        trackio.log({"loss": 0.5}, step=step)
    assert asked == [] and [key for _, key, _ in points()] == ["loss"] * 100


# -- what the origin required ------------------------------------------------------------------------------


def test_init_with_and_without_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """`init(project_name=None, experiment_name=None, **kwargs) -> str`"""
    run = trackio.init()
    assert str(run) == run.id != "" and run.project == "huggingface"
    named = trackio.init("p", experiment_name="n", some_keyword=1)
    assert (named.project, named.name) == ("p", "n")
    assert trackio.init(project_name="p", experiment_name="n") is named
    monkeypatch.setenv("EXPERIMENT_NAME", "e")
    assert trackio.init().name == "e"


def test_log_takes_any_metrics_a_step_and_keywords() -> None:
    """`log(metrics, step=None, **kwargs)`"""
    trackio.init("p", "n")
    trackio.log({"loss": 0.5, "none": None, "text": "x", "list": [1]}, step=3, commit=True)
    trackio.log({"loss": 0.25})
    assert points() == [
        (3, "loss", 0.5),
        (3, "none", None),
        (3, "text", "x"),
        (3, "list", [1]),
        (3, "loss", 0.25),
    ]


def test_finish_closes_the_run() -> None:
    """`finish()`"""
    trackio.init("p", "n")
    trackio.log({"a": 1})
    trackio.finish()
    trackio.finish()
    assert trackio.Api().run("p", "n").status == "finished"


def test_config_is_updated_by_dict_keywords_and_attributes() -> None:
    """`config.update(dict=None, **kwargs)`, `allow_val_change`, attributes at run time"""
    trackio.init("p", "n")
    trackio.config.update({"lr": 0.1}, allow_val_change=True)
    trackio.config.update(seed=1, allow_val_change=True)
    trackio.config.late = 2
    trackio.log_config({"more": 3})
    expected = {"lr": 0.1, "seed": 1, "late": 2, "more": 3}
    assert trackio.Api().run("p", "n").config == dict(trackio.config) == expected
    assert trackio.config.late == 2 and trackio.config.get("lr") == 0.1


def test_config_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`TrackioConfig()`: environment, defaults for all fields"""
    fields = ["experiment_name", "trackio_url", "trackio_token", "hf_token", "dataset_repo"]
    kind = trackio.settings.TrackioConfig
    assert [getattr(kind(), field) for field in fields] == [None] * 5
    for name in VARIABLES:
        monkeypatch.setenv(name, name.lower())
    monkeypatch.setenv("MONITORING_MODE", "dataset")
    assert [getattr(kind(), field) for field in fields] == [name.lower() for name in VARIABLES]
    assert [getattr(trackio.config, field) for field in fields] == [name.lower() for name in VARIABLES]
    assert kind().monitoring_mode == trackio.config.monitoring_mode == "dataset"


def test_the_module_is_importable_from_anywhere(python: Python) -> None:
    """Global module access: TRL imports `trackio` directly."""
    names = "init log finish config log_config get_experiment_url is_available"
    code = (
        f"import trackio; trackio.init('p', 'n'); print([n for n in {names.split()} if hasattr(trackio, n)])"
    )
    assert ended(python(code)).strip() == str(names.split()) and points() == []


def test_training_goes_on_where_nothing_can_be_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    """Error handling: training continues where the tracker is unavailable, and it is told."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "file" / "store"))
    run = trackio.init("p", "n")
    trackio.log({"a": 1})
    trackio.finish()
    assert run.health()["dropped"] == 1 and "1 of 1 calls were not kept" in capsys.readouterr().err


def test_checkpoints_evaluations_and_the_rest_of_the_names(tmp_path: Path) -> None:
    """`log_checkpoint`, `log_evaluation_results`, `get_experiment_url`, `is_available`, `get_monitor`"""
    assert trackio.is_available() and trackio.get_experiment_url() is None
    run = trackio.init("p", "n")
    (tmp_path / "model.bin").write_bytes(b"weights")
    trackio.monitor.log_checkpoint(tmp_path / "model.bin", step=2)
    trackio.monitor.log_evaluation_results({"accuracy": 0.5}, step=2)
    monitor = trackio.monitor.get_monitor()
    assert monitor is not None and monitor.run is run
    assert monitor.get_experiment_url() == trackio.get_experiment_url() == Path(str(run.folder)).as_uri()
    trackio.finish()
    (artifact,) = trackio.Api().run("p", "n").artifacts()
    assert artifact.file("model.bin").read() == b"weights"
    assert points() == [(2, "eval/accuracy", 0.5)]


def test_a_trainer_is_followed_from_init_to_finish(tmp_path: Path) -> None:
    """`init` before the trainer is made, `log` while it trains, `finish` after; DPO and others the same."""

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"loss": ((self.layer(x) - labels) ** 2).mean()}

    trackio.init("p", "n")
    trackio.config.update({"stage": "sft"}, allow_val_change=True)
    monitor = trackio.monitor.get_monitor()
    args = transformers.TrainingArguments(
        str(tmp_path / "out"), max_steps=2, logging_steps=1, report_to=[], use_cpu=True, disable_tqdm=True
    )
    data = [{"x": torch.ones(1), "labels": torch.ones(1)}] * 4
    trainer = transformers.Trainer(
        Model(), args, train_dataset=data, callbacks=[monitor.create_monitoring_callback()]
    )
    trainer.train()
    trackio.finish()
    run = trackio.Api().run("p", "n")
    losses = [
        (entry["step"], "loss", entry["loss"]) for entry in trainer.state.log_history if "loss" in entry
    ]
    assert [point for point in run.points() if point[1] == "loss"] == losses != []
    assert run.config["stage"] == "sft" and run.config["max_steps"] == 2 and run.status == "finished"


# -- the tests themselves ----------------------------------------------------------------------------------

HERE = {name: check for name, check in globals().items() if name.startswith("test_")}


@pytest.mark.parametrize("name", HERE)
def test_none_of_this_passes_without_a_tracker(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The origin's compatibility tests passed with no tracker installed."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "trackio.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "empty"))
    given = {wanted: request.getfixturevalue(wanted) for wanted in inspect.signature(HERE[name]).parameters}
    empty = types.ModuleType("trackio")
    monkeypatch.setitem(sys.modules, "trackio", empty)
    monkeypatch.setitem(globals(), "trackio", empty)
    with pytest.raises((AttributeError, AssertionError)):
        HERE[name](**given)
