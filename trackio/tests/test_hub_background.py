"""The thread that pushes: `log` waits for nothing, one warning at most, and the end sends the rest."""

from __future__ import annotations

import importlib
import multiprocessing
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest
from conformance.hub import Request, Reset, Response
from hubs import REPO, here, no_waiting, requests, there, twice, unload

import trackio
from trackio import hub as backend
from trackio.cli import main
from trackio.hub import spool


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    no_waiting(monkeypatch)
    monkeypatch.setattr(backend, "_pointed", set())
    monkeypatch.setattr(backend, "_failed", set())
    for name in ("TRACKIO_PUSH_INTERVAL", "TRACKIO_PUSH_TIMEOUT", "TRACKIO_DATASET_REPO", "MONITORING_MODE"):
        monkeypatch.delenv(name, raising=False)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("trackio-push")]


def told(record: pytest.WarningsRecorder) -> list[str]:
    return [str(each.message) for each in record if "trackio" in str(each.message)]


def test_a_run_that_names_a_dataset_is_there_at_its_end(hub: Any) -> None:
    run = trackio.init("p", "n", dataset_id="data", config={"lr": 1e-4})
    assert threads() == ["trackio-push"]
    for step in range(10):
        trackio.log({"loss": 1 / (step + 1)}, step=step)
    trackio.finish()
    assert threads() == [] and "push_error" not in run.health()
    assert there(hub) == here(run) and hub.repo(REPO).private
    assert len(hub.commits(REPO)) == 2, "so soon there was no push before the last"


