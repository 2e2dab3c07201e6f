"""The real callers push: transformers' callback on a Trainer that pushes its model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import transformers
from hubs import here, no_waiting, there, twice
from packaging.version import Version
from test_integrations import Model, arguments
from transformers.integrations import TrackioCallback
from transformers.trainer_callback import CallbackHandler, TrainerControl, TrainerState

import trackio
from trackio import hub as backend

#: The callback is asked for a push from 5.0 on, and calls `sync` with `sdk="static"` from 5.6 on.
FIRST, STATIC = Version("5.0"), Version("5.6")
RELEASE = Version(transformers.__version__)


def trained(tmp_path: Path, **more: Any) -> tuple[Any, Any]:
    """Let the callback go through a training of two logs; return its handler and what events are given."""
    args = arguments(tmp_path, **more)
    model = Model()
    callback = TrackioCallback()
    handler = CallbackHandler([callback], model, None, None, None)
    state, control = TrainerState(), TrainerControl()
    handler.on_train_begin(args, state, control)
    for step in (1, 2):
        state.global_step = step
        handler.on_log(args, state, control, {"loss": 1 / step})
    return handler, (args, state, control)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    no_waiting(monkeypatch)
    monkeypatch.setattr(backend, "_pointed", set())
    monkeypatch.setattr(backend, "_failed", set())


def test_a_push_of_the_model_pushes_the_runs(hub: Any, tmp_path: Path) -> None:
    handler, events = trained(tmp_path)
    run = trackio.context_vars.current_run.get()
    assert run is not None
    push = getattr(handler, "on_push_begin", None)
    if RELEASE < FIRST:
        assert push is None, "before 5.0 nobody asks the tracker"
        handler.on_train_end(*events)
        return
    for _ in range(2):
        handler.on_push_begin(*events)
    handler.on_train_end(*events)
    handler.on_push_begin(*events)
    ((kind, name),) = {each for each in hub.state.repos if each[0] == "dataset"}
    assert there(hub, name) == here(run) and twice(hub, name) == []
    assert hub.repo(name, kind).private
    if RELEASE >= STATIC:
        assert f"trackio:https://huggingface.co/spaces/{name}" in handler.model.model_tags
        assert "index.html" in hub.files(name, "space"), "and there is one"


def test_a_space_in_the_environment_means_the_dataset_of_that_name(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Importing one of TRL's scripts sets it (0.22 to 0.24). Later releases of transformers have an argument.
    monkeypatch.setenv("TRACKIO_SPACE_ID", "trl-trackio")
    later = "trackio_space_id" in transformers.TrainingArguments.__dataclass_fields__
    handler, events = trained(tmp_path, **({"trackio_space_id": "trl-trackio"} if later else {}))
    run = trackio.context_vars.current_run.get()
    handler.on_train_end(*events)
    assert run is not None and there(hub, "user/trl-trackio") == here(run)


def test_without_a_token_the_push_goes_on(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    handler, events = trained(tmp_path)
    if RELEASE >= FIRST:
        for _ in range(2):
            handler.on_push_begin(*events)
        told = [str(each.message) for each in recwarn if "trackio" in str(each.message)]
        # Once a dataset: transformers 5.5 names one to `init` and another to `sync`.
        assert told and len(told) == len(set(told)) <= 2 and all("hf auth login" in text for text in told)
    handler.on_train_end(*events)
    assert not hub.requests and trackio.Api().runs(trackio.Api().projects()[0])[0].status == "finished"
