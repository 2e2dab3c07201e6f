"""conformance.tape: what was written before a process died can be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conformance.tape import Logged, Tape, Writer, from_payloads


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A tape of one training with a header, three events and an end."""
    found = tmp_path / "tape.jsonl"
    writer = Writer(found, {"trainer": "SFTTrainer"})
    writer.write({"event": "on_log", "step": 1, "logs": {"loss": 0.5, "grad_norm": None}})
    writer.write({"event": "call", "step": 1, "door": "module", "path": "log", "args": [], "kwargs": {}})
    writer.write({"event": "on_log", "step": 1, "logs": {"loss": 0.25}})
    writer.write({"event": "end", "step": 1, "log_history": [{"loss": 0.5, "step": 1}]})
    return found


def test_a_tape_is_read_as_written(path: Path) -> None:
    tape = Tape.load(path)
    assert tape.header == {"event": "header", "trainer": "SFTTrainer"}
    assert [e["event"] for e in tape.events] == ["on_log", "call", "on_log", "end"]
    assert tape.end["log_history"] == [{"loss": 0.5, "step": 1}]


def test_every_event_is_on_disk_at_once(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "t", {})
    writer.write({"event": "on_log", "step": 1, "logs": {}})
    assert len((tmp_path / "t").read_text().splitlines()) == 2


@pytest.mark.parametrize("cut", [1, 7, 30])
def test_a_torn_last_line_is_left_out(path: Path, cut: int) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert [e["event"] for e in Tape.load(path).events] == ["on_log", "call", "on_log"]
    assert Tape.load(path).end == {}


def test_a_missing_or_empty_file_is_an_empty_tape(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name in ("missing", "empty"):
        tape = Tape.load(tmp_path / name)
        assert (tape.header, tape.events, tape.logged(), tape.end) == ({}, [], [], {})


def test_the_json_form_keeps_the_trainers_own_events(path: Path) -> None:
    tape = Tape.load(path)
    again = Tape.from_json(json.loads(json.dumps(tape.to_json())))
    assert [e["event"] for e in again.events] == ["on_log", "on_log", "end"]
    assert again.logged() == tape.logged()
    assert again.to_json() == tape.to_json()


def test_points_are_in_the_order_logged_with_their_log(path: Path) -> None:
    assert Tape.load(path).logged() == [
        Logged(0, 1, "loss", 0.5),
        Logged(0, 1, "grad_norm", None),
        Logged(1, 1, "loss", 0.25),
    ]


def test_events_are_chosen_by_name_and_fields(path: Path) -> None:
    tape = Tape.load(path)
    assert [e["logs"]["loss"] for e in tape.of("on_log")] == [0.5, 0.25]
    assert list(tape.of("call", door="integration")) == []
    assert len(list(tape.of("call", door="module"))) == 1


def test_payloads_are_logged_one_per_step() -> None:
    tape = from_payloads([{"a": 1}, {"b": 2}], first_step=5)
    assert tape.logged() == [Logged(0, 5, "a", 1), Logged(1, 6, "b", 2)]
    assert [e["event"] for e in tape.events] == ["on_train_begin", "on_log", "on_log", "on_train_end"]
