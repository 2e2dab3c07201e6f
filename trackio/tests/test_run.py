"""Identity, the step rule, finishing and coming back, threads, errors."""

from __future__ import annotations

import contextvars
import os
import stat
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest

import trackio
from trackio import context_vars, hub
from trackio.hub import remote


def points(project: str = "p", name: str = "n") -> list[tuple[Any, str, Any]]:
    return list(trackio.Api().run(project, name).points())


# -- identity ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda: trackio.init("p", "n"),
        lambda: trackio.init("p", name="n"),
        lambda: trackio.init(
            project="p", name="n", space_id=None, resume="allow", private=None, bucket_id=None
        ),
        lambda: trackio.init(project_name="p", experiment_name="n"),
    ],
)
def test_every_form_of_init_names_the_run(call: Any) -> None:
    run = call()
    assert (run.project, run.name) == ("p", "n")
    assert str(run) == run.id and run.id
    assert run._space_id is None
    trackio.finish()
    stored = trackio.Api().run("p", "n")
    assert (stored.id, stored.status) == (run.id, "finished")
    assert trackio.Api().projects() == ["p"]


@pytest.mark.parametrize(
    "name", ["./out/run", "../../x", "..", "/", "CON", "", "😀", "a\0b", "x" * 4096, "\ud800", "run.json"]
)
def test_any_text_is_a_name_and_no_path(name: str, store: Path, tmp_path: Path) -> None:
    trackio.init(name, name)
    trackio.log({"a": 1}, step=1)
    trackio.finish()
    assert trackio.Api().projects() == [name]
    assert [run.name for run in trackio.Api().runs(name)] == [name]
    assert points(name, name) == [(1, "a", 1)]
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert len(list(store.iterdir())) == 1


def test_names_whose_keys_collide_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trackio.paths.key", lambda name: "same-00000000")
    monkeypatch.setattr("trackio.api.key", lambda name: "same-00000000")
    for name in ("a", "b", "a"):
        trackio.init("p", name)
        trackio.log({"name": name})
        trackio.finish()
    assert points("p", "a") == [(None, "name", "a")] * 2
    assert points("p", "b") == [(None, "name", "b")]


def test_no_name_makes_one() -> None:
    first, second = trackio.init("p"), trackio.init("p")
    assert first.name and first.name != second.name


def test_no_project_takes_the_environment_s(monkeypatch: pytest.MonkeyPatch) -> None:
    assert trackio.init().project == "huggingface"
    monkeypatch.setenv("TRACKIO_PROJECT", "mine")
    assert trackio.init().project == "mine"


def test_the_root_is_read_at_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for part in ("one", "two"):
        monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / part))
        trackio.init("p", "n")
        trackio.log({"where": part})
        trackio.finish()
    for part in ("one", "two"):
        stored = trackio.Api(tmp_path / part).run("p", "n")
        assert list(stored.points()) == [(None, "where", part)]


