"""conformance.truth: every kind of fault is found, and each is called by one name only."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance import values
from conformance.clauses import all_clauses
from conformance.tape import Logged
from conformance.truth import ABSENT, KINDS, Difference, Stored, compare, differences

Point = tuple[int | None, str, Any]


def found(trained: list[tuple[int, int, str, Any]], stored: list[Point], **how: Any) -> list[Difference]:
    """Compare points (event, step, key, value) with stored ones (step, key, value)."""
    logged = [Logged(event, step, key, values.encode(value)) for event, step, key, value in trained]
    return differences(logged, [Stored(*point) for point in stored], how.pop("rename", lambda key: key), **how)


def kinds(trained: list[tuple[int, int, str, Any]], stored: list[Point]) -> list[str]:
    return [d.kind for d in found(trained, stored)]


def float32(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])


def numpy_scalar(value: float) -> Any:
    import numpy

    return numpy.float32(value)


ONE = [(0, 1, "loss", 0.5)]
THREE = [(0, 1, "loss", 0.5), (1, 2, "loss", 0.25), (2, 3, "loss", 0.125)]
EXAMPLES = {
    "missing": (THREE, [(1, "loss", 0.5), (3, "loss", 0.125)]),
    "equal-step": ([*ONE, (1, 1, "eval_loss", 0.75), (2, 2, "loss", 0.25)], [(1, "loss", 0.5), (2, "loss", 0.25)]),
    "last": (THREE, [(1, "loss", 0.5), (2, "loss", 0.25)]),
    "step": (ONE, [(2, "loss", 0.5)]),
    "order": (THREE, [(2, "loss", 0.25), (1, "loss", 0.5), (3, "loss", 0.125)]),
    "extra": (ONE, [(1, "loss", 0.5), (1, "loss", 0.5)]),
    "value": (ONE, [(1, "loss", 0.75)]),
    "exact": ([(0, 1, "loss", 0.1)], [(1, "loss", float32(0.1))]),
    "integer": ([(0, 1, "tokens", 2**53 + 1)], [(1, "tokens", float(2**53))]),
    "none-number": ([(0, 1, "loss", None)], [(1, "loss", 0.0)]),
    "none": ([(0, 1, "loss", None)], []),
    "nan": ([(0, 1, "loss", math.nan)], [(1, "loss", 0.0)]),
    "infinity": ([(0, 1, "loss", math.inf)], [(1, "loss", 1.7e308)]),
    "text": ([(0, 1, "note", "NaN")], [(1, "note", math.nan)]),
    "scalar": ([(0, 1, "loss", numpy_scalar(0.5))], [(1, "loss", "0.5")]),
    "nested": ([(0, 1, "table", {"a": [1, 2]})], [(1, "table", "{'a': [1, 2]}")]),
}


def test_every_kind_but_that_of_the_history_has_an_example() -> None:
    assert EXAMPLES.keys() == KINDS.keys() - {"unlogged", "merged"}


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_fault_is_of_its_kind_and_of_no_other(kind: str) -> None:
    assert set(kinds(*EXAMPLES[kind])) == {kind}


@pytest.mark.parametrize("kind", EXAMPLES)
def test_what_is_stored_as_trained_does_not_differ(kind: str) -> None:
    trained = EXAMPLES[kind][0]
    assert kinds(trained, [(step, key, values.plain(values.encode(v))) for _, step, key, v in trained]) == []


@pytest.mark.parametrize(
    "kind", sorted({kind for law in all_clauses().values() for kind in law.kinds} & EXAMPLES.keys())
)
def test_a_fault_is_told_with_both_values(kind: str) -> None:
    for d in found(*EXAMPLES[kind]):
        assert (d.trained, d.step) != (d.stored, d.stored_step)
        assert d.blame == "tracker"
        assert values.show(d.trained)


def test_two_keys_that_are_read_back_as_one_are_told() -> None:
    trained = [(0, 1, "a/b", 0.5), (0, 1, "a_b", 0.25), (1, 2, "a_b", 0.125)]
    kept = [(1, "a_b", 0.5), (1, "a_b", 0.25), (2, "a_b", 0.125)]
    (merged,) = found(trained, kept, rename=lambda key: key.replace("/", "_"))
    assert (merged.kind, merged.key, merged.stored, merged.note) == ("merged", "a_b", "a_b", "as a/b is")


SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abc"), SCALAR), max_size=8))
def test_identical_records_never_differ(points: list[tuple[int, str, Any]]) -> None:
    assert kinds([(i, *point) for i, point in enumerate(points)], list(points)) == []


@given(st.lists(st.floats(allow_nan=False, width=16), min_size=2, max_size=6, unique=True))
def test_steps_off_by_one_are_nothing_but_steps(losses: list[float]) -> None:
    trained = [(i, i + 1, "loss", loss) for i, loss in enumerate(losses)]
    assert set(kinds(trained, [(step + 1, key, loss) for _, step, key, loss in trained])) == {"step"}


def test_one_key_twice_at_one_step_is_two_points() -> None:
    trained = [(0, 1, "loss", 0.5), (1, 1, "loss", 0.25)]
    assert kinds(trained, [(1, "loss", 0.5), (1, "loss", 0.25)]) == []
    (lost,) = found(trained, [(1, "loss", 0.25)])
    assert (lost.kind, lost.trained, lost.stored) == ("equal-step", 0.5, ABSENT)
    assert kinds([(0, 1, "loss", 0.5), (1, 1, "loss", 0.5)], [(1, "loss", 0.5)]) == ["equal-step"]


def test_what_is_logged_once_may_be_kept_without_a_step() -> None:
    assert kinds(ONE, [(None, "loss", 0.5)]) == []
    assert set(kinds(THREE, [(None, "loss", v) for _, _, _, v in THREE])) == {"step"}


def test_another_trackers_keys_are_no_difference() -> None:
    assert kinds(ONE, [(1, "loss", 0.5), (1, "system/cpu", 3.0)]) == []


def test_keys_are_looked_up_under_the_trackers_names() -> None:
    assert found(ONE, [(1, "train/loss", 0.5)], rename=lambda key: f"train/{key}") == []


def test_two_keys_that_become_one_are_compared_together() -> None:
    trained = [(0, 1, "a/b", 1.0), (0, 1, "a_b", 2.0)]
    merged = found(trained, [(1, "a_b", 2.0)], rename=lambda key: key.replace("/", "_"))
    assert [(d.kind, d.key) for d in merged] == [("missing", "a/b"), ("merged", "a_b")]


@pytest.mark.parametrize(
    "trained, stored, kind",
    [
        (1, 1.0, None),
        (True, 1, None),
        (0.0, -0.0, "exact"),
        (0.1, float32(0.1), "exact"),
        (1e300, math.inf, "exact"),
        (1e300, -math.inf, "value"),
        (1e-45, 0.0, "exact"),
        (1e-6, 0.0, "value"),
        (0.5, "0.5", "value"),
        (0.5, None, "value"),
        (None, math.nan, "none"),
        (None, False, "none-number"),
        (math.inf, -math.inf, "infinity"),
        (math.nan, None, "nan"),
        ("1", 1, "text"),
        ((1, 2), [1, 2], None),
        ({1: 2}, {"1": 2}, None),
        ([1], [1, 2], "nested"),
        (object(), "anything", None),
    ],
)
def test_a_value_against_what_is_stored(trained: Any, stored: Any, kind: str | None) -> None:
    assert compare(values.encode(trained), stored) == kind


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-3e38, max_value=3e38))
def test_float32_is_a_loss_of_precision_at_most(value: float) -> None:
    assert compare(value, float32(value)) in (None, "exact")
