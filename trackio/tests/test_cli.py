"""The command: what there is, shown and compared; errors of one line."""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from stores import lines, only_journal, write

import trackio
from trackio.cli import main
from trackio.cli.summary import Summary, Trend
from trackio.cli.text import clean, duration, iso, spark
from trackio.values import Decoder

# -- list ----------------------------------------------------------------------------------------------------


def test_list_has_a_line_for_each_run(capsys: pytest.CaptureFixture[str]) -> None:
    write("a", "one"), write("b", "two"), write("b", "three")
    assert main(["list"]) == 0
    head, *rows = lines(capsys)
    assert head.split() == ["project", "run", "status", "points", "steps", "started", "duration"]
    assert [row.split()[:5] for row in rows] == [
        ["a", "one", "finished", "10", "40"],
        ["b", "two", "finished", "10", "40"],
        ["b", "three", "finished", "10", "40"],
    ]
    assert main(["list", "b"]) == 0
    assert [row.split()[1] for row in lines(capsys)[1:]] == ["two", "three"]


def test_list_json_is_the_same_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    run = write()
    assert main(["list", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert {k: found[k] for k in ("project", "run", "id", "status", "points", "step")} == {
        "project": "p",
        "run": "n",
        "id": run.id,
        "status": "finished",
        "points": 10,
        "step": 40,
    }
    assert found["started"] == iso(trackio.Api().run("p", "n").created)


def test_an_empty_folder_says_so(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    assert main(["list"]) == 0
    out, err = capsys.readouterr()
    assert out == "" and str(store) in err and "--root" in err
    assert not store.exists()


def test_root_may_stand_before_or_after(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write("here", "n")
    os.environ["TRACKIO_DIR"] = str(tmp_path / "other")
    for arguments in (
        ["--root", str(tmp_path / "store"), "list"],
        ["list", "--root", str(tmp_path / "store")],
    ):
        assert main(arguments) == 0
        assert "here" in capsys.readouterr().out


# -- show ----------------------------------------------------------------------------------------------------


def test_show_has_a_line_for_each_metric(capsys: pytest.CaptureFixture[str]) -> None:
    write()
    assert main(["show", "p", "n"]) == 0
    first, head, loss, odd = lines(capsys)
    assert first.startswith("p / n   finished   10 points   step 40   started ")
    assert head.split()[:7] == ["metric", "last", "min", "max", "mean", "count", "trend"]
    assert loss.split()[:6] == ["loss", "0.2", "0.2", "1", "0.456667", "5"]
    # One of five is NaN: it is neither a number in the mean nor hidden.
    assert odd.split()[:6] == ["odd", "4", "0", "4", "2.25", "5"]
    assert odd.endswith("1 nan") and "x" in odd.split()[6:][1]


def test_the_latest_run_is_shown_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    write("p", "z"), write("p", "a")
    assert main(["show", "p"]) == 0
    assert lines(capsys)[0].startswith("p / a ")


def test_keys_choose(capsys: pytest.CaptureFixture[str]) -> None:
    trackio.init("p", "n")
    trackio.log({"train/loss": 1, "train/lr": 2, "eval/loss": 3})
    trackio.finish()
    assert main(["show", "p", "--keys", "train/*", "--keys", "eval/l*"]) == 0
    assert len(lines(capsys)) == 5
    assert main(["show", "p", "--keys", "*/loss"]) == 0
    assert [line.split()[0] for line in lines(capsys)[2:]] == ["train/loss", "eval/loss"]


def test_what_is_no_number_is_shown_as_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    trackio.init("p", "n")
    trackio.log({"nan": math.nan, "inf": -math.inf, "none": None, "text": "a\x1b[31mb\n", "big": 10**30})
    trackio.log({"huge": 10**5000, "flag": True, "list": [1, math.nan]})
    trackio.finish()
    assert main(["show", "p", "--config"]) == 0
    rows = {line.split()[0]: line for line in lines(capsys)[2:] if line}
    assert rows["nan"].split()[1:] == ["nan", "1", "x", "1", "nan"]
    assert rows["inf"].split()[1:4] == ["-inf"] * 3 and rows["inf"].endswith("1 inf")
    assert rows["none"].endswith("1 none") and rows["none"].split()[1] == "none"
    assert r"a\x1b[31mb\n" in rows["text"] and "\x1b" not in rows["text"]
    assert rows["big"].split()[1:5] == ["1.00000e+30"] * 3 + ["1e+30"]
    assert rows["huge"].split()[1] == "1.00000e+5000"
    assert rows["huge"].endswith("1 inf") and rows["flag"].split()[1] == "True"


def test_json_is_exact(capsys: pytest.CaptureFixture[str]) -> None:
    trackio.init("p", "n", config={"lr": 1e-4, "none": None, "inf": math.inf})
    trackio.log({"a": math.nan, "b": 2**100, "c": 0.1 + 0.2}, step=3)
    trackio.log({"t": trackio.Table(columns=["x"], rows=[[1]]), "h": trackio.Histogram([1, 2])}, step=4)
    trackio.finish()
    assert main(["show", "p", "--json", "--config", "--tables", "--media", "--system"]) == 0
    found = json.loads(capsys.readouterr().out)
    decode = Decoder()
    assert math.isnan(decode(found["metrics"]["a"]["last"])) and found["metrics"]["a"]["nan"] == 1
    assert decode(found["metrics"]["b"]["max"]) == 2**100
    assert found["metrics"]["c"]["last"] == 0.1 + 0.2 and found["metrics"]["c"]["last_step"] == 3
    assert decode(found["config"]) == {"lr": 1e-4, "none": None, "inf": math.inf}
    assert decode(found["tables"][0]["value"]) == trackio.Table(columns=["x"], rows=[[1]])
    assert decode(found["media"][0]["value"]) == trackio.Histogram([1, 2])
    assert found["rich"] == {"t": {"count": 1, "last_step": 4}, "h": {"count": 1, "last_step": 4}}


def test_config_tables_and_media_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    trackio.init("p", "n", config={"lr": 0.5})
    trackio.log({"t": trackio.Table(columns=["x", "y"], rows=[[i, "é"] for i in range(30)])}, step=1)
    trackio.log({"traces": [trackio.Trace(messages=[{"role": "user"}])] * 2}, step=2)
    trackio.finish()
    assert main(["show", "p"]) == 0
    assert "also logged: t (1), traces (1)" in capsys.readouterr().out
    assert main(["show", "p", "--config", "--tables", "--media", "--rows", "3"]) == 0
    text = capsys.readouterr().out
    assert "lr   0.5" in text
    assert "t: 1 table, the last at step 1: 30 rows, the first 3\nx  y\n0  é\n1  é\n2  é\n\n" in text
    assert "2  traces  2 of trace" in text


def test_system_metrics_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    from trackio.values import encode_mapping

    run = trackio.init("p", "n")
    trackio.log({"loss": 1})
    assert run._journal is not None
    run._journal.append(b"sys", b"null", encode_mapping({"gpu/0/power": 61.5}))
    trackio.finish()
    assert main(["show", "p"]) == 0
    assert "gpu" not in capsys.readouterr().out
    assert main(["show", "p", "--system"]) == 0
    assert "gpu/0/power  61.5" in capsys.readouterr().out


def test_nothing_is_written(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    write(), write("p", "m")

    def state() -> list[Any]:
        return sorted((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in store.rglob("*"))

    before = state()
    for command in (["list"], ["show", "p"], ["compare", "p", "n", "m"], ["export", "p"], ["verify"]):
        assert main(command) == 0
    assert state() == before


# -- compare -------------------------------------------------------------------------------------------------


def test_compare_shows_what_differs(capsys: pytest.CaptureFixture[str]) -> None:
    write("p", "a", {"lr": 1, "same": math.nan, "deep": {"x": 1, "y": 2}}, 5)
    write("p", "b", {"lr": 2, "same": math.nan, "deep": {"x": 1, "y": 3}, "new": None}, 7)
    assert main(["compare", "p", "a", "b"]) == 0
    text = capsys.readouterr().out
    assert "config: 3 keys of 5 not equal in all runs" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["lr", "1", "2"] in rows and ["deep.y", "2", "3"] in rows and ["new", "—", "none"] in rows
    assert ["loss", "last", "0.2", "0.142857"] in rows
    assert ["min", "0.2", "@", "40", "0.142857", "@", "60"] in rows
    assert main(["compare", "p", "a", "b", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    one, two = (run["id"] for run in found["runs"])
    assert found["config"]["lr"] == {one: 1, two: 2} and "same" not in found["config"]
    assert found["metrics"]["loss"][two]["min"] == 1 / 7


def test_runs_of_one_name_are_told_apart_by_id(capsys: pytest.CaptureFixture[str]) -> None:
    first = trackio.init("p", "n", resume="never")
    second = trackio.init("p", "n", resume="never")
    trackio.finish()
    assert main(["compare", "p", first.id, second.id]) == 0
    assert first.id in (text := capsys.readouterr().out) and second.id in text


# -- errors --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["show", "projct"], ["no project 'projct'", "did you mean 'project'?", "there are: 'project'"]),
        (["show", "project", "runn"], ["has no run 'runn'", "did you mean 'run'?", "it has: 'run'"]),
        (["compare", "project", "run"], ["two runs"]),
        (["export", "project", "-o", "x"], ["--format"]),
        (["export", "project", "--format", "parquet"], ["-o FILE"]),
        (["plot", "project", "-o", "x.gif"], [".png, .svg, .pdf or .html"]),
        (["import", "tensorboard", "/nowhere", "--project", "p"], ["no folder /nowhere"]),
        (["import", "trackio", "/nowhere"], ["no folder or file /nowhere"]),
        (["verify", "projct"], ["did you mean 'project'?"]),
    ],
)
def test_errors_are_one_line(
    arguments: list[str], parts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write("project", "run")
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("trackio: error: ")
    assert all(part in err for part in parts), err


@pytest.mark.parametrize(
    ("blocked", "arguments", "extra"),
    [
        ("matplotlib", ["plot", "p", "-o", "x.png"], "plot"),
        ("pyarrow", ["export", "p", "-o", "x.parquet"], "parquet"),
        ("tensorboard", ["import", "tensorboard", ".", "--project", "p"], "tensorboard"),
    ],
)
def test_a_missing_extra_is_named(
    blocked: str,
    arguments: list[str],
    extra: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    write()
    for name in [name for name in sys.modules if name.partition(".")[0] == blocked]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, blocked, None)
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert f"pip install 'trackio[{extra}]'" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]


def test_damage_says_where_and_lenient_reads_past_it(capsys: pytest.CaptureFixture[str]) -> None:
    path = only_journal(write())
    text = path.read_bytes()
    offset = text.index(b"\n", len(text) // 2) + 1
    path.write_bytes(text[:offset] + b"X" + text[offset + 1 :])
    for command in (["show", "p"], ["list"], ["export", "p"], ["compare", "p", "n", "n"]):
        assert main(command) == 2
        out, err = capsys.readouterr()
        assert f"{path}: damaged record at byte {offset}" in err and "--lenient" in err
        assert "Traceback" not in err
        assert main([*command, "--lenient"]) == 0
        out, err = capsys.readouterr()
        assert f"passed over a damaged record: {path}, byte {offset}" in err and out
    assert main(["verify"]) == 1
    out, err = capsys.readouterr()
    assert str(path) in out and "1 problem" in out and "--lenient" in err


def test_verify_of_what_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    write()
    assert main(["verify", "p", "n"]) == 0
    assert capsys.readouterr().out.startswith("whole: 1 runs, 1 journals, ")
    assert main(["verify", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True


# -- parts ---------------------------------------------------------------------------------------------------


def test_the_trend_is_over_steps_and_has_gaps() -> None:
    trend = Trend()
    for step in [*range(100), *range(900, 1000)]:
        trend.add(step, float(step))
    line = trend.line(10)
    assert line[0] == pytest.approx(49.5, abs=5) and line[9] == pytest.approx(949.5, abs=5)
    assert line[2:8] == [None] * 6
    assert spark(line)[0] != " " and spark(line)[2:8] == " " * 6
    wide = Trend()
    for step in (-(2**63), 0, 2**63 - 1):
        wide.add(step, 1.0)
    assert [value is not None for value in wide.line(3)] == [True, True, True]
    assert spark([1e308, -1e308, math.nan, None]) == "█▁x "


def test_a_summary_needs_constant_memory() -> None:
    trend = Trend()
    for step in range(100_000):
        trend.add(step, 1.0)
    assert len(trend._spans) <= 8 * 24


def test_a_value_of_an_unstepped_run_counts() -> None:
    trackio.init("p", "n")
    for value in range(3):
        trackio.log({"a": value})
    trackio.finish()
    metric = Summary(trackio.Api().run("p", "n")).read().metrics["a"]
    assert (metric.count, metric.last_step, metric.trend.line()) == (3, None, [0.0, 1.0, 2.0])


def test_texts() -> None:
    assert clean("a\tb\x1b\ud800é") == r"a\tb\x1b\ud800é"
    assert [duration(n * 10**9) for n in (4, 187, 7500, 273600)] == ["4.0s", "3m 07s", "2h 05m", "3d 04h"]
    assert iso(1_700_000_000_123_456_789) == "2023-11-14T22:13:20.123456789Z"
