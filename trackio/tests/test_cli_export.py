"""`trackio export` loses nothing, and replaces no file it was not told to."""

from __future__ import annotations

import csv
import importlib
import json
import math
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trackio
from trackio.cli import main
from trackio.cli.common import UsageError
from trackio.cli.export import value_of
from trackio.cli.output import whole_file
from trackio.values import Encoder

numbers = st.one_of(
    st.floats(),
    st.integers(),
    st.integers(min_value=-(2**200), max_value=2**200),
    st.sampled_from([-0.0, 2**63, 2**64, 10**400, 5e-324]),
)
values = st.recursive(
    st.one_of(numbers, st.text(), st.none(), st.booleans(), st.binary(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
        st.dictionaries(st.sampled_from(["$", "file", "v"]), inner, max_size=3),
        st.tuples(inner, inner),
    ),
    max_leaves=6,
)
payloads = st.lists(
    st.tuples(
        st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), values, max_size=3),
        st.none() | st.integers(-(2**63), 2**63 - 1),
    ),
    max_size=5,
)

#: What was logged, without asking whether NaN equals NaN.
Seen = list[tuple[Any, str, Any]]


def logged() -> Seen:
    return [(step, key, Encoder()(value)) for step, key, value in trackio.Api().run("p", "n").points()]


def record(calls: list[tuple[dict[str, Any], int | None]]) -> None:
    shutil.rmtree(os.environ["TRACKIO_DIR"], ignore_errors=True)
    trackio.init("p", "n", resume="never")
    for payload, step in calls:
        trackio.log(payload, step=step)
    trackio.finish()


def read_csv(path: Path) -> Iterator[tuple[Any, str, str, str]]:
    csv.field_size_limit(sys.maxsize)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield int(row["step"]) if row["step"] else None, row["key"], row["value"], row["json"]


def read_json(path: Path) -> Iterator[tuple[Any, str, Any, str]]:
    for line in path.read_text("utf-8").split("\n")[:-1]:
        row = json.loads(line)
        yield row["step"], row["key"], row["value"], row["json"]


def read_parquet(path: Path) -> Iterator[tuple[Any, str, Any, str]]:
    import pyarrow.parquet

    for row in pyarrow.parquet.read_table(path).to_pylist():
        yield row["step"], row["key"], row["value"], row["json"]


READERS = {"csv": read_csv, "jsonl": read_json, "parquet": read_parquet}


def export(path: Path, *arguments: str) -> None:
    assert main(["export", "p", "-o", str(path), "--force", *arguments]) == 0


@pytest.mark.parametrize("suffix", READERS)
def test_everything_comes_back_equal(suffix: str, tmp_path: Path) -> None:
    if suffix == "parquet":
        importlib.import_module("pyarrow")
    path = tmp_path / f"out.{suffix}"

    @settings(max_examples=25)
    @given(payloads)
    def check(calls: list[tuple[dict[str, Any], int | None]]) -> None:
        record(calls)
        export(path)
        rows = list(READERS[suffix](path))
        assert [(step, key, Encoder()(value_of(text))) for step, key, _, text in rows] == logged()
        for _, _, value, text in rows:
            exact = value_of(text)
            expected = float(exact) if isinstance(exact, (int, float)) and abs(exact) < 2**1023 else None
            if suffix == "jsonl" and expected is not None and not math.isfinite(expected):
                expected = None
            if expected is not None:
                assert repr(float(value)) == repr(expected)
            elif not isinstance(exact, (int, float)):
                assert value in (None, "")

    check()


@pytest.mark.parametrize("suffix", READERS)
def test_tables_images_and_large_contents_are_in_the_file(suffix: str, tmp_path: Path) -> None:
    numpy = importlib.import_module("numpy")
    if suffix == "parquet":
        importlib.import_module("pyarrow")
    large = numpy.arange(20_000, dtype="float64")
    table = trackio.Table(columns=["x", "y"], rows=[[1, math.inf], ['a,"b"\n', None]])
    image = trackio.Image(numpy.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype="uint8"))
    record([({"large": large, "t": table, "i": [image], "bytes": b"x" * 70_000, "file": {"file": "x"}}, 1)])
    assert (Path(trackio.Api().run("p", "n").folder) / "files").is_dir()
    path = tmp_path / f"out.{suffix}"
    export(path)
    shutil.rmtree(os.environ["TRACKIO_DIR"])
    found = {key: value_of(text) for _, key, _, text in READERS[suffix](path)}
    assert numpy.array_equal(found["large"].numpy(), large) and found["t"] == table
    assert found["i"] == [image] and found["bytes"] == b"x" * 70_000 and found["file"] == {"file": "x"}


