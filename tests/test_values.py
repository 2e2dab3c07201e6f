"""conformance.values: whatever is logged survives the tape, and nothing that is logged can raise."""

from __future__ import annotations

import json
import math
import socket
from collections import UserDict
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance import values

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text()
KEYS = st.text() | st.integers() | st.booleans() | st.none() | st.tuples(st.integers(), st.text()) | st.just("$")
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal in type, sign and NaN; a tuple reads back as a list."""
    if isinstance(a, (list, tuple)):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, float):
        return type(b) is float and (
            (math.isnan(a) and math.isnan(b)) or (a, math.copysign(1, a)) == (b, math.copysign(1, b))
        )
    return type(a) is type(b) and a == b


def through_a_file(value: Any) -> Any:
    return json.loads(json.dumps(values.encode(value)))


@given(VALUES)
def test_what_is_encoded_comes_back(value: Any) -> None:
    assert same(value, values.plain(through_a_file(value)))


@given(VALUES)
def test_materialised_values_keep_their_types_too(value: Any) -> None:
    again = values.materialise(through_a_file(value))
    assert type(again) is type(value)
    assert same(value, values.plain(values.encode(again)))


@given(st.floats() | st.just(-0.0))
def test_a_float_comes_back_bit_for_bit(value: float) -> None:
    assert same(value, values.plain(through_a_file(value)))


@pytest.mark.parametrize(
    "value", [{"$": "float", "v": "1"}, {1: "a", "1": "b"}, {(1, 2): 3}, {"$": {"$": None}}, {None: 1}, {True: 1.0}]
)
def test_a_mapping_that_json_would_confuse_comes_back(value: dict[Any, Any]) -> None:
    assert values.plain(through_a_file(value)) == value


def test_an_encoded_value_shares_nothing_with_the_original() -> None:
    logs = {"a": [1, {"b": 2}]}
    encoded = values.encode(logs)
    logs["a"].append(3)
    logs["a"][1]["b"] = 9  # type: ignore[index]
    assert encoded == {"a": [1, {"b": 2}]}


class Hostile:
    """An object whose every look raises."""

    def __repr__(self) -> str:
        raise RuntimeError("do not look at me")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("do not compare me")

    __hash__ = None  # type: ignore[assignment]


class HostileMapping(UserDict[str, Any]):
    """A mapping that cannot be read."""

    def items(self) -> Any:
        raise RuntimeError("closed")


class Colour(str, Enum):
    """A text that is more than a text."""

    RED = "red"


@pytest.mark.parametrize("value", [Hostile(), [Hostile()], {"k": Hostile()}, object(), socket, 1j, b"\xff", {1, 2}])
def test_an_object_that_is_no_value_is_described(value: Any) -> None:
    assert json.dumps(values.plain(through_a_file(value)), default=str)


def test_a_mapping_that_cannot_be_read_is_described() -> None:
    assert isinstance(values.plain(values.encode({"k": HostileMapping(a=1)}))["k"], values.Unreadable)


def test_a_text_of_another_class_is_its_text() -> None:
    assert values.encode(Colour.RED) == "red"


def test_a_cycle_ends() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    ring: dict[str, Any] = {}
    ring["ring"] = ring
    for value in (cycle, ring):
        assert "nested deeper" in json.dumps(values.encode(value))


def test_a_long_repr_is_cut() -> None:
    class Long:
        def __repr__(self) -> str:
            return "x" * 10_000

    assert len(values.plain(values.encode(Long()))) == values.REPR_LIMIT


def test_a_table_stays_a_table() -> None:
    table = values.encode_table(["step", 2], [[1, math.nan], [2, "a"]])
    assert values.plain(table) == table
    assert table["columns"] == ["step", "2"]
    assert values.show(table) == "table of 2 rows, columns step, 2"


def test_numpy_scalars_are_their_numbers() -> None:
    import numpy

    encoded = values.encode({"a": numpy.float32(0.1), "b": numpy.int64(3), "c": numpy.array([1.0, math.inf])})
    assert values.plain(encoded) == {"a": float(numpy.float32(0.1)), "b": 3, "c": [1.0, math.inf]}
    assert values.materialise(encoded)["a"].dtype == numpy.float32


@pytest.mark.parametrize("width", [5, 24, 60])
def test_what_is_shown_is_not_wider_than_asked(width: int) -> None:
    assert values.show(0.1) == "0.1"
    assert len(values.show("x" * 100, width)) == width
