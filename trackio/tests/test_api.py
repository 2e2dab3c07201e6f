"""Reading: what is not there, many writers, frames."""

from __future__ import annotations

from pathlib import Path

import pytest

import trackio


def test_an_empty_root_has_no_projects(store: Path) -> None:
    assert trackio.Api().projects() == [] and trackio.Api().runs("p") == []
    with pytest.raises(KeyError, match="no run 'n'"):
        trackio.Api().run("p", "n")
    assert not store.exists(), "reading makes no folder"


def test_strange_things_in_the_root_are_passed_over(store: Path) -> None:
    trackio.init("p", "n")
    trackio.finish()
    (store / "file").write_text("x")
    (store / "folder" / "inner").mkdir(parents=True)
    (store / "folder" / "inner" / "run.json").write_text("{")
    assert trackio.Api().projects() == ["p"]


def test_runs_come_oldest_first_and_by_name_or_id() -> None:
    runs = [trackio.init("p", name, resume="never") for name in ("b", "a", "b")]
    api = trackio.Api()
    assert [run.id for run in api.runs("p")] == [run.id for run in runs]
    assert api.run("p", "b").id == runs[2].id, "the latest of that name"
    assert api.run("p", runs[0].id).id == runs[0].id


def test_a_live_run_is_read_as_far_as_it_is() -> None:
    trackio.init("p", "n")
    run = trackio.Api().run("p", "n")
    for i in range(3):
        trackio.log({"a": i})
        assert [value for *_, value in run.points()] == list(range(i + 1))


def test_a_value_whose_file_is_gone(store: Path) -> None:
    trackio.init("p", "n")
    trackio.log({"a": b"x" * 100_000, "b": 1})
    (path,) = store.rglob("files/*")
    path.unlink()
    with pytest.raises(FileNotFoundError):
        list(trackio.Api().run("p", "n").points())
    (_, _, lost), (_, _, kept) = trackio.Api(strict=False).run("p", "n").points()
    assert kept == 1 and (lost.kind, lost.type) == ("unreadable", "FileNotFoundError")


def test_a_frame() -> None:
    import pandas

    trackio.init("p", "n")
    trackio.log({"a": 0.5, "b": "text", "t": trackio.Table()}, step=2**53 + 1)
    trackio.log({"a": None})
    frame = trackio.Api().run("p", "n").frame()
    assert list(frame.columns) == ["time", "step", "key", "value"]
    assert frame["key"].tolist() == ["a", "b", "a"]
    assert frame["value"].tolist() == [0.5, "text", None]
    assert frame["step"].tolist() == [2**53 + 1] * 3
    assert frame["time"].dt.tz is not None and frame["time"].is_monotonic_increasing
    assert isinstance(frame, pandas.DataFrame)
