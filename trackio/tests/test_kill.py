"""SIGKILL at random instants, and many processes, threads and forks at once: acknowledged is kept.

`benchmarks/kill.py` does the same some hundred times.
"""

from __future__ import annotations

import errno
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from jobs import kills

import trackio
from trackio import journal
from trackio.lines import lines


@pytest.mark.parametrize("mode", kills.MODES)
def test_what_was_acknowledged_before_a_kill_is_kept(mode: str, tmp_path: Path) -> None:
    figures = sum((kills.kill(tmp_path / str(seed), mode, seed) for seed in range(4)), Counter())
    assert figures["kills"] == 4 and figures["records"] > 4


def test_a_killed_run_is_continued_and_killed_again(store: Path) -> None:
    records = 0
    for seed in range(3):
        process = kills.begin(store, "one", seed)
        assert process.stdout is not None
        first = process.stdout.readline()
        process.kill()
        output = first + process.stdout.read()
        process.wait()
        records += kills.acknowledged(output).total()
    run = trackio.Api().run("p", "n")
    found = kills.kept(run)
    assert len(found) == 3 and all(numbers == list(range(len(numbers))) for numbers in found.values())
    assert records <= sum(map(len, found.values())) <= records + 3
    assert run.status == "crashed" and len(trackio.Api().runs("p")) == 1


def test_eight_processes_of_four_threads_that_fork_lose_nothing(store: Path) -> None:
    processes = [kills.begin(store, "swarm", 100 * seed) for seed in range(8)]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 8
    run = trackio.Api().run("p", "n")
    figures = kills.compare(b"".join(outputs), run, ended=True)
    assert figures["records"] == 8 * (4 * 100 + 3 * 25)
    assert len(kills.kept(run)) == 8 * (4 + 3)
    assert len(list(store.rglob("w-*"))) == 8 * (1 + 3)
    assert run.status == "finished"


def test_a_handler_that_raises_in_the_middle_of_log_leaves_the_journal_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Interrupt(BaseException):
        pass

    def raising(number: int, frame: Any) -> None:
        raise Interrupt

    trackio.init("p", "n")
    acknowledged, interrupts, i = [], 0, 0
    before = signal.signal(signal.SIGALRM, raising)
    try:
        while interrupts < 500:
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-6 * (20 + interrupts % 40))
                while True:
                    i += 1
                    trackio.log({"i": i})
                    acknowledged.append(i)
            except Interrupt:
                interrupts += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    trackio.finish()
    run = trackio.Api().run("p", "n")
    found = [value for *_, value in run.points()]
    assert found == sorted(found) and set(acknowledged) <= set(found)
    assert not run.damage.lines and not run.damage.torn


def interrupted(patch: pytest.MonkeyPatch, size: int | None) -> None:
    """Let the next log write `size` bytes, or all, and then be interrupted."""
    real = os.write

    def write(fd: int, data: bytes) -> int:
        real(fd, data[:size])
        raise KeyboardInterrupt  # as Python raises it, when the call has returned

    patch.setattr(os, "write", write)
    with pytest.raises(KeyboardInterrupt):
        trackio.log({"i": 1})
    patch.undo()


def test_a_piece_left_by_an_interrupt_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    trackio.init("p", "n")
    trackio.log({"i": 0})
    with monkeypatch.context() as patch:
        interrupted(patch, 20)
    trackio.log({"i": 2})
    run = trackio.Api().run("p", "n")
    assert [value for *_, value in run.points()] == [0, 2] and not run.damage.lines


def test_a_full_disk_after_an_interrupt_costs_no_record_that_was_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trackio.init("p", "n")
    trackio.log({"i": 0})
    with monkeypatch.context() as patch:
        interrupted(patch, None)
    real, calls = os.write, []

    def full(fd: int, data: bytes) -> int:
        calls.append(data)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data[:9])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        trackio.log({"i": 2})
    trackio.log({"i": 3})
    run = trackio.Api().run("p", "n")
    assert [value for *_, value in run.points()] == [0, 1, 3] and not run.damage.lines


def test_a_reader_waits_for_the_end_of_a_line_that_is_being_written(
    monkeypatch: pytest.MonkeyPatch, store: Path
) -> None:
    trackio.init("p", "n")
    for i in range(3):
        trackio.log({"i": i})
    (path,) = store.rglob("w-*")
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    monkeypatch.setattr("trackio.lines.time.sleep", lambda seconds: path.write_bytes(whole))
    found = [record[4] for record in journal.read(str(path)) if record[2] == "log"]
    assert found == [{"i": 0}, {"i": 1}, {"i": 2}]


def test_what_a_writer_adds_behind_a_torn_piece_is_no_line(store: Path) -> None:
    trackio.init("p", "n")
    trackio.log({"i": 0})
    (path,) = store.rglob("w-*")
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    found = lines(str(path))
    assert [next(found)[-1:], next(found)[-1:]] == [b"\n", whole[-21:-20]]
    path.write_bytes(whole)
    assert list(found) == []
    assert len(list(journal.read(str(path)))) == 2
