"""Disks that are full, folders that vanish, permissions that are lost, writes that fail: the training goes
on, what was recorded stays, what comes after is kept, and `health()` says what happened.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import trackio
from trackio import session

JOBS = Path(__file__).with_name("jobs")


def job(*command: str, cwd: Path | None = None) -> str:
    """Run a helper script to its end; return what it printed."""
    done = subprocess.run([sys.executable, *command], cwd=cwd, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def numbers(strict: bool = True) -> list[int]:
    run = trackio.Api(strict=strict).run("p", "n")
    return [value for _, key, value in run.points() if key == "i"]


def opened() -> int:
    return len(os.listdir("/dev/fd"))


# -- writes that fail --------------------------------------------------------------------------------------

FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EROFS, errno.ESTALE)
#: What becomes of one call of `os.write`: nothing unusual, so many bytes only, or an error.
OUTCOMES = st.none() | st.integers(0, 60) | st.sampled_from(FAULTS).map(lambda number: -number)


@given(st.lists(OUTCOMES, max_size=40), st.booleans())
@example([1, 0, 0], False)
def test_any_sequence_of_short_and_failing_writes(outcomes: list[int | None], truncate: bool) -> None:
    real, real_truncate, plan = os.write, os.ftruncate, iter(outcomes)

    def write(fd: int, data: bytes) -> int:
        outcome = next(plan, None)
        if outcome is None:
            return real(fd, data)
        if outcome < 0:
            raise OSError(-outcome, os.strerror(-outcome))
        return real(fd, data[:outcome]) if outcome else 0

    def refuse(fd: int, size: int) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))  # as on a file that may only be appended to

    run = session.start("p", None, "never")
    acknowledged, dropped = [], 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", write)
        patch.setattr(os, "ftruncate", real_truncate if truncate else refuse)
        for i in range(20):
            run.log({"i": i, "text": "é" * 20})
            if run.health()["dropped"] > dropped:
                dropped += 1
                assert run.health()["last_error"].startswith("OSError: [Errno ")
            else:
                acknowledged.append(i)
            assert (run.health()["written"], run.health()["dropped"]) == (i + 1 - dropped, dropped)
    run.log({"i": 20})
    run.finish()
    stored = trackio.Api(strict=truncate).run("p", run.name)
    assert [value for _, key, value in stored.points() if key == "i"] == [*acknowledged, 20]
    assert not stored.damage.torn and not (truncate and stored.damage.lines)


@pytest.mark.parametrize("number", FAULTS, ids=errno.errorcode.get)
def test_strict_raises_what_the_disk_says(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trackio.init("p", "n")
    trackio.log({"i": 0})
    monkeypatch.setenv("TRACKIO_STRICT", "1")

    def fail(fd: int, data: bytes) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fail)
        with pytest.raises(OSError) as caught:
            trackio.log({"i": 1})
        assert caught.value.errno == number
        with pytest.raises(OSError):
            trackio.config["a"] = 1
    trackio.log({"i": 2})
    assert numbers() == [0, 2] and run.health()["dropped"] == 2


def test_a_disk_that_is_full_from_the_beginning_uses_up_nothing(
    monkeypatch: pytest.MonkeyPatch, store: Path, capsys: Any
) -> None:
    real, before = os.write, opened()

    def full(fd: int, data: bytes) -> int:
        if b'"open"' in bytes(data):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        run = trackio.init("p", "n")
        for i in range(100):
            trackio.log({"i": i})
        assert run.health()["dropped"] == 100 and "No space" in run.health()["last_error"]
        assert opened() == before and not list(store.rglob("w-*"))
    trackio.log({"i": 100})
    assert run.health() == {"written": 1, "dropped": 100, "unsynced": 2, "last_error": run._last_error}
    trackio.finish()
    assert numbers() == [100] and "100 of 101 calls were not kept" in capsys.readouterr().err


def check_full(output: str) -> None:
    kept = [int(number) for number in re.findall(r"kept (\d+)", output)]
    lost = [int(number) for number in re.findall(r"lost (\d+)", output)]
    assert sorted(kept + lost) == list(range(60)) and lost and min(lost) >= 20 and max(lost) < 40
    assert numbers() == kept, "not what was acknowledged"
    run = trackio.Api().run("p", "n")
    assert list(run.records()) and not run.damage.lines and run.status == "finished"


def test_a_file_that_may_not_grow() -> None:
    output = job(str(JOBS / "full.py"), "limit")
    check_full(output)
    assert "error OSError: [Errno 27] File too large" in output


# -- folders and permissions -------------------------------------------------------------------------------


def test_permissions_that_are_lost_and_come_back() -> None:
    job(str(JOBS / "unprivileged.py"), str(JOBS / "forbidden.py"))
    assert numbers() == [1, 2, 3, 5, 6]
    large = [value for _, key, value in trackio.Api().run("p", "n").points() if key == "large"]
    assert large == [b"x" * 100_000, b"y" * 100_000]


def test_a_folder_deleted_during_the_run_is_written_again(store: Path) -> None:
    run = trackio.init("p", "n", config={"lr": 0.1})
    created = trackio.Api().run("p", "n").created
    trackio.log({"i": 0}, step=3)
    run._journal.sync()
    shutil.rmtree(store)
    trackio.log({"i": 1})
    run._journal.sync()  # the background thread does it every second
    assert numbers() == [0, 1] and trackio.Api().run("p", "n").created == created
    trackio.log({"i": 2})
    shutil.rmtree(store)
    trackio.finish()
    stored = trackio.Api().run("p", "n")
    assert numbers() == [0, 1, 2] and stored.config == {"lr": 0.1} and stored.status == "finished"
    assert not stored.damage and [step for step, *_ in stored.points()] == [3, 3, 3]
    assert run.health() == {"written": 3, "dropped": 0, "unsynced": 0, "last_error": None}


def test_a_folder_deleted_after_the_run_is_begun_again(store: Path) -> None:
    run = trackio.init("p", "n")
    trackio.log({"i": 0}, step=3)
    trackio.finish()
    shutil.rmtree(store)
    trackio.log({"i": 1})
    trackio.finish()
    assert numbers() == [1] and run.health()["dropped"] == 0
    assert trackio.Api().run("p", "n").status == "finished"


def test_a_folder_moved_during_the_run_takes_the_run_along(store: Path, tmp_path: Path) -> None:
    trackio.init("p", "n")
    trackio.log({"i": 0})
    store.rename(tmp_path / "elsewhere")
    trackio.log({"i": 1})
    trackio.finish()
    run = trackio.Api(tmp_path / "elsewhere").run("p", "n")
    assert [value for *_, value in run.points()] == [0, 1] and run.status == "finished"
    assert not store.exists()


def test_a_folder_that_cannot_be_made_again_is_told(store: Path, capsys: Any) -> None:
    run = trackio.init("p", "n")
    trackio.log({"i": 0})
    shutil.rmtree(store)
    store.write_text("in the way")
    trackio.log({"i": 1})
    trackio.finish()
    assert "Error" in run.health()["last_error"] and run.health()["unsynced"] > 0
    assert "calls were not kept" in capsys.readouterr().err
