"""conformance.truth: who is to blame for a difference, and whether the trainer's own history is what it handed on."""

from __future__ import annotations

from typing import Any

from conformance.delivered import Delivered
from conformance.doors.ledger import config_differences
from conformance.tape import Logged, Tape
from conformance.truth import ABSENT, Stored, differences, history

ONE = [Logged(0, 1, "loss", 0.5)]
THREE = [*ONE, Logged(1, 2, "loss", 0.25), Logged(2, 3, "loss", 0.125)]


def same_key(key: str) -> str:
    return key


def train_key(key: str) -> str:
    return f"train/{key}"


def tape_of(handed: list[dict[str, Any]], inside: tuple[str, ...] = ("AcmeCallback",)) -> Tape:
    """Return a tape with a log event per dict that the reporting callback handed to the module (`log`)."""
    events: list[dict[str, Any]] = [{"event": "handler", "step": 0, "before": [], "inside": list(inside)}]
    for step, logs in enumerate(handed, 1):
        events.append({"event": "on_log", "step": step, "logs": {}})
        call = {"door": "integration", "path": "log", "args": [logs], "kwargs": {"step": step}}
        events.append({"event": "call", "step": step, **call})
    return Tape({}, events)


def test_what_the_reporting_callback_left_out_is_not_the_trackers_fault() -> None:
    delivered = Delivered.of(tape_of([{"loss": 0.5}, {}, {"loss": 0.125}]))
    first, second = differences(THREE, [Stored(3, "loss", 0.125)], same_key, delivered)
    assert (first.blame, first.note) == ("tracker", "")
    assert (second.blame, second.note) == ("trl", "transformers' AcmeCallback did not hand it to the tracker")


def test_what_was_handed_on_under_the_trackers_name_or_call_by_call_counts() -> None:
    tape = tape_of([{"train/loss": 0.5}])
    (lost,) = differences(ONE, [], train_key, Delivered.of(tape))
    assert lost.blame == "tracker"
    tape.events[-1]["args"] = ["loss", 0.5, 1]
    (lost,) = differences(ONE, [], same_key, Delivered.of(tape))
    assert lost.blame == "tracker"


def test_a_point_that_was_handed_on_changed_is_not_the_trackers_fault() -> None:
    (changed,) = differences(ONE, [Stored(1, "loss", 0.75)], same_key, Delivered.of(tape_of([{"loss": 0.75}])))
    assert (changed.kind, changed.blame) == ("value", "trl")


def test_without_a_reporting_callback_nobody_else_is_to_blame() -> None:
    assert Delivered.of(tape_of([{}], inside=())) is None


def history_of(entries: list[dict[str, Any]], logs: list[dict[str, Any]]) -> list[tuple[str, Any, Any]]:
    passed = [{"event": "on_log", "step": i, "logs": log} for i, log in enumerate(logs, 1)]
    tape = Tape({}, [*passed, {"event": "end", "step": 1, "log_history": entries}])
    return [(d.key, d.trained, d.stored) for d in history(tape) if (d.kind, d.blame) == ("unlogged", "trl")]


def test_the_history_holds_what_passed_the_door_and_the_step() -> None:
    assert history_of([{"loss": 0.5, "step": 1}], [{"loss": 0.5}]) == []


def test_the_history_and_the_door_disagree_in_either_direction() -> None:
    assert history_of([{"loss": 0.5, "mine": 1, "step": 1}], [{"loss": 0.5}]) == [("mine", 1, ABSENT)]
    assert history_of([{"step": 1}], [{"loss": 0.5}]) == [("loss", ABSENT, 0.5)]
    assert history_of([{"loss": 0.25, "step": 1}], [{"loss": 0.5}]) == [("loss", 0.25, 0.5)]
    assert history_of([], [{"loss": 0.5}]) == [("loss", ABSENT, 0.5)]


def test_a_configuration_key_that_was_not_handed_on_is_not_the_trackers_fault() -> None:
    call = {"event": "call", "door": "integration", "path": "config.update", "kwargs": {}, "step": 0}
    events = [
        {"event": "handler", "step": 0, "before": [], "inside": ["AcmeCallback"]},
        {**call, "args": [{"learning_rate": 0.1, "seed": 7}]},
        {"event": "on_log", "step": 1, "logs": {}},
        {"event": "end", "step": 1, "config": {"learning_rate": 0.1, "seed": 3, "warmup": 2}},
    ]
    found = config_differences(Tape({}, events), {})
    assert {d.key: d.blame for d in found} == {"learning_rate": "tracker", "seed": "trl", "warmup": "trl"}
