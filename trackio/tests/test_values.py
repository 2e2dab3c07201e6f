"""Every value comes back equal, or as a typed marker; none is refused, changed or kept by reference."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import math
import pathlib
import struct
import uuid
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import trackio
from trackio import Array, Marker, session
from trackio.values import MAX_DEPTH, Decoder, Encoder, encode_mapping

FLOATS = st.floats(allow_nan=True, allow_infinity=True, allow_subnormal=True, width=64)
TEXT = st.text(st.characters(exclude_categories=())) | st.sampled_from(
    ["NaN", "null", "$", "", "\ud800", "😀"]
)
LEAVES = (
    st.none()
    | st.booleans()
    | FLOATS
    | st.integers()
    | st.integers(min_value=-(2**70), max_value=2**70)
    | TEXT
    | st.binary(max_size=20)
    | st.complex_numbers(allow_nan=False)
    | st.datetimes(timezones=st.none() | st.just(datetime.timezone.utc))
    | st.dates()
    | st.timedeltas()
    | st.uuids()
    | st.decimals(allow_nan=False)
    | st.just(pathlib.Path("a/../b"))
)
HASHABLE = st.booleans() | st.integers() | TEXT | st.tuples(st.integers(), TEXT)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(HASHABLE, inner, max_size=4)
        | st.frozensets(HASHABLE, max_size=3)
        | st.sets(HASHABLE, max_size=3)
    ),
    max_leaves=12,
)


def same(a: Any, b: Any) -> bool:
    """Equal in type and to the last bit; NaN is NaN."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return struct.pack("<d", a) == struct.pack("<d", b) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        pairs = zip(a.items(), b.items(), strict=True) if len(a) == len(b) else None
        return pairs is not None and all(same(x, y) for pair in pairs for x, y in zip(*pair, strict=True))
    return bool(a == b)


def back(value: Any) -> Any:
    return Decoder()(orjson.loads(orjson.dumps(Encoder()(value))))


@given(VALUES)
def test_any_value_comes_back(value: Any) -> None:
    assert same(back(value), value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(TEXT, FLOATS | st.integers(), max_size=8) | st.dictionaries(TEXT, VALUES, max_size=4))
def test_any_metrics_come_back_through_the_journal(metrics: dict[str, Any]) -> None:
    run = session.start("p", None, "never")
    before = repr(metrics)
    run.log(metrics, step=3)
    run.finish()
    assert repr(metrics) == before, "the caller's dict was changed"
    assert run.health()["dropped"] == 0
    points = list(trackio.Api().run("p", run.name).points())
    assert [(step, key) for step, key, _ in points] == [(3, key) for key in metrics]
    assert all(same(point[2], value) for point, value in zip(points, metrics.values(), strict=True))


@given(st.dictionaries(st.text(), FLOATS | st.integers() | st.booleans(), max_size=8))
def test_the_quick_way_writes_no_null(metrics: dict[str, Any]) -> None:
    written = orjson.loads(encode_mapping(metrics))
    if isinstance(written, dict):
        assert None not in written.values()


class Colour(enum.Enum):
    RED = 1


class Mode(str, enum.Enum):
    FAST = "fast"


@dataclasses.dataclass
class Settings:
    rate: float
    layers: list[str]


class Peft:
    def to_dict(self) -> dict[str, Any]:
        return {"r": 8, "target_modules": {"q"}}


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no")


