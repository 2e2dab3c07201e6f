"""Records to Parquet and back: byte for byte, whatever was logged."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import trackio
from trackio.hub.redact import Redactor
from trackio.hub.shards import Batch, Shard, read, records, run_key, shard_of
from trackio.values import encode_mapping

INFO = {"project": "p", "name": "n", "id": "n-1b16b1df", "created": 5}

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3),
    max_leaves=6,
)
bodies = st.dictionaries(st.text(max_size=5) | st.integers(), values, max_size=4)
kinds = st.sampled_from(["log", "sys", "cfg", "file", "status", "kind of a later release"])
steps = st.none() | st.integers(-(2**63), 2**63 - 1)


def there_and_back(rows: list[list[Any]]) -> list[tuple[Any, ...]]:
    batch = Batch("run", INFO, "w", str)
    for row in rows:
        batch.add(row)
    parts = [(shard.table, read(shard.table, io.BytesIO(data))) for shard, data in batch.shards()]
    return list(records(parts))


@given(st.lists(st.tuples(kinds, steps, bodies), min_size=1, max_size=5))
def test_every_record_comes_back_byte_for_byte(drawn: list[Any]) -> None:
    texts = [encode_mapping(body) for _, _, body in drawn]
    rows = [
        [sequence * 3, 10**18 + sequence, kind, step if kind != "sys" else None, orjson.loads(text)]
        for sequence, ((kind, step, _), text) in enumerate(zip(drawn, texts, strict=True))
    ]
    back = there_and_back(rows)
    assert [row[:4] for row in back] == [tuple(row[:4]) for row in rows]
    assert [row[4] for row in back] == texts


def test_a_record_of_all_tables_keeps_its_order() -> None:
    body = {"a": 0.5, "t": trackio.Table(columns=["x"], data=[[1]]), "b": 1, "h": trackio.Histogram([1, 2])}
    text = encode_mapping(body)
    batch = Batch("run", INFO, "w", str)
    batch.add([0, 1, "log", 7, orjson.loads(text)])
    found = {shard.table: read(shard.table, io.BytesIO(data)) for shard, data in batch.shards()}
    assert {table: [row["key"] for row in rows] for table, rows in found.items()} == {
        "metrics": ["a", "b"], "tables": ["t", "h"]
    }  # fmt: skip
    assert [row[4] for row in records(list(found.items()))] == [text]


@pytest.mark.parametrize(
    ("value", "double"),
    [
        (0.1, 0.1),
        (-0.0, -0.0),
        (math.inf, math.inf),
        (3, 3.0),
        (2**53 + 1, float(2**53)),
        (2**70, 2.0**70),
        (10**400, None),
        (True, 1.0),
        (numpy.float32(0.1), float(numpy.float32(0.1))),
        ("0.1", None),
        (None, None),
        ([1.0], None),
    ],
)
def test_the_double_is_the_number_and_null_is_none(value: Any, double: float | None) -> None:
    batch = Batch("run", INFO, "w", str)
    batch.add([0, 1, "log", None, orjson.loads(encode_mapping({"a": value}))])
    ((_, data),) = batch.shards()
    (row,) = read("metrics", io.BytesIO(data))
    assert row["value"] == double and math.copysign(1, row["value"] or 0) == math.copysign(1, double or 0)
    assert (row["json"] is None) == (type(value) is float and math.isfinite(value))


def test_nan_is_one() -> None:
    batch = Batch("run", INFO, "w", str)
    batch.add([0, 1, "log", None, orjson.loads(encode_mapping({"a": math.nan}))])
    ((_, data),) = batch.shards()
    assert math.isnan(read("metrics", io.BytesIO(data))[0]["value"])


def test_a_path_says_what_is_in_it() -> None:
    shard = Shard("metrics", "run-1", "host-1-2-3", 0, 10**9)
    assert shard_of(shard.path) == shard
    for path in (
        "README.md",
        "metrics/a/b.parquet",
        "others/run/w-000000000-000000001.parquet",
        "files/" + "a" * 64,
    ):
        assert shard_of(path) is None


def test_runs_of_one_name_are_told_apart() -> None:
    names = [
        {**INFO},
        {**INFO, "created": 6},
        {**INFO, "project": "q"},
        {**INFO, "name": "N"},
        {**INFO, "id": "x"},
    ]
    keys = [run_key(info) for info in names]
    assert len(set(keys)) == 4 and keys[0] == keys[4], "the id is the folder's, and not the same everywhere"
    assert run_key({**INFO, "name": "\ud800 ../CON"}).isascii()


# -- what never leaves ---------------------------------------------------------------------------------------


def test_tokens_are_hidden_wherever_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    monkeypatch.setenv("DB_PASSWORD", 'quo"ted-pässword')
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "not a secret at all")
    monkeypatch.setenv("SHORT_TOKEN", "abc")
    shape = "hf_" + "aB3" * 12
    hide = Redactor("the-token-in-use")
    secrets = [shape, "0123456789abcdef", "the-token-in-use"]
    for secret in secrets:
        assert hide(f"a {secret} b") == "a *** b"
    assert hide(orjson.dumps({"a": 'quo"ted-pässword'}).decode()) == '{"a":"***"}'
    for text in ("abc", "not a secret at all", "hf_short", "half of it: 01234567", "\ud800"):
        assert hide(text) == text
    path = tmp_path / "file"
    path.write_bytes(b"x" * ((1 << 20) - 5) + secrets[0].encode() + b" ")
    assert hide.found_in(str(path)), "also across the pieces that it is read in"
    path.write_bytes(b"x" * (1 << 20))
    assert not hide.found_in(str(path))


def test_hidden_texts_of_a_batch() -> None:
    batch = Batch("run", {**INFO, "name": "run secret-word"}, "w", Redactor("secret-word"))
    batch.add([0, 1, "cfg", None, {"a": "x secret-word", "secret-word": 1}])
    batch.add([1, 1, "log", None, {"secret-word": "secret-word", "b": 1.0}])
    for _, data in batch.shards():
        assert b"secret-word" not in data
    rows = [row for shard, data in batch.shards() for row in read(shard.table, io.BytesIO(data))]
    assert not [row for row in rows if "secret-word" in str(row)] and [
        row for row in rows if "***" in str(row)
    ]
