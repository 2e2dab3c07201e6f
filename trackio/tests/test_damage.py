"""Bytes that changed on the disk, clocks that jump, machines that share a folder: a reader never takes a
wrong value for a right one, and order stays.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trackio
from trackio import journal, session
from trackio.lines import parse

ELSEWHERE = Path(__file__).with_name("jobs") / "elsewhere.py"


def write(folder: Path) -> Path:
    """Write a journal of all kinds of records; return its path."""
    writer = journal.Journal(str(folder), lambda _: None)
    for i in range(12):
        body = {"loss": 1.25 / (i + 1), "text": f'"é\\{i}', "i": i, "nan": {"$": "float", "v": "nan"}}
        writer.append(b"log", b"%d" % i if i % 3 else b"null", orjson.dumps(body))
    writer.append(b"cfg", b"null", b'{"report_to":["a","log","b"],"lr":0.0001}')
    writer.append(b"log", b"7", b'[[1,2],["log","cfg"]]')
    writer.append(b"status", b"null", b'"finished"')
    writer.close()
    return Path(writer.path)


# -- damage ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, list[Any]]:
    """A journal, its bytes, and its records."""
    path = write(tmp_path_factory.mktemp("sound"))
    return path, path.read_bytes(), list(journal.read(str(path)))


def check(path: Path, damaged: bytes, records: list[Any]) -> None:
    """Read damaged bytes: what comes is what was written, and what does not come is told."""
    path.write_bytes(damaged)
    damage = journal.Damage()
    found = list(journal.read(str(path), strict=False, damage=damage))
    by_sequence = {record[0]: record for record in records}
    assert all(by_sequence.get(record[0]) == record for record in found), "a value that nobody wrote"
    lost = len(records) - len({record[0] for record in found})
    assert not lost or damage or found == records[: len(found)], "a record vanished, and nobody was told"
    try:
        strict = list(journal.read(str(path)))
    except trackio.JournalDamaged as error:
        assert damage.lines and error.offset == damage.lines[0][1]
    else:
        assert strict == found and not damage.lines
    who, status, _ = journal.ends(str(path))
    assert who in ({}, records[0][4]) and status in (None, "finished")
    changes, _ = journal.latest(str(path.parent))
    assert changes in ([], [records[-3][4]])


@settings(max_examples=400)
@given(st.data())
def test_no_flipped_byte_is_a_value(sound: tuple[Path, bytes, list[Any]], data: st.DataObject) -> None:
    path, whole, records = sound
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    check(path, bytes(damaged), records)


@settings(max_examples=100)
@given(st.data())
def test_no_lost_or_zeroed_block_is_a_value(
    sound: tuple[Path, bytes, list[Any]], data: st.DataObject
) -> None:
    path, whole, records = sound
    begin = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(begin, len(whole)))
    block = whole[begin:end]
    for changed in (b"", b"\0" * len(block)):
        check(path, whole[:begin] + changed + whole[end:], records)


def test_every_single_digit_is_guarded(sound: tuple[Path, bytes, list[Any]]) -> None:
    line = sound[1].splitlines(keepends=True)[3]
    changed = 0
    for place, byte in enumerate(line):
        if chr(byte).isdigit():
            for digit in b"0123456789":
                if digit != byte:
                    with pytest.raises(ValueError):
                        parse(line[:place] + bytes([digit]) + line[place + 1 :])
                    changed += 1
    assert changed > 9 * 30


def test_lines_of_the_first_release_are_read(sound: tuple[Path, bytes, list[Any]]) -> None:
    path, whole, records = sound
    old = b"".join(line.rpartition(b",")[0] + b"]\n" for line in whole.splitlines())
    path.write_bytes(old)
    assert list(journal.read(str(path))) == records
    assert journal.ends(str(path))[:2] == (records[0][4], "finished")
    # In a file that has checksums none may be missing.
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:4], old.splitlines(keepends=True)[4], *lines[5:]]))
    with pytest.raises(trackio.JournalDamaged, match="checksum is missing"):
        list(journal.read(str(path)))


def test_a_damaged_file_beside_the_journal_is_told() -> None:
    run = trackio.init("p", "n")
    trackio.log({"large": b"x" * 100_000, "small": 1})
    trackio.finish()
    (path,) = (Path(str(run.folder)) / "files").iterdir()
    path.write_bytes(b"x" * 99_999 + b"y")
    with pytest.raises(OSError, match="not those its name says"):
        list(trackio.Api().run("p", "n").points())
    points = list(trackio.Api(strict=False).run("p", "n").points())
    assert [(key, type(value).__name__) for _, key, value in points] == [
        ("large", "Marker"),
        ("small", "int"),
    ]


def test_a_run_that_is_continued_passes_over_its_torn_end(store: Path) -> None:
    trackio.init("p", "n", config={"report_to": ["a", "log", "b"], "x": {"y": ["z", "log", None, "cfg", 1]}})
    trackio.log({"a": ["x", "log", None, 1]}, step=5)
    trackio.log({"a": 1}, step=6)
    trackio.finish()
    (path,) = store.rglob("w-*")
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b',"log",6,') + 12])
    script = "import trackio; trackio.init('p', 'n', resume='must'); trackio.log({'a': 2})"
    script += "; print(dict(trackio.config))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "'report_to': ['a', 'log', 'b']" in done.stdout and "'cfg'" in done.stdout
    assert [step for step, *_ in trackio.Api().run("p", "n").points()] == [5, 5]


@pytest.mark.parametrize("piece", [b"", b'[0,1763900000000000000,"op'], ids=["empty", "torn"])
def test_a_writer_that_was_killed_before_its_first_record_says_nothing(store: Path, piece: bytes) -> None:
    run = trackio.init("p", "n")
    trackio.finish()
    path = Path(str(run.folder)) / "w-other-1-1.jsonl"
    path.write_bytes(piece)
    stored = trackio.Api().run("p", "n")
    assert stored.status == "finished" and len(list(stored.records())) == 2
    assert stored.damage.torn == bool(piece)


# -- clocks ------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=30))
def test_a_clock_that_jumps_changes_no_order(times: list[int]) -> None:
    run = session.start("p", None, "never")
    with pytest.MonkeyPatch.context() as patch:
        for i, moment in enumerate(times):
            patch.setattr(time, "time_ns", lambda moment=moment: moment)
            run.log({"i": i}, step=len(times) - i)
    run.finish()
    stored = trackio.Api().run("p", run.name)
    assert [(step, value) for step, _, value in stored.points()] == [
        (len(times) - i, i) for i in range(len(times))
    ]
    moments = [record[1] for record in stored.records()]
    assert moments == sorted(moments)


# -- machines ----------------------------------------------------------------------------------------------


def elsewhere(*arguments: str) -> subprocess.Popen[str]:
    """Start a writer on another machine, and wait until it has logged."""
    process = subprocess.Popen(
        [sys.executable, str(ELSEWHERE), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "logged\n"
    return process


NOW = str(time.time_ns())


@pytest.mark.parametrize("hosts", [("a/1", "b/1"), ("a/1", "a/1")], ids=["two names", "one name"])
def test_machines_that_share_a_folder_and_everything_else(store: Path, hosts: tuple[str, str]) -> None:
    processes = [
        elsewhere(host, f"boot{number}", "7", NOW, str(number), "end") for number, host in enumerate(hosts)
    ]
    run = trackio.Api().run("p", "n")
    assert run.status == "running" and len(list(store.rglob("w-*"))) == 2
    for process in processes:
        process.communicate()
    found = [record[4] for record in run.records() if record[2] == "log"]
    for number in range(2):
        assert [body["i"] for body in found if body["number"] == number] == list(range(10))
    assert len(found) == 20 and not run.damage
    assert run.status == "finished" and len(trackio.Api().runs("p")) == 1


def test_who_is_alive_elsewhere_is_judged_by_silence_and_by_the_last_boot(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = journal.host_name()
    process = elsewhere(me, "another boot", str(os.getpid()), NOW, "0")
    process.communicate()
    run = trackio.Api().run("p", "n")
    (path,) = store.rglob("w-*")
    monkeypatch.setattr("trackio.api.up_for", lambda: 1000.0)
    for seconds, status in ((0, "running"), (900, "running"), (1100, "crashed"), (4000, "crashed")):
        os.utime(path, (time.time() - seconds,) * 2)
        assert run.status == status, f"silent for {seconds} s; this machine was booted 1,000 s ago"
    monkeypatch.setattr("trackio.api.host_name", lambda: "another name")
    for seconds, status in ((1100, "running"), (4000, "crashed")):
        os.utime(path, (time.time() - seconds,) * 2)
        assert run.status == status, f"another machine, silent for {seconds} s"