NAME = __name__


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Colour.RED, Marker("enum", f"{NAME}.Colour.RED", 1)),
        (Mode.FAST, "fast"),
        (Settings(0.1, ["a"]), Marker("object", f"{NAME}.Settings", {"rate": 0.1, "layers": ["a"]})),
        (Peft(), Marker("object", f"{NAME}.Peft", {"r": 8, "target_modules": {"q"}})),
        (Hostile(), Marker("repr", f"{NAME}.Hostile", f"<{NAME}.Hostile: repr raised RuntimeError>")),
        (Ellipsis, Marker("repr", "ellipsis", "Ellipsis")),
        (int, Marker("repr", "type", "<class 'int'>")),
        ({"$": "float", "v": "nan"}, {"$": "float", "v": "nan"}),
        (Marker("repr", "t", "x"), Marker("repr", "t", "x")),
        (pathlib.PureWindowsPath("c:/x"), pathlib.PureWindowsPath("c:/x")),
        (decimal.Decimal("0.10"), decimal.Decimal("0.10")),
        (uuid.UUID(int=7), uuid.UUID(int=7)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_objects_come_back_by_rule(value: Any, expected: Any) -> None:
    assert back(value) == expected


def test_cycles_and_depth_end_in_markers() -> None:
    cyclic: list[Any] = [1]
    cyclic.append(cyclic)
    assert back(cyclic) == [1, Marker("cycle", "list")]

    deep: list[Any] = []
    for _ in range(1000):
        deep = [deep]
    found = back(deep)
    depth = 0
    while isinstance(found, list):
        found, depth = found[0], depth + 1
    assert (depth, found.kind, found.type) == (MAX_DEPTH, "deep", "list")


def test_a_value_held_twice_is_no_cycle() -> None:
    part = [1]
    assert back([part, part]) == [[1], [1]]


def test_a_value_that_unfolds_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trackio.values.MAX_PARTS", 1000)
    value: list[Any] = []
    for _ in range(60):
        value = [value, value]
    assert len(orjson.dumps(Encoder()(value))) < 10_000_000


def test_numpy() -> None:
    import numpy

    assert same(back(numpy.float64(0.1)), 0.1)
    assert same(back(numpy.float32(0.1)), float(numpy.float32(0.1)))
    assert same(back(numpy.float16(0.1)), float(numpy.float16(0.1)))
    assert same(back(numpy.int64(-3)), -3)
    assert same(back(numpy.uint64(2**64 - 1)), 2**64 - 1)
    assert same(back(numpy.bool_(True)), True)
    assert same(back(numpy.str_("x")), "x")
    assert math.isnan(back(numpy.float32("nan")))
    assert same(back(numpy.array(0.5, "float32")), 0.5)
    assert Encoder()(numpy.float32(0.5)) == {"$": "scalar", "type": "numpy.float32", "v": 0.5, "plain": True}

    for dtype in ("bool", "int8", "uint16", "int64", "float16", "float32", "float64", "complex64", ">f4"):
        array = numpy.arange(6).reshape(2, 3).astype(dtype)
        found = back(array)
        assert (found.dtype, found.shape) == (array.dtype.name, (2, 3))
        assert found.tolist() == array.tolist()
        assert numpy.array_equal(found.numpy(), array)
    assert back(numpy.zeros((0, 3))).tolist() == []
    assert back(numpy.array([1.5])).item() == 1.5
    with pytest.raises(ValueError, match="not one value"):
        back(numpy.array([1, 2])).item()
    assert back(numpy.array(["a", None], dtype=object)) == Marker(
        "ndarray", "object", {"shape": [2], "items": ["a", None]}
    )
    day = numpy.datetime64("2020-01-02")
    assert back(day) == Marker("scalar", "numpy.datetime64[D]", "2020-01-02")


def test_bfloat16_is_read_without_any_library() -> None:
    halves = struct.pack("<4H", 0x3F80, 0xC000, 0x7F80, 0x0001)
    assert Array("bfloat16", (4,), halves).tolist() == [1.0, -2.0, math.inf, 2.0**-133]


def test_a_large_array_lies_beside_the_journal() -> None:
    import numpy

    run = trackio.init("p", "n")
    array = numpy.arange(100_000)
    trackio.log({"a": array, "b": array})
    trackio.finish()
    files = list((pathlib.Path(str(run.folder)) / "files").iterdir())
    assert len(files) == 1, "equal contents are kept once"
    found = [value for _, _, value in trackio.Api().run("p", "n").points()]
    assert all(numpy.array_equal(value.numpy(), array) for value in found) and len(found) == 2


def test_nothing_of_the_payload_is_kept() -> None:
    run = trackio.init("p", "n")
    inner = {"b": [1, 2]}
    trackio.log({"a": inner})
    inner["b"].append(3)
    run.finish()
    assert [value for *_, value in trackio.Api().run("p", "n").points()] == [{"b": [1, 2]}]


def test_keys_that_are_no_strings() -> None:
    trackio.init("p", "n")
    trackio.log({1: 1.0, "1": 2.0, Mode.FAST: 3.0})
    trackio.finish()
    found = [(key, value) for _, key, value in trackio.Api().run("p", "n").points()]
    assert found == [("1", 1.0), ("1", 2.0), ("fast", 3.0)]
