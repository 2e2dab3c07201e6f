"""Artifacts as they are logged: links, errors, progress and processes; once, whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from artifacts import MIB, counted, kept, make, stored, tree

import trackio
from trackio import artifact_log, content
from trackio.artifact import Artifact


@pytest.fixture
def run() -> Any:
    return trackio.init("p", "n")


# -- links and strange files -------------------------------------------------------------------------------


def test_links_are_followed_inside_only(run: Any, tmp_path: Path) -> None:
    source = make(tmp_path / "data", {"a": b"a", "d/b": b"b"})
    outside = make(tmp_path / "outside", {"secret": b"s"})
    (source / "to_file").symlink_to("d/b")
    (source / "to_folder").symlink_to(source / "d")
    (source / "d" / "up").symlink_to("..")
    (source / "out_file").symlink_to(outside / "secret")
    (source / "out_folder").symlink_to(outside)
    (source / "nowhere").symlink_to("gone")
    (source / "circle").symlink_to("circle")
    os.mkfifo(source / "pipe")
    with pytest.warns(UserWarning, match="7 left out"):
        artifact = run.log_artifact(source, name="x")
    assert [file.path for file in artifact.files()] == ["a", "d/b", "to_file", "to_folder/b"]
    left_out = stored().artifact("x").left_out
    assert sorted(left_out) == [
        "circle", "d/up", "nowhere", "out_file", "out_folder", "pipe", "to_folder/up"
    ]  # fmt: skip
    assert "outside the folder" in left_out["out_folder"] and "regular" in left_out["pipe"]
    # A link that is named itself is meant, and so is the folder behind one.
    one = Artifact("one")
    one.add_file(source / "out_file")
    one.add_dir(source / "out_folder", name="f")
    assert [file.path for file in run.log_artifact(one).files()] == ["f/secret", "out_file"]


@pytest.mark.parametrize("link", [None, True, False])
def test_only_large_files_of_a_checkpoint_are_linked_unasked(
    run: Any, store: Path, tmp_path: Path, link: bool | None
) -> None:
    source = make(
        tmp_path / "out",
        {
            "checkpoint-7/model.safetensors": b"m" * MIB,
            "checkpoint-7/config.json": b"{}",
            "checkpoint-x/other": b"o" * MIB,
            "best": b"b" * MIB,
        },
    )
    artifact = run.log_artifact(source, name="x", link=link)
    linked = {f.path for f in artifact.files() if os.path.samefile(f._stored, source / f.path)}
    everything = {f.path for f in artifact.files()}
    assert linked == ({"checkpoint-7/model.safetensors"} if link is None else everything if link else set())
    manifest = next(body for _, _, kind, _, body in stored().records() if kind == "file")
    noted = {file["path"]: file["link"] for file in manifest["files"] if "link" in file}
    assert set(noted) == linked
    for path, facts in noted.items():
        status = (source / path).stat()
        assert facts == {"mtime_ns": status.st_mtime_ns, "inode": status.st_ino}
    shutil.rmtree(source)
    assert artifact.file("best").read() == b"b" * MIB


def test_a_linked_file_rewritten_in_place_is_found_and_healed(run: Any, tmp_path: Path) -> None:
    source = tmp_path / "weights"
    source.write_bytes(b"one")
    first = run.log_artifact(source, name="w", link=True)
    with open(source, "r+b") as file:
        file.write(b"two")
    with pytest.raises(ValueError, match="damaged"):
        first.file("weights").read()

    from trackio.verify import verify

    report = verify()
    assert not report.ok and "hard link" in report.problems[0].what
    # Another file with the old content: the stored one is replaced by it.
    other = tmp_path / "other"
    other.write_bytes(b"one")
    run.log_artifact(other, name="w")
    assert first.file("weights").read() == b"one" and verify().ok
    # The same by a link, and a good copy is not replaced by a link.
    kept_path = first.file("weights")._stored
    inode = os.stat(kept_path).st_ino
    run.log_artifact(other, name="w", link=True)
    assert os.stat(kept_path).st_ino == inode
    Path(kept_path).write_bytes(b"bad")
    run.log_artifact(other, name="w", link=True)
    assert os.path.samefile(kept_path, other) and verify().ok
    run.log_artifact(other, name="w", link=True)
    assert verify().ok and not verify().notes, "a link of a link leaves no draft"


def test_a_file_that_changes_while_it_is_linked_is_copied(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "growing"
    source.write_bytes(b"1")
    real = content._stream

    def grown(fd: int, target: int | None, tick: Any) -> Any:
        result = real(fd, target, tick)
        with open(source, "ab") as file:
            file.write(b"2")
        return result

    monkeypatch.setattr(content, "_stream", grown)
    artifact = run.log_artifact(source, link=True)
    assert artifact.file("growing").read() == b"12", "the copy, as it was read"


def test_a_reflink_comes_first(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def ficlone(target: int, request: int, source: int) -> int:
        calls.append(request)
        os.pwrite(target, os.pread(source, MIB, 0), 0)  # what the file system would do without copying
        return 0

    monkeypatch.setattr(fcntl, "ioctl", ficlone)
    monkeypatch.setattr(os, "link", lambda *_: pytest.fail("no link is needed"))
    source = tmp_path / "a"
    source.write_bytes(b"content")
    for link in (False, True):
        artifact = run.log_artifact(source, link=link)
        assert artifact.file("a").read() == b"content" and run.health()["dropped"] == 0
        assert not os.path.samefile(artifact.file("a")._stored, source)
    assert set(calls) == {0x40049409}


# -- errors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["gone", "pipe", "none", "vanishes"])
def test_what_cannot_be_read_is_counted(
    run: Any, store: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make(tmp_path / "data", {"a": b"1", "b": b"2"})
    given_: Any = source
    if kind == "gone":
        given_ = tmp_path / "nowhere"
    elif kind == "pipe":
        given_ = tmp_path / "pipe"
        os.mkfifo(given_)
    elif kind == "none":
        given_ = None
    else:
        real = artifact_log.put

        def vanish(*args: Any) -> Any:
            (source / "b").unlink(missing_ok=True)
            return real(*args)

        monkeypatch.setattr(artifact_log, "put", vanish)
    artifact = run.log_artifact(given_)
    assert artifact.version is None
    match = {"pipe": "not a regular file", "none": "TypeError"}.get(kind, "FileNotFoundError")
    counted(run, match)
    assert not [path for path in kept(store) if "draft" in path.name]


def test_strict_mode_raises(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_STRICT", "1")
    with pytest.raises(FileNotFoundError):
        run.log_artifact("/nowhere")


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_a_full_disk_is_counted_and_leaves_nothing(
    run: Any, store: Path, tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make(tmp_path / "data", {"a": b"1"})

    def full(*args: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        run.log_artifact(source)
    counted(run, "No space left")
    assert kept(store) == []
    assert run.log_artifact(source).version == "v0", "and later it goes"


def test_a_disk_that_fills_up_in_the_middle_of_a_file(
    run: Any, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "large"
    source.write_bytes(b"x" * (3 * MIB))
    real, count = os.write, [0]

    def write(fd: int, data: Any) -> int:
        count[0] += 1
        if count[0] == 2:
            return real(fd, bytes(data)[:1000])  # a short write first
        if count[0] == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        run.log_artifact(source)
    counted(run, "No space left")
    assert kept(store) == []


def test_where_no_link_can_be_made_it_is_a_copy(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*args: Any, **kwargs: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    source = tmp_path / "a"
    source.write_bytes(b"1")
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", refused)
        artifact = run.log_artifact(source, link=True)
    assert run.health()["dropped"] == 0
    assert not os.path.samefile(artifact.file("a")._stored, source)


def test_the_record_comes_when_everything_is_on_the_disk(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    real_sync, real_append = os.fsync, run._journal.append

    def fsync(fd: int) -> None:
        events.append(os.path.basename(os.readlink(f"/proc/self/fd/{fd}")).partition(".")[0])
        real_sync(fd)

    def append(*args: Any) -> None:
        events.append(args[0].decode())
        real_append(*args)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(run._journal, "append", append)
    run.log_artifact(make(tmp_path / "data", {"a": b"1", "b": b"2"}))
    assert events == ["draft", "draft", "files", run.id, "file"]


# -- progress ----------------------------------------------------------------------------------------------


def test_progress_is_told_of_long_work_only(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make(tmp_path / "data", {str(i): b"%d" % i * MIB for i in range(3)})
    calls: list[tuple[int, int]] = []
    artifact = run.log_artifact(source, progress=lambda *told: calls.append(told))
    assert calls == []
    monkeypatch.setattr(content, "QUIET", 0.0)
    monkeypatch.setattr(content, "PACE", 0.0)
    run.log_artifact(source, progress=lambda *told: calls.append(told))
    assert calls == [(MIB, 3 * MIB), (2 * MIB, 3 * MIB), (3 * MIB, 3 * MIB), (3 * MIB, 3 * MIB)]
    calls.clear()
    artifact.download(tmp_path / "t", progress=lambda *told: calls.append(told))
    assert calls[-1] == (3 * MIB, 3 * MIB)
    run.log_artifact(source, name="ended", progress=lambda *_: 1 // 0)
    assert "ZeroDivisionError" in run.health()["last_error"], "an exception of the callback ends the work"


def test_memory_does_not_grow_with_the_file(run: Any, tmp_path: Path) -> None:
    import tracemalloc

    source = tmp_path / "large"
    with open(source, "wb") as file:
        file.truncate(64 * MIB)
    tracemalloc.start()
    run.log_artifact(source)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert run.health()["dropped"] == 0 and peak < 8 * MIB


# -- processes ---------------------------------------------------------------------------------------------


def child(body: Callable[[], object]) -> int:
    """Run `body` in a forked child and end it without a word; return its process id."""
    pid = os.fork()
    if pid == 0:
        try:
            body()
        finally:
            os._exit(0)
    return pid


@pytest.mark.parametrize("moment", ["draft", "placed"])
def test_killed_between_the_copy_and_the_record(run: Any, store: Path, tmp_path: Path, moment: str) -> None:
    source = make(tmp_path / "data", {"a": b"1"})

    def work() -> None:
        if moment == "draft":
            os.rename = lambda *_: os._exit(0)  # type: ignore[assignment,misc]
        else:
            artifact_log.settle = lambda *_: os._exit(0)  # type: ignore[assignment,misc]
        run.log({"child": 1})
        run.log_artifact(source)

    os.waitpid(child(work), 0)
    assert list(stored().artifacts()) == []
    assert [value for _, key, value in stored().points() if key == "child"] == [1]
    from trackio.verify import verify

    report = verify()
    assert report.ok and len(kept(store)) == 1
    assert report.counts["drafts" if moment == "draft" else "unreferenced"] == 1
    assert run.log_artifact(source).version == "v0" and verify().ok


def test_four_processes_log_the_same_content(run: Any, store: Path, tmp_path: Path) -> None:
    source = make(tmp_path / "data", {"a": b"a" * MIB, "b": b"b"})
    each = 5

    def work() -> None:
        for _ in range(each):
            run.log_artifact(source, name="x")
        run.finish()

    for pid in [child(work) for _ in range(4)]:
        os.waitpid(pid, 0)
    artifacts = list(stored().artifacts())
    assert sorted(int(str(a.version)[1:]) for a in artifacts) == list(range(4 * each))
    assert len({a.digest for a in artifacts}) == 1
    assert [path.stat().st_size for path in kept(store)] in ([MIB, 1], [1, MIB])
    assert tree(artifacts[-1].download(tmp_path / "t")) == tree(source)


def test_a_holder_of_the_lock_that_stopped_holds_nobody_up(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact_log, "PATIENCE", 0.05)
    fd = os.open(run.folder, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        assert run.log_artifact({"a": 1}).version == "v0"
    finally:
        os.close(fd)