def test_media_may_be_left_out(tmp_path: Path) -> None:
    record([({"t": trackio.Table(columns=["x"], rows=[[1]]), "a": 1}, 1)])
    export(tmp_path / "o.csv", "--no-media")
    assert [row[1] for row in read_csv(tmp_path / "o.csv")] == ["a"]


def test_all_runs_of_a_project_and_their_times(tmp_path: Path) -> None:
    pyarrow = importlib.import_module("pyarrow.parquet")
    for name in ("a", "b"):
        trackio.init("p", name)
        trackio.log({"x": 1})
    trackio.finish()
    export(tmp_path / "o.parquet")
    rows = pyarrow.read_table(tmp_path / "o.parquet")
    assert rows.column("run").to_pylist() == ["a", "b"]
    moments = [record[1] for run in trackio.Api().runs("p") for record in run.records() if record[2] == "log"]
    assert rows.column("time").cast("int64").to_pylist() == moments
    export(tmp_path / "b.parquet", "--keys", "nothing")
    assert pyarrow.read_table(tmp_path / "b.parquet").num_rows == 0


def test_wide_keeps_what_was_logged_twice_at_a_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(
        [
            ({"a": 1, "b": 0.5, "step": 9}, 1),
            ({"a": 2, "c": math.nan}, 1),
            ({"b": "nan", "d": None, "big": 2**70}, 2),
        ]
    )
    export(tmp_path / "o.csv", "--wide")
    assert "at 1 steps a key was logged more than once" in capsys.readouterr().err
    with (tmp_path / "o.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["run", "step", "nth", "time", "a", "b", "key:step", "c", "d", "big"]
    assert [row[:3] + row[4:] for row in rows[1:]] == [
        ["n", "1", "0", "1", "0.5", "9", "nan", "", ""],
        ["n", "1", "1", "2", "", "", "", "", ""],
        ["n", "2", "0", "", '"nan"', "", "", "null", str(2**70)],
    ]
    export(tmp_path / "o.jsonl", "--wide")
    found = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert [sorted(row["values"]) for row in found] == [["a", "b", "c", "step"], ["a"], ["b", "big", "d"]]


def test_a_wide_column_is_of_numbers_only_if_that_loses_nothing(tmp_path: Path) -> None:
    pyarrow = importlib.import_module("pyarrow.parquet")
    record(
        [
            ({"int": 1, "mixed": 2**53 + 1, "float": math.nan, "text": 1, "flag": True}, 1),
            ({"int": -5, "mixed": 0.5, "float": 3, "text": "x", "flag": False}, 2),
        ]
    )
    export(tmp_path / "o.parquet", "--wide")
    table = pyarrow.read_table(tmp_path / "o.parquet")
    kinds = {field.name: str(field.type) for field in table.schema}
    assert {key: kinds[key] for key in ("int", "mixed", "float", "text", "flag")} == {
        "int": "int64",
        "mixed": "string",
        "float": "double",
        "text": "string",
        "flag": "string",
    }
    assert table.column("mixed").to_pylist() == [str(2**53 + 1), "0.5"]
    assert table.column("int").to_pylist() == [1, -5]


def test_an_existing_file_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record([({"a": 1}, 1)])
    path = tmp_path / "o.csv"
    path.write_text("mine")
    assert main(["export", "p", "-o", str(path)]) == 2
    assert "--force" in capsys.readouterr().err and path.read_text() == "mine"
    assert main(["export", "p", "-o", str(path), "--force"]) == 0
    assert path.read_text().startswith("run,time,")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["o.csv", "store"]


def test_a_file_that_appears_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "o"
    with pytest.raises(UsageError, match="--force"), whole_file(str(path), force=False) as draft:
        Path(draft).write_text("new")
        path.write_text("theirs")
    assert path.read_text() == "theirs" and sorted(tmp_path.iterdir()) == [path]


def test_a_failed_export_leaves_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record([({"a": 1}, 1), ({"a": 2}, 2)])
    (journal,) = Path(trackio.Api().run("p", "n").folder).glob("w-*")
    journal.write_bytes(journal.read_bytes().replace(b'{"a":2}', b'{"a":3}'))
    assert main(["export", "p", "-o", str(tmp_path / "o.csv")]) == 2
    assert "damaged" in capsys.readouterr().err
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["store"]


def test_stdout_is_csv_unless_it_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    record([({"a": 1}, 1)])
    assert main(["export", "p"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "run,time,step,key,value,json"
    assert main(["export", "p", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["json"] == "1" and err == ""
