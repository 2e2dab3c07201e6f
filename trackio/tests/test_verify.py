"""`verify` finds each kind of damage, says where it is, and changes nothing."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trackio
from trackio import content
from trackio.verify import Problem, Report, verify


@dataclasses.dataclass
class Setting:
    file: str


@pytest.fixture
def run(store: Path, tmp_path: Path) -> Any:
    """A finished run with numbers, a large array, an image, a nested large value, and an artifact."""
    run = trackio.init("p", "n", config={"a": 1, "file": "no digest", "$": {"file": "none either"}})
    for i in range(10):
        trackio.log({"i": i, "loss": i / 7}, step=i)
    trackio.log({"bytes": b"b" * 100_000, "list": [{"deep": b"d" * 100_000}]})
    trackio.log({"image": trackio.Image(b"\x89PNG" + b"i" * 100_000), "object": Setting("not one")})
    source = tmp_path / "data"
    source.mkdir()
    (source / "a").write_bytes(b"a")
    (source / "b").write_bytes(b"b" * 1000)
    run.log_artifact(source, name="set", metadata={"large": b"m" * 100_000})
    trackio.finish()
    return run


def journal(run: Any) -> Path:
    (path,) = Path(run.folder).glob("w-*.jsonl")
    return path


def only(problems: list[Problem]) -> Problem:
    (problem,) = problems
    return problem


def snapshot(top: Path) -> dict[str, Any]:
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in sorted(top.rglob("*"))
    }


def test_a_whole_store(run: Any, store: Path) -> None:
    before = snapshot(store)
    report = verify()
    assert isinstance(report, Report) and report.ok and not report.notes, report.problems + report.notes
    assert report.root == str(store)
    counts = {name: count for name, count in report.counts.items() if count}
    # open, cfg, 12 log, file, status
    assert counts == {
        "runs": 1, "journals": 1, "records": 16, "artifacts": 1, "files": 6, "bytes": 401_005
    }  # fmt: skip
    assert snapshot(store) == before


def test_an_empty_store_and_none(store: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="TRACKIO_DIR"):
        verify()
    store.mkdir()
    assert verify().ok and verify().counts["runs"] == 0
    with pytest.raises(FileNotFoundError):
        verify(tmp_path / "other")


def test_which_runs(run: Any, store: Path) -> None:
    for project, name in (("p", "m"), ("q", "n")):
        trackio.init(project, name)
        trackio.finish()
    (store / "file").write_text("x")
    (store / "folder" / "inner").mkdir(parents=True)
    for project, name, runs in (
        (None, None, 3), ("p", None, 2), ("q", None, 1), (None, "n", 2), ("p", "n", 1), ("p", run.id, 1)
    ):  # fmt: skip
        assert verify(project=project, run=name).counts["runs"] == runs
    assert verify(str(store), "q", "n").counts["runs"] == 1
    for project, name in (("none", None), ("q", "m"), (None, "none")):
        with pytest.raises(KeyError, match="p/m"):
            verify(project=project, run=name)


# -- run.json ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_",
    [
        None,
        b"",
        b"{",
        b"[]",
        b'{"project":"p"}',
        b'{"$":"tuple"}',
        b"\xff",
        b'{"project":"p","name":"m","id":"n-1b16b1df","created":0}',
        b'{"project":"p","name":1,"id":"n-1b16b1df","created":0}',
    ],
)
def test_a_run_file_that_names_no_run(run: Any, content_: bytes | None) -> None:
    path = Path(run.folder) / "run.json"
    path.unlink()
    if content_ is not None:
        path.write_bytes(content_)
    for report in (verify(), verify(project="p"), verify(project="p", run="n"), verify(run=run.id)):
        problem = only(report.problems)
        assert (problem.path, problem.offset) == (str(path), None) and "no use" in problem.what
        assert report.counts["records"] == 16, "and the rest is checked"


# -- journals ----------------------------------------------------------------------------------------------


def test_a_torn_tail_is_a_note(run: Any) -> None:
    path = journal(run)
    data = path.read_bytes()
    path.write_bytes(data[:-3])
    report = verify()
    assert report.ok and report.counts["torn"] == 1 and report.counts["damaged"] == 0
    note = only(report.notes)
    assert (note.path, note.offset) == (str(path), data[:-1].rindex(b"\n") + 1)


def test_damage_in_the_middle_has_file_and_offset(run: Any) -> None:
    path = journal(run)
    lines = path.read_bytes().splitlines(keepends=True)
    offset = sum(map(len, lines[:5]))
    lines[5] = b"?" + lines[5][1:]
    path.write_bytes(b"".join(lines))
    report = verify()
    problem = only(report.problems)
    assert (problem.run, problem.path, problem.offset) == ("p/n", str(path), offset)
    assert "damaged record" in problem.what and "backup" in problem.to_do
    assert str(problem).startswith(f"p/n: {path} at byte {offset}: a damaged record")
    assert not report.ok and (report.counts["damaged"], report.counts["missing"]) == (1, 0)


def test_a_flipped_digit_is_damage(run: Any) -> None:
    path = journal(run)
    data = path.read_bytes()
    assert data.count(b'"i":4') == 1
    path.write_bytes(data.replace(b'"i":4', b'"i":5'))
    assert "checksum" in only(verify().problems).what


@pytest.mark.parametrize(("gone", "first"), [(slice(3, 5), 3), (slice(0, 1), 0)])
def test_missing_records(run: Any, gone: slice, first: int) -> None:
    path = journal(run)
    lines = path.read_bytes().splitlines(keepends=True)
    count = len(lines[gone])
    del lines[gone]
    path.write_bytes(b"".join(lines))
    report = verify()
    problem = only(report.problems)
    assert problem.what == f"{count} records are missing, from sequence {first} on"
    assert report.counts["missing"] == count and problem.path == str(path)


def test_records_twice(run: Any) -> None:
    path = journal(run)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:5], lines[3], *lines[5:]]))
    assert "again or out of order" in only(verify().problems).what


def test_a_journal_that_cannot_be_read(run: Any) -> None:
    path = journal(run)
    path.unlink()
    path.mkdir()
    report = verify()
    assert "IsADirectoryError" in repr(report.problems) or "Is a directory" in report.problems[0].what
    assert report.problems[0].path == str(path)


def test_a_folder_that_cannot_be_listed(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.listdir

    def refused(path: Any = ".") -> list[str]:
        if str(path).startswith(run.folder):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "listdir", refused)
    problem = only(verify().problems)
    assert (problem.run, problem.path) == ("p/n", run.folder) and "Permission denied" in problem.what


@settings(max_examples=40)
@given(data=st.data())
def test_no_flipped_bit_goes_unseen(data: st.DataObject) -> None:
    """Whatever byte of whatever file is changed, the report is not clean, and nothing raises."""
    top = Path(os.environ["TRACKIO_DIR"])
    if not top.exists():
        trackio.init("p", "n")
        for i in range(5):
            trackio.log({"i": i}, step=i)
        trackio.log({"large": b"x" * 70_000})
        trackio._session.current().log_artifact({"a": 1})
        trackio.finish()
        shutil.copytree(top, f"{top}.good")
    shutil.rmtree(top)
    shutil.copytree(f"{top}.good", top)
    paths = sorted(path for path in top.rglob("*") if path.is_file() and path.name != "run.json")
    path = data.draw(st.sampled_from(paths))
    content_ = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content_) - 1))
    content_[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content_)
    report = verify()
    assert report.problems or report.notes
    if path.parent.name == "files":
        assert only(report.problems).path == str(path)


# -- files -------------------------------------------------------------------------------------------------


def test_each_file_that_is_lost_is_named(run: Any) -> None:
    files = sorted(Path(run.folder, "files").iterdir())
    for path in files:
        data = path.read_bytes()
        path.unlink()
        report = verify()
        problem = only(report.problems)
        assert (problem.path, problem.offset, report.counts["lost"]) == (str(path), None, 1)
        assert "record " in problem.what or "of artifact 'set:v0'" in problem.what
        path.write_bytes(data)
    assert verify().ok and len(files) == 6


def test_a_changed_file_is_found(run: Any) -> None:
    path = max(Path(run.folder, "files").iterdir())
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    report = verify()
    problem = only(report.problems)
    assert problem.path == str(path) and "the content has changed" in problem.what
    assert "hard link" not in problem.what
    assert report.counts["changed"] == 1 and report.counts["files"] == 6


def test_what_is_left_over_is_noted(run: Any) -> None:
    folder = Path(run.folder)
    (folder / "run.json.12-ab").write_bytes(b"{")
    (folder / "files" / "draft.12-ab").write_bytes(b"x")
    (folder / "files" / ("0" * 64)).write_bytes(b"x")
    report = verify()
    assert report.ok and (report.counts["drafts"], report.counts["unreferenced"]) == (2, 1)
    assert {os.path.basename(note.path) for note in report.notes} == {
        "run.json.12-ab", "draft.12-ab", "0" * 64
    }  # fmt: skip
    assert all("may be deleted" in note.to_do for note in report.notes)


def test_a_record_that_is_no_manifest(run: Any) -> None:
    again = trackio.init("p", "n", resume="allow")
    again._open().append(b"file", b"null", b'{"name":"x"}')
    trackio.finish()
    assert "no manifest" in only(verify().problems).what


def test_a_live_run_is_whole(run: Any) -> None:
    trackio.init("p", "live")
    for i in range(100):
        trackio.log({"i": i, "large": b"x" * 70_000})
        if i % 20 == 0:
            assert verify(run="live").ok


def test_progress_of_long_work_only(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int]] = []
    verify(progress=lambda *told: calls.append(told))
    assert calls == []
    monkeypatch.setattr(content, "QUIET", 0.0)
    monkeypatch.setattr(content, "PACE", 0.0)
    verify(progress=lambda *told: calls.append(told))
    done = [done for done, _ in calls]
    assert done == sorted(done) and calls[-1][0] == calls[-1][1] == calls[0][1]
