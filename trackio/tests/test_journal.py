"""The journal: one write per record, torn ends, damage, full disks, the background thread."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest

import trackio
from trackio import flush, journal


def only_journal(store: Path) -> Path:
    (path,) = store.rglob("w-*.jsonl")
    return path


def logged(count: int, store: Path) -> Path:
    trackio.init("p", "n")
    for i in range(count):
        trackio.log({"i": i}, step=i)
    trackio.finish()
    return only_journal(store)


def numbers(strict: bool = True) -> tuple[list[int], Any]:
    run = trackio.Api(strict=strict).run("p", "n")
    return [value for *_, value in run.points()], run.damage


def test_one_write_per_record(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    trackio.init("p", "n")
    writes: list[bytes] = []
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: writes.append(bytes(data)) or real(fd, data))
        trackio.log({"a": 1.5}, step=2)
    assert len(writes) == 1 and b'"log",2,{"a":1.5},' in writes[0] and writes[0].endswith(b"]\n")


def test_what_log_returned_from_is_in_the_file(store: Path) -> None:
    trackio.init("p", "n")
    trackio.log({"a": 1})
    assert b'"log",null,{"a":1},' in only_journal(store).read_bytes()


def test_every_torn_end_costs_one_record_at_most(store: Path) -> None:
    path = logged(5, store)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    assert len(lines) == 7  # open, five, status
    start = sum(map(len, lines[:5]))
    for cut in range(start, start + len(lines[5])):
        path.write_bytes(whole[:cut])
        found, damage = numbers()
        complete = cut == start + len(lines[5]) - 1  # only the newline is missing
        assert found == [0, 1, 2, 3] + [4] * complete
        assert damage.torn == (0 if cut == start or complete else 1)


def test_zeros_at_the_end_are_a_torn_record(store: Path) -> None:
    path = logged(2, store)
    path.write_bytes(path.read_bytes() + b"\0" * 100)  # what a power failure may leave
    found, damage = numbers()
    assert found == [0, 1] and damage.torn == 1


@pytest.mark.parametrize(
    "rubbish", [b"\xff", b"{}", b"[1]", b"null", b'{"a":1,"b":2,"c":3,"d":4,"e":5}', b""]
)
def test_damage_in_the_middle_names_its_offset_and_can_be_passed(store: Path, rubbish: bytes) -> None:
    path = logged(5, store)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = rubbish + b"\n"
    path.write_bytes(b"".join(lines))
    offset = sum(map(len, lines[:3]))
    with pytest.raises(trackio.JournalDamaged, match=f"at byte {offset}:") as caught:
        numbers()
    assert (caught.value.path, caught.value.offset) == (str(path), offset)
    found, damage = numbers(strict=False)
    assert found == [0, 1, 3, 4]
    assert [(where, at) for where, at, _ in damage.lines] == [(str(path), offset)]


def test_a_lost_line_is_noticed(store: Path) -> None:
    path = logged(5, store)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3] + lines[4:]))
    found, damage = numbers()
    assert found == [0, 1, 3, 4] and damage.missing == 1


def test_a_full_disk_costs_the_record_and_nothing_else(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    run = trackio.init("p", "n")
    trackio.log({"i": 0})
    real, calls = os.write, []

    def full(fd: int, data: bytes) -> int:
        calls.append(len(data))
        if len(calls) == 1:
            return real(fd, data[:7])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        trackio.log({"i": 1})
    assert run.health()["dropped"] == 1 and "No space" in run.health()["last_error"]
    trackio.log({"i": 2})
    found, damage = numbers()
    assert found == [0, 2] and damage.missing == 1 and not damage.lines


def test_a_short_write_is_completed(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    trackio.init("p", "n")
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: real(fd, data[:5]))
        trackio.log({"i": 0})
    assert numbers()[0] == [0]


def test_a_clock_set_back_changes_no_order(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    trackio.init("p", "n")
    trackio.log({"i": 0})
    with monkeypatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: 5)
        trackio.log({"i": 1})
    times = [record[1] for record in journal.read(str(only_journal(store)))]
    assert times == sorted(times)


def test_the_background_thread_syncs_and_then_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flush, "INTERVAL", 0.02)
    syncs: list[int] = []
    monkeypatch.setattr(journal, "_fdatasync", syncs.append)
    run = trackio.init("p", "n")
    trackio.log({"a": 1})
    deadline = time.monotonic() + 5
    while run.health()["unsynced"] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert run.health()["unsynced"] == 0 and syncs
    count = len(syncs)
    time.sleep(0.1)
    assert len(syncs) == count, "nothing to sync, and yet it did"
    trackio.log({"a": 1})
    while run.health()["unsynced"] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert run.health()["unsynced"] == 0


def test_a_record_written_during_a_sync_is_synced_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flush, "INTERVAL", 0.01)
    run = trackio.init("p", "n")
    late = [True]

    def slow(fd: int) -> None:
        if late:
            late.pop()
            trackio.log({"during": 1})

    monkeypatch.setattr(journal, "_fdatasync", slow)
    trackio.log({"a": 1})
    deadline = time.monotonic() + 5
    while (late or run.health()["unsynced"]) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert run.health()["unsynced"] == 0 and not late


def test_a_sync_that_fails_is_told_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flush, "INTERVAL", 0.01)
    failing = [True]

    def sync(fd: int) -> None:
        if failing:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(journal, "_fdatasync", sync)
    run = trackio.init("p", "n")
    trackio.log({"a": 1})
    time.sleep(0.1)
    assert run.health()["unsynced"] > 0 and "Input/output" in run.health()["last_error"]
    failing.clear()
    deadline = time.monotonic() + 5
    while run.health()["unsynced"] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert run.health()["unsynced"] == 0


def test_always_syncs_every_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_FSYNC", "always")
    syncs: list[int] = []
    monkeypatch.setattr(journal, "_fdatasync", syncs.append)
    run = trackio.init("p", "n")
    before = len(syncs)
    for i in range(3):
        trackio.log({"i": i})
        assert run.health()["unsynced"] == 0
    assert len(syncs) == before + 3
