"""`TrackioConfig` and `SmolLM3Monitor`: the origin's names over the same run. The callback is in
test_callback.py.
"""

from __future__ import annotations

import copy
import importlib.util
import os
import pickle
import subprocess
import sys
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import trackio
from trackio import hub, monitor, settings
from trackio.hub import remote
from trackio.monitor import SmolLM3Monitor
from trackio.settings import TrackioConfig

TOKEN = "hf_secretsecretsecret"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in (*settings.VARIABLES.values(), "RANK", "TRACKIO_SYSTEM"):
        monkeypatch.delenv(name, raising=False)
    monitor.set_monitor(None)
    yield
    monitor.set_monitor(None)


def stored(name: str = "e", project: str = "huggingface") -> Any:
    return trackio.Api().run(project, name)


def points(name: str = "e", project: str = "huggingface") -> list[tuple[Any, str, Any]]:
    return list(stored(name, project).points())


def told(action: Callable[[], Any]) -> list[str]:
    """Return the texts of the warnings that `action` gives."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        action()
    return [str(warning.message) for warning in caught]


# -- settings ----------------------------------------------------------------------------------------------


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    found = TrackioConfig()
    assert dict(found) == {
        "project_name": "huggingface",
        "experiment_name": None,
        "trackio_url": None,
        "trackio_token": None,
        "hf_token": None,
        "dataset_repo": None,
        "monitoring_mode": "trackio",
    }
    monkeypatch.setenv("EXPERIMENT_NAME", "e")
    monkeypatch.setenv("TRACKIO_PROJECT", "p")
    monkeypatch.setenv("TRACKIO_URL", "https://example.org")
    monkeypatch.setenv("TRACKIO_TOKEN", "t")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("TRACKIO_DATASET_REPO", "me/data")
    later = TrackioConfig()
    assert dict(found)["experiment_name"] is None, "read when it was made"
    assert (later.project_name, later.experiment_name, later.trackio_url) == ("p", "e", "https://example.org")
    assert (later.trackio_token, later.hf_token, later.dataset_repo) == ("t", TOKEN, "me/data")
    assert later.monitoring_mode == "both", "there is a dataset to send to"
    monkeypatch.setenv("MONITORING_MODE", "none")
    assert TrackioConfig().monitoring_mode == "none"
    assert TrackioConfig(monitoring_mode="dataset", experiment_name=None).monitoring_mode == "dataset"
    assert TrackioConfig({"experiment_name": "f"}).experiment_name == "f", "what is given wins"


def test_settings_are_a_mapping_with_attributes() -> None:
    found = TrackioConfig()
    found.update({"experiment_name": "a", "extra": [1]}, allow_val_change=True)
    found.update(dataset_repo="me/data", allow_val_change=False)
    found["project_name"], found.late = "p", 2
    assert (found.experiment_name, found["extra"], found.get("late"), found.get("none", 3)) == (
        "a",
        [1],
        2,
        3,
    )
    assert "dataset_repo" in found and "allow_val_change" not in found
    assert list(found) == [*settings.VARIABLES, "extra", "late"] and len(found) == 9
    for twin in (copy.copy(found), copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert dict(twin) == dict(found) and twin.monitoring_mode == "both"
    with pytest.raises(AttributeError, match="nonsense"):
        _ = found.nonsense


def test_a_wrong_mode_names_the_four(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "'both', 'dataset', 'trackio', 'none'"
    for wrong in (
        lambda: TrackioConfig(monitoring_mode="all"),
        lambda: TrackioConfig().update(monitoring_mode=""),
        lambda: setattr(TrackioConfig(), "monitoring_mode", 3),
        lambda: SmolLM3Monitor("e", monitoring_mode="hub"),
    ):
        with pytest.raises(ValueError, match=text):
            wrong()
    monkeypatch.setenv("MONITORING_MODE", "everything")
    with pytest.raises(ValueError, match="'everything'"):
        TrackioConfig()
    assert trackio.config.hf_token is None, "the other fields can be read all the same"
    assert trackio.Api().projects() == []


def test_tokens_are_used_and_not_shown(store: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    found = TrackioConfig(trackio_token="tr_" + TOKEN)
    assert f"Bearer {found.hf_token}" == f"Bearer {TOKEN}"
    assert repr(found).count("'***'") == 2
    with SmolLM3Monitor("e", trackio_token="tr_" + TOKEN) as one:
        print(found, dict(found), one, one.settings, trackio.config.hf_token.__repr__())
        one.log_configuration({"hf_token": TOKEN, "deep": [{"args": {"token": TOKEN}}], "eos_token": "</s>"})
        one.log_configuration(found)
        one.log_configuration(Namespace(trackio_token="tr_" + TOKEN))
        one.log_metrics({"settings": found, "one": found.hf_token, "cell": [found.trackio_token]}, step=1)
        one.log_metrics({"table": trackio.Table(columns=["t"], data=[[found.hf_token]])}, step=1)
        trackio.config.update(found)
        trackio.config["again"] = found.hf_token
    assert stored().config["eos_token"] == "</s>" and stored().config["hf_token"] == "***"
    assert stored().config["deep"] == [{"args": {"token": "***"}}]
    assert points()[1] == (1, "one", "***")
    for path in store.rglob("*"):
        assert path.is_dir() or TOKEN.encode() not in path.read_bytes()
    out, err = capfd.readouterr()
    assert TOKEN not in out + err and "***" in out


def test_the_run_s_configuration_shows_the_settings_and_does_not_hold_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRACKIO_DATASET_REPO", "me/data")
    monkeypatch.setenv("EXPERIMENT_NAME", "e")
    assert (trackio.config.project_name, trackio.config.experiment_name) == ("huggingface", "e")
    assert trackio.config.dataset_repo == "me/data" and trackio.config.monitoring_mode == "both"
    first = trackio.init("p", "n")
    assert (trackio.config.project_name, trackio.config.experiment_name) == ("p", "n")
    assert len(trackio.config) == 0 and "dataset_repo" not in trackio.config
    assert (
        trackio.config.get("dataset_repo") is None and dict(trackio.config) == stored("n", "p").config == {}
    )
    trackio.config.dataset_repo = "a key"
    assert trackio.config.dataset_repo == "a key" and dict(trackio.config) == {"dataset_repo": "a key"}
    trackio.init("p", "m")
    assert trackio.config.dataset_repo == "me/data" and first.config.dataset_repo == "a key"
    with pytest.raises(AttributeError):
        _ = first.config.project_name


@pytest.mark.parametrize("resume", [None, "allow"])
def test_init_without_a_name_takes_the_settings(resume: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPERIMENT_NAME", "e")
    trackio.log({"early": 1})
    assert trackio.init(resume=resume).name == "e" and points() == [(None, "early", 1)]
    trackio.finish()
    assert trackio.init("huggingface", "other").name == "other"


# -- the monitor -------------------------------------------------------------------------------------------


def test_every_method_reaches_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint-7"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(b"\0\1")
    given = {"loss": 0.1 + 0.2, "nan": float("nan"), "none": None}
    one = SmolLM3Monitor("e", "p")
    assert isinstance(one.run, trackio.Run) and trackio.context_vars.current_run.get() is one.run
    one.log_configuration({"lr": 1e-4, "layers": None})
    one.log_configuration(Namespace(seed=1))
    one.log_metrics(given, step=3)
    one.log_metrics({"loss": 0.5})
    one.log_model_checkpoint(str(folder), step=7)
    one.log_evaluation_results({"accuracy": 0.5}, step=4)
    one.log_training_summary({"total_steps": 7, "summary": "done"})
    assert list(given) == ["loss", "nan", "none"], "the caller's dict was changed"
    assert one.get_experiment_url() == Path(str(one.run.folder)).as_uri()
    one.close()

    run = stored("e", "p")
    assert run.config == {"lr": 1e-4, "layers": None, "seed": 1}
    assert [point[:2] for point in run.points()] == [
        *((3, key) for key in given),
        (3, "loss"),
        (4, "eval/accuracy"),
        (4, "summary/total_steps"),
        (4, "summary/summary"),
    ]
    assert [repr(value) for *_, value in run.points()] == [
        *map(repr, given.values()),
        "0.5",
        "0.5",
        "7",
        "'done'",
    ]
    (artifact,) = run.artifacts()
    assert artifact.type == "model" and artifact.file("weights.bin").read() == b"\0\1"
    assert run.status == "finished" and one.run.health()["dropped"] == 0


def test_a_reading_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trackio.system.sample", lambda: {"memory/percent": 50.0})
    with SmolLM3Monitor("e") as one:
        one.log_system_metrics()
        one.log_system_metrics(step=4)
    found = [(key, value) for _, key, value in stored().system()]
    assert found == [("memory/percent", 50.0), ("memory/percent", 50.0), ("global_step", 4)]
    assert points() == []


def test_a_real_reading_of_the_system() -> None:
    with SmolLM3Monitor("e") as one:
        one.log_system_metrics(step=1)
    keys = [key for _, key, _ in stored().system()]
    assert keys[-1] == "global_step"
    assert ("memory/percent" in keys) == (importlib.util.find_spec("psutil") is not None)


@pytest.mark.parametrize(
    "results, keys",
    [
        ({"accuracy": 1, "loss_mean": 2}, ["eval/accuracy", "eval/loss_mean"]),
        ({"eval_loss": 1, "eval/f1": 2, "mmlu/acc": 3, "test_loss": 4}, None),
        ({"f1": 1, "eval/f1": 2}, None),
        ({}, None),
    ],
)
def test_evaluation_keys_keep_what_prefix_they_have(results: dict[str, int], keys: list[str] | None) -> None:
    with SmolLM3Monitor("e") as one:
        one.log_evaluation_results(results, step=1)
        monitor.log_evaluation_results(results, step=2)
    expected = list(zip(keys or results, results.values(), strict=True))
    assert points() == [(step, key, value) for step in (1, 2) for key, value in expected]


@pytest.mark.parametrize(
    "said, status",
    [("completed", "finished"), ("finished", "finished"), ("failed", "failed"), ("error", "failed")],
)
def test_the_final_status(said: str, status: str) -> None:
    one = SmolLM3Monitor("e")
    one.close(said)
    one.close("completed")
    assert stored().status == status
    one.log_metrics({"late": 1}, step=1)
    assert stored().status == "running" and points() == [(1, "late", 1)]
    one.close(said)
    assert stored().status == status


def test_a_context_that_raises_has_failed() -> None:
    with pytest.raises(KeyboardInterrupt), SmolLM3Monitor("e"):
        raise KeyboardInterrupt
    with SmolLM3Monitor("f"):
        pass
    assert (stored("e").status, stored("f").status) == ("failed", "finished")


def test_mode_none_records_nothing_and_says_so_once(store: Path, tmp_path: Path) -> None:
    def use() -> None:
        for kind in ({"monitoring_mode": "none"}, {"enable_tracking": False}):
            with SmolLM3Monitor("e", **kind) as one:
                one.log_configuration({"a": 1})
                one.log_metrics({"a": 1}, step=1)
                one.log_evaluation_results({"a": 1})
                one.log_system_metrics()
                one.log_training_summary({"a": 1})
                one.log_model_checkpoint(tmp_path / "missing")
                assert one.run is None and one.get_experiment_url() is None
                monitor.set_monitor(one)

    (text,) = told(use)
    assert "nothing is recorded" in text
    assert not store.exists() and trackio.context_vars.current_run.get() is None


@pytest.mark.parametrize("mode", ["dataset", "both"])
def test_without_a_token_a_dataset_gets_nothing_and_the_folder_everything(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (hub, remote):
        monkeypatch.setattr(module, "token", lambda: None)

    def use() -> None:
        for name in ("e", "f"):
            with SmolLM3Monitor(name, dataset_repo="me/data", monitoring_mode=mode) as one:
                one.log_metrics({"a": 1}, step=1)

    (text,) = told(use)
    assert "'me/data'" in text and "there is no token" in text and "`trackio push`" in text
    assert points("e") == points("f") == [(1, "a", 1)]


def test_by_default_nothing_is_said_and_a_server_that_is_not_there_is() -> None:
    assert told(lambda: SmolLM3Monitor("e").close()) == []
    (text,) = told(lambda: SmolLM3Monitor("e", trackio_url="https://example.org").close())
    assert "trackio_url" in text and "local folder" in text


def test_switches() -> None:
    with SmolLM3Monitor("e", log_artifacts=False, log_metrics=False, log_config=False) as one:
        one.log_configuration({"a": 1})
        one.log_metrics({"a": 1})
        one.log_evaluation_results({"a": 1})
        one.log_training_summary({"a": 1})
        one.log_system_metrics()
        one.log_model_checkpoint("missing")
    assert [record[2] for record in stored().records()] == ["open", "status"]
    assert one.run is not None and one.run.health()["dropped"] == 0


def test_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPERIMENT_NAME", "from the environment")
    monkeypatch.setenv("TRACKIO_PROJECT", "p")
    assert repr(SmolLM3Monitor().run) == "<trackio.Run 'from the environment' of project 'p'>"
    monkeypatch.delenv("EXPERIMENT_NAME")
    first, second = SmolLM3Monitor().run, SmolLM3Monitor().run
    assert first is not None and second is not None and first.id != second.id, "no name is a new run"
    assert SmolLM3Monitor("e", "q").run is SmolLM3Monitor("e", "q").run, "a name is continued"


def test_errors_are_counted_and_reach_nobody(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    one = SmolLM3Monitor("e")
    one.log_configuration(3)
    one.log_metrics(None)
    one.log_evaluation_results(["no", "dict"])
    one.log_training_summary(5)
    one.log_model_checkpoint("/nowhere/at/all", step=1)
    one.log_metrics({"a": 1}, step=1)
    assert one.run is not None and one.run.health()["dropped"] == 5
    one.close()
    assert "5 of 6 calls were not kept" in capsys.readouterr().err and points() == [(1, "a", 1)]
    monkeypatch.setenv("TRACKIO_STRICT", "1")
    with pytest.raises(TypeError):
        one.log_metrics(None)


# -- the module's functions --------------------------------------------------------------------------------


def test_get_and_set_monitor(tmp_path: Path) -> None:
    assert monitor.get_monitor() is None
    run = trackio.init("p", "n")
    view = monitor.get_monitor()
    assert view is not None and view.run is run and monitor.get_monitor() is view
    assert (view.settings.project_name, view.settings.experiment_name) == ("p", "n")
    view.log_metrics({"a": 1}, step=1)
    one = SmolLM3Monitor("e", "p")
    other = monitor.get_monitor()
    assert other is not None and other.run is one.run
    monitor.set_monitor(one)
    trackio.init("p", "m")
    monitor.set_monitor(one)
    assert monitor.get_monitor() is one
    trackio.log({"to": "e"}, step=2)
    (tmp_path / "model.bin").write_bytes(b"m")
    kept = monitor.log_checkpoint(tmp_path / "model.bin", step=3, metadata={"best": True})
    trackio.finish()
    assert points("n", "p") == [(1, "a", 1)] and points("e", "p") == [(2, "to", "e")]
    (artifact,) = stored("e", "p").artifacts()
    assert kept.version == artifact.version == "v0" and artifact.metadata["best"] is True
    monitor.set_monitor(None)
    last = monitor.get_monitor()
    assert last is not None and last.run is one.run, "after finish it is the last run's"


def test_another_rank_leaves_nothing_until_it_logs(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    assert told(lambda: SmolLM3Monitor("e", monitoring_mode="both").close()) == []
    assert not store.exists()
    with SmolLM3Monitor("e") as one:
        one.log_metrics({"a": 1}, step=1)
    assert points() == [(1, "a", 1)] and stored().status == "finished"


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys, trackio.monitor as m; one = m.SmolLM3Monitor('e'); one.log_metrics({'a': 1}, 1);"
        "one.close();"
        "print([n for n in ('transformers', 'torch', 'numpy', 'psutil', 'pynvml') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env={**os.environ}
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