def test_files_are_private_and_only_below_the_root(store: Path, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        trackio.init("p", "n")
        trackio.log({"large": b"x" * 100_000})
        trackio.finish()
    finally:
        os.umask(before)
    for path in store.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert not [path for path in store.rglob("*") if path.suffix not in (".json", ".jsonl", "")], (
        "a draft was left"
    )


# -- resume ------------------------------------------------------------------------------------------------


def test_allow_continues_the_run() -> None:
    first = trackio.init("p", "n", resume="allow")
    trackio.log({"a": 1}, step=5)
    trackio.finish()
    second = trackio.init("p", "n", resume="allow")
    trackio.log({"b": 2})
    trackio.finish()
    assert second.id == first.id
    assert points() == [(5, "a", 1), (5, "b", 2)]


def test_never_makes_another_run_of_that_name() -> None:
    first = trackio.init("p", "n", resume="never")
    second = trackio.init("p", "n", resume="never")
    third = trackio.init("p", "n", resume="allow")
    assert len({first.id, second.id}) == 2
    assert third.id == second.id, "the latest of that name is continued"


def test_must_wants_the_run_to_be_there() -> None:
    with pytest.raises(ValueError, match=r"no run 'n'"):
        trackio.init("p", "n", resume="must")
    with pytest.raises(ValueError, match="resume is 'perhaps'"):
        trackio.init("p", "n", resume="perhaps")
    trackio.init("p", "n")
    trackio.init("p", "n", resume="must")


def test_init_without_a_name_after_finish_comes_back_if_it_may() -> None:
    first = trackio.init("p", resume="allow")
    trackio.finish()
    assert trackio.init("p", name=None, resume="allow") is first
    trackio.log({"eval_loss": 1.0}, step=3)
    trackio.finish()
    assert trackio.init("p") is not first, "by default no name is a new run"
    trackio.finish()
    assert trackio.init("q", resume="allow").project == "q"


def test_a_second_init_finishes_the_first() -> None:
    trackio.init("p", "one")
    trackio.init("p", "two")
    trackio.log({"a": 1})
    assert [(run.name, run.status) for run in trackio.Api().runs("p")] == [
        ("one", "finished"),
        ("two", "running"),
    ]
    assert points("p", "one") == []


# -- the step rule -----------------------------------------------------------------------------------------


def test_the_step_rule() -> None:
    trackio.init("p", "n")
    trackio.log({"a": 0})
    trackio.log({"a": 1}, step=10)
    trackio.log({"a": 2})
    trackio.log({"a": 3, "train/global_step": 12, "global_step": 99})
    trackio.log({"a": 4, "global_step": 11})
    trackio.log({"a": 5, "train/global_step": 13}, step=7)
    trackio.log({"a": 6}, step=7)
    trackio.log({"a": 7}, step=None)
    trackio.finish()
    steps = [(value, step) for step, key, value in points() if key == "a"]
    assert steps == [(0, None), (1, 10), (2, 10), (3, 12), (4, 11), (5, 7), (6, 7), (7, 7)]
    assert (12, "train/global_step", 12) in points(), "the key that gave the step is a point as well"


def test_steps_of_other_types() -> None:
    import numpy

    trackio.init("p", "n")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step in (numpy.int32(4), 5.0, numpy.array(6), 1.5, "8", float("nan"), 2**64, object()):
            trackio.log({"a": 0}, step=step)
    assert [step for step, *_ in points()] == [4, 5, 6, 6, 6, 6, 6, 6]
    assert len(caught) == 4, [str(warning.message) for warning in caught]


def test_equal_and_falling_steps_are_all_kept() -> None:
    trackio.init("p", "n")
    for step in (3, 3, 2, 9, 2):
        trackio.log({"a": step}, step=step)
    assert [step for step, *_ in points()] == [3, 3, 2, 9, 2]


# -- log and finish ----------------------------------------------------------------------------------------


def test_log_after_finish_goes_on_with_the_run() -> None:
    run = trackio.init("p", "n")
    trackio.log({"a": 1}, step=1)
    trackio.finish()
    assert context_vars.current_run.get() is None
    assert context_vars.current_project.get() == "p"
    trackio.log({"b": 2})
    assert trackio.Api().run("p", "n").status == "running"
    assert run.health()["unsynced"] == 0, "what comes late is on the disk at once"
    trackio.finish()
    assert trackio.Api().run("p", "n").status == "finished"
    run.log({"c": 3})
    run.finish()
    run.finish()
    trackio.finish()
    assert points() == [(1, "a", 1), (1, "b", 2), (1, "c", 3)]
    assert trackio.Api().run("p", "n").status == "finished"


def test_what_is_logged_before_init_belongs_to_the_first_run(store: Path) -> None:
    trackio.config["early"] = 1
    trackio.log({"profiling": 0.5, "large": b"x" * 100_000}, step=0)
    context = contextvars.copy_context()
    run = trackio.init("p", "n", config={"late": 2})
    context.run(trackio.log, {"from": "a context copied before"})
    trackio.log({"a": 1})
    trackio.finish()
    assert trackio.Api().projects() == ["p"] and len(trackio.Api().runs("p")) == 1
    assert points() == [
        (0, "profiling", 0.5),
        (0, "large", b"x" * 100_000),
        (0, "from", "a context copied before"),
        (0, "a", 1),
    ]
    assert trackio.Api().run("p", "n").config == dict(trackio.config) == {"early": 1, "late": 2}
    assert run.health() == {"written": 3, "dropped": 0, "unsynced": 0, "last_error": None}
    assert len(list(store.iterdir())) == 1


def test_the_caller_s_dict_is_left_alone() -> None:
    trackio.init("p", "n")
    payload = {"loss": 1.0, "nested": {"a": [1]}, "global_step": 3}
    trackio.log(payload)
    assert payload == {"loss": 1.0, "nested": {"a": [1]}, "global_step": 3}
    assert points()[1] == (3, "nested", {"a": [1]})


def test_unknown_keywords_warn_once_each_and_never_raise() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            trackio.init("p", "n", group="g", entity="e")
            trackio.log({"a": 1}, commit=True)
    assert sorted(str(warning.message) for warning in caught) == [
        "trackio: init() does not know the keyword 'entity'",
        "trackio: init() does not know the keyword 'group'",
        "trackio: log() does not know the keyword 'commit'",
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trackio.init("p", "n", another=1)


def test_without_a_token_the_hub_gets_nothing_and_that_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (hub, remote):
        monkeypatch.setattr(module, "token", lambda: None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            trackio.init("p", "n", space_id="me/space", bucket_id="b", private=True)
            assert trackio.sync(project="p", sdk="static", space_id="s", force=True) is None
            assert trackio.freeze(space_id="s", project="p", new_space_id="t", private=None) is None
    buckets, *others = [str(warning.message) for warning in caught]
    assert "there are no buckets here" in buckets
    assert len(others) == 3 and all("no token" in text and "local folder" in text for text in others)
    assert context_vars.current_space_id.get() is None


# -- threads and contexts ----------------------------------------------------------------------------------


def test_many_threads_lose_nothing() -> None:
    run = trackio.init("p", "n")

    def work(number: int) -> None:
        for i in range(200):
            trackio.log({"t": number, "i": i})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run.finish()
    stored = trackio.Api().run("p", "n")
    pairs = [record[4] for record in stored.records() if record[2] == "log"]
    assert sorted((pair["t"], pair["i"]) for pair in pairs) == [(t, i) for t in range(8) for i in range(200)]
    for number in range(8):
        assert [pair["i"] for pair in pairs if pair["t"] == number] == list(range(200)), "out of order"
    assert not stored.damage


def test_a_copied_context_keeps_its_run() -> None:
    trackio.init("p", "one")
    context = contextvars.copy_context()
    trackio.init("p", "two")
    thread = threading.Thread(target=context.run, args=(trackio.log, {"late": 1}), daemon=True)
    thread.start()
    thread.join()
    plain = threading.Thread(target=trackio.log, args=({"now": 1},))
    plain.start()
    plain.join()
    assert points("p", "one") == [(None, "late", 1)]
    assert points("p", "two") == [(None, "now", 1)]


def test_no_thread_is_left_behind() -> None:
    before = set(threading.enumerate())
    trackio.init("p", "n")
    trackio.log({"a": 1})
    assert [thread.name for thread in set(threading.enumerate()) - before] == ["trackio-flush"]
    trackio.finish()
    assert set(threading.enumerate()) == before


# -- errors ------------------------------------------------------------------------------------------------


def test_errors_are_counted_and_reported_but_do_not_reach_the_training(capsys: Any) -> None:
    run = trackio.init("p", "n")
    trackio.log(None)
    trackio.log(["no", "dict"])
    trackio.config.update(3)
    trackio.log({"a": 1})
    assert run.health()["dropped"] == 3 and run.health()["written"] == 1
    assert "TypeError" in run.health()["last_error"]
    trackio.finish()
    assert "3 of 4 calls were not kept" in capsys.readouterr().err
    trackio.finish()
    assert capsys.readouterr().err == ""


def test_strict_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    run = trackio.init("p", "n")
    monkeypatch.setenv("TRACKIO_STRICT", "1")
    with pytest.raises(TypeError):
        trackio.log(3)
    trackio.log({"a": 1}, step=1)
    assert run.health()["dropped"] == 1


def test_a_root_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    obstacle = tmp_path / "file"
    obstacle.write_text("")
    monkeypatch.setenv("TRACKIO_DIR", str(obstacle / "store"))
    run = trackio.init("p", "n")
    trackio.log({"a": 1})
    assert run.health()["dropped"] == 1 and run.id == ""
    obstacle.unlink()
    trackio.log({"a": 2})
    assert run.health()["written"] == 1, "it goes on when the obstacle is gone"
    trackio.finish()
    assert "1 of 2 calls were not kept" in capsys.readouterr().err
    assert list(trackio.Api().run("p", "n").points()) == [(None, "a", 2)]

    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "store"))
    monkeypatch.setenv("TRACKIO_STRICT", "1")
    (tmp_path / "store").write_text("")
    with pytest.raises(OSError):
        trackio.init("p", "m")


def test_the_module_s_small_words() -> None:
    assert trackio.is_available() is True
    assert trackio.get_experiment_url() is None
    run = trackio.init("p", "n")
    assert trackio.get_experiment_url() == Path(str(run.folder)).as_uri()
    trackio.finish()
    assert trackio.get_experiment_url() == Path(str(run.folder)).as_uri()
    major, minor = trackio.__version__.split(".")[:2]
    assert (int(major), int(minor)) >= (0, 22)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = trackio.nonsense