def test_while_it_goes_on(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_PUSH_INTERVAL", "0.001")
    committed = threading.Event()

    def seen(state: Any, request: Request, proceed: Any) -> Response:
        answer: Response = proceed()
        committed.set()
        return answer

    hub.fail("POST */commit/*", with_=seen)
    run = trackio.init("p", "n", dataset_id=REPO)
    trackio.log({"loss": 1.0})
    assert committed.wait(60)
    trackio.log({"loss": 2.0})
    trackio.finish()
    assert there(hub) == here(run) and twice(hub) == []


def test_log_does_not_wait_for_the_hub(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_PUSH_INTERVAL", "0.001")
    asked, go = threading.Event(), threading.Event()

    def hang(state: Any, request: Request, proceed: Any) -> Response:
        asked.set()
        assert go.wait(60)
        answer: Response = proceed()
        return answer

    hub.fail(with_=hang)
    run = trackio.init("p", "n", dataset_id=REPO)
    trackio.log({"before": 1.0})
    assert asked.wait(60)
    for step in range(1000):
        trackio.log({"loss": 1.0}, step=step)
    assert not go.is_set() and run.health()["written"] == 1001, "a thousand logs while one request hangs"
    go.set()
    trackio.finish()
    assert there(hub) == here(run)


def test_a_hub_that_hangs_is_left_at_the_end(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_PUSH_TIMEOUT", "0")
    go = threading.Event()
    hub.fail(with_=lambda state, request, proceed: (go.wait(60), proceed())[1])
    run = trackio.init("p", "n", dataset_id=REPO)
    trackio.log({"loss": 1.0})
    with monkeypatch.context() as patience_ends:
        patience_ends.setattr(threading.Thread, "join", lambda thread, timeout=None: None)
        with pytest.warns(UserWarning, match="`trackio push` sends it"):
            trackio.finish()
    go.set()
    for thread in threading.enumerate():
        if thread.name == "trackio-push":
            thread.join(60)
    assert trackio.Api().run("p", "n").status == "finished" and run.health()["dropped"] == 0


def test_the_hub_is_down_and_comes_back(
    hub: Any, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setenv("TRACKIO_PUSH_INTERVAL", "0.001")
    monkeypatch.setenv("TRACKIO_PUSH_TIMEOUT", "0")
    down = hub.fail(with_=Reset(), times=None)
    run = trackio.init("p", "n", dataset_id=REPO)
    for step in range(10):
        trackio.log({"loss": 1 / (step + 1)}, step=step)
    trackio.finish()
    assert len(told(recwarn)) == 1 and "Connection" in told(recwarn)[0] and REPO in told(recwarn)[0]
    assert "push_error" in run.health()
    down.lift()
    assert main(["push", "p"]) == 0, "where to, the run still knows"
    assert there(hub) == here(run) and twice(hub) == []


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_is_told_once_and_not_repeated(
    hub: Any, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder, status: int
) -> None:
    monkeypatch.setenv("TRACKIO_PUSH_INTERVAL", "0")
    hub.fail(status=status, times=None)
    run = trackio.init("p", "n", dataset_id=REPO)
    trackio.log({"loss": 1.0})
    trackio.finish()
    assert len(told(recwarn)) == 1 and "`trackio push` sends it" in told(recwarn)[0]
    assert len(hub.requests) <= 4, "once while it went on, once at the end"
    hub.calm()
    assert main(["push"]) == 0
    assert there(hub) == here(run)


def test_429_is_waited_out(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(backend.background.Background, "_sleep", lambda self, wait: waited.append(wait))
    hub.fail("POST /api/repos/create", status=429, retry_after=17)
    run = trackio.init("p", "n", dataset_id=REPO)
    trackio.finish()
    assert len(waited) == 1 and 17 <= waited[0] < 20 and there(hub) == here(run)


def test_what_comes_after_the_end_is_sent_too(hub: Any) -> None:
    run = trackio.init("p", "n", dataset_id=REPO)
    trackio.finish()
    trackio.log({"eval_loss": 1.0})
    assert threads() == ["trackio-push"]
    trackio.finish()
    assert threads() == [] and there(hub) == here(run) and twice(hub) == []
    again = trackio.init("p", None, resume="allow")
    assert again is run
    trackio.log({"eval_loss": 2.0})
    trackio.finish()
    assert there(hub) == here(run)


def _child() -> None:
    trackio.log({"of": "a forked child"})


def test_a_forked_child_writes_and_its_parent_pushes(hub: Any) -> None:
    run = trackio.init("p", "n", dataset_id=REPO)
    child = multiprocessing.get_context("fork").Process(target=_child)
    child.start()
    child.join()
    trackio.finish()
    assert len(here(run)) == 2 and there(hub) == here(run)


def test_only_the_first_rank_pushes(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    trackio.init("p", "n", dataset_id=REPO)
    trackio.finish()
    assert threads() == [] and not hub.requests


# -- where to ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "environment", "repo"),
    [
        ({"dataset_id": "a"}, {"TRACKIO_DATASET_REPO": "b"}, "user/a"),
        ({}, {"TRACKIO_DATASET_REPO": "b"}, "user/b"),
        ({"space_id": "user/c"}, {}, "user/c"),
        ({"space_id": "user/c"}, {"TRACKIO_DATASET_REPO": "b"}, "user/b"),
        ({}, {"TRACKIO_DATASET_REPO": "b", "MONITORING_MODE": "dataset"}, "user/b"),
        ({}, {"TRACKIO_DATASET_REPO": "b", "MONITORING_MODE": "trackio"}, None),
        ({}, {}, None),
    ],
)
def test_which_dataset(
    hub: Any, monkeypatch: pytest.MonkeyPatch, given: Any, environment: dict[str, str], repo: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    run = trackio.init("p", "n", **given)
    trackio.finish()
    assert {id for _, id in hub.state.repos} == ({repo} if repo else set())
    assert repo is None or there(hub, repo) == here(run)


@pytest.mark.parametrize(("private", "expected"), [(None, True), (True, True), (False, False)])
def test_private_unless_it_is_said(hub: Any, private: bool | None, expected: bool) -> None:
    trackio.init("p", "n", dataset_id=REPO, private=private)
    trackio.finish()
    assert hub.repo(REPO).private is expected


def test_without_a_token_there_is_one_warning_and_no_thread(
    hub: Any, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    run = trackio.init("p", "n", dataset_id=REPO)
    assert threads() == []
    trackio.log({"loss": 1.0})
    trackio.finish()
    assert len(told(recwarn)) == 1 and "hf auth login" in told(recwarn)[0] and not hub.requests
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert main(["push"]) == 0
    assert there(hub) == here(run), "what was asked for is not forgotten"


@pytest.mark.parametrize("missing", ["huggingface_hub", "pyarrow"])
def test_without_the_extra(
    monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder, missing: str
) -> None:
    unload(missing, monkeypatch)
    run = trackio.init("p", "n", dataset_id=REPO)
    trackio.log({"loss": 1.0})
    trackio.finish()
    assert len(told(recwarn)) == 1 and f"this needs {missing}: pip install 'trackio[hub]'" in told(recwarn)[0]
    assert run.health()["dropped"] == 0


def test_nothing_is_imported_before_a_dataset_is_named(python: Any) -> None:
    code = """
import sys, trackio
trackio.init("p", "n"); trackio.log({"a": 1}); trackio.finish()
assert not {"huggingface_hub", "pyarrow", "requests"} & {name.partition(".")[0] for name in sys.modules}
assert "trackio.hub" not in sys.modules
"""
    process = python(code)
    assert process.communicate()[1] == "" and process.returncode == 0


# -- sync and freeze -----------------------------------------------------------------------------------------


def test_sync_as_transformers_calls_it(hub: Any) -> None:
    run = trackio.init(project="p", name="n", space_id=None, resume="allow", private=None, bucket_id=None)
    trackio.log({"train/loss": 1.0, "train/global_step": 1})
    keywords = {"sdk": "static", "private": None, "bucket_id": None, "force": True}
    synced = trackio.sync(project="p", space_id="p-static-0a1b2c", **keywords)
    assert synced == "user/p-static-0a1b2c" and there(hub, synced) == here(run)
    trackio.log({"train/loss": 0.5, "train/global_step": 2})
    assert trackio.sync(project="p", space_id=synced, **keywords) == synced, "and with what it returned"
    assert there(hub, synced) == here(run) and twice(hub, synced) == []
    trackio.finish()
    space = hub.repo(synced, "space")
    assert space.private and space.sdk == "static", "what the model card will link to"
    assert b"huggingface.co/datasets/user/p-static-0a1b2c" in hub.files(synced, "space")["index.html"]


def test_a_space_of_that_name_is_left_as_it_is(hub: Any) -> None:
    hub.create("user/mine", "space", sdk="gradio")
    hub.put("user/mine", {"app.py": b"mine"})
    files = hub.files("user/mine")
    trackio.init("p", "n")
    assert trackio.sync("p", space_id="user/mine", sdk="static") == "user/mine"
    trackio.finish()
    assert hub.files("user/mine", "space") == files


def test_a_space_that_cannot_be_made_is_told(hub: Any, recwarn: pytest.WarningsRecorder) -> None:
    run = trackio.init("p", "n")
    hub.fail("POST /api/repos/create", on=2, status=403)
    assert trackio.sync("p", space_id="s", sdk="static") == "user/s"
    assert len(told(recwarn)) == 1 and there(hub, "user/s") == here(run)
    trackio.finish()


def test_sync_without_a_name_goes_where_the_run_goes(hub: Any) -> None:
    run = trackio.init("p", "n", dataset_id=REPO)
    trackio.log({"loss": 1.0})
    assert trackio.sync("p", force=True) == REPO and there(hub) == here(run)
    trackio.finish()
    assert trackio.sync("p", space_id="elsewhere") == REPO and there(hub) == here(run)
    other = trackio.init("q", "n")
    found = trackio.sync("q", force=True)
    assert found is not None and found.startswith("user/trackio-q-") and there(hub, found) == here(other)
    trackio.finish()


def test_freeze_as_transformers_calls_it(hub: Any) -> None:
    run = trackio.init("p", "n")
    trackio.finish()
    frozen = trackio.freeze(space_id="user/space", project="p", new_space_id="frozen", private=False)
    assert frozen == "user/frozen" and there(hub, frozen) == here(run)
    assert not hub.repo(frozen, "dataset").private and not hub.repo(frozen, "space").private


@pytest.mark.parametrize("trouble", ["no token", "down", "no runs", "refused"])
def test_sync_warns_once_and_returns_none(
    hub: Any, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder, trouble: str
) -> None:
    monkeypatch.setenv("TRACKIO_PUSH_TIMEOUT", "0")
    trackio.init("p", "n")
    if trouble == "no token":
        monkeypatch.delenv("HF_TOKEN")
    elif trouble in ("down", "refused"):
        hub.fail(status=503 if trouble == "down" else 403, times=None)
    for _ in range(2):
        assert trackio.sync("other" if trouble == "no runs" else "p", space_id="s") is None
    assert len(told(recwarn)) == 1 and told(recwarn)[0].startswith("trackio: sync()")
    trackio.finish()


def test_a_monitor_with_a_dataset(hub: Any) -> None:
    token = hub.add_user("other")
    monitor = trackio.SmolLM3Monitor("n", "p", dataset_repo="other/data", hf_token=token)
    monitor.log_metrics({"loss": 1.0}, step=1)
    monitor.close()
    assert there(hub, "other/data") == here(monitor.run)
    users = {request.user for request in hub.requests}
    assert users == {"other", None}, "with the token it was given; signed addresses of large files need none"
    assert token not in Path(str(monitor.run.folder), spool.LEDGER).read_text()


def test_an_interval_that_is_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_PUSH_INTERVAL", "often")
    with pytest.warns(UserWarning, match="no number of seconds; it is 300"):
        assert backend.seconds("TRACKIO_PUSH_INTERVAL", 300.0) == 300


def test_the_clients_own_bars_and_lines_are_left_as_they_were(hub: Any, capfd: Any) -> None:
    bars = importlib.import_module("huggingface_hub.utils")
    assert not bars.are_progress_bars_disabled()
    hub.fail("POST */preupload/*", with_=Reset())
    with warnings.catch_warnings():
        trackio.init("p", "n", dataset_id=REPO)
        trackio.finish()
    assert not bars.are_progress_bars_disabled()
    assert capfd.readouterr() == ("", "") and "POST commit" in requests(hub)
