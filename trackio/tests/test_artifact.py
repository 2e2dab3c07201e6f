"""Artifacts: what goes in comes out byte for byte; what can be given; versions and aliases."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from artifacts import counted, kept, make, stored, tree
from hypothesis import given, settings
from hypothesis import strategies as st

import trackio
from trackio.artifact import Artifact


@pytest.fixture
def run() -> Any:
    return trackio.init("p", "n")


# -- there and back ----------------------------------------------------------------------------------------

NAMES = st.binary(min_size=1, max_size=12).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)
TREES = st.recursive(
    st.binary(max_size=300), lambda inner: st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
).filter(lambda value: isinstance(value, dict))


def grow(top: bytes, value: Any) -> None:
    if isinstance(value, bytes):
        with open(top, "wb") as file:
            file.write(value)
        return
    os.mkdir(top)
    for name, inner in value.items():
        grow(os.path.join(top, name), inner)


@settings(max_examples=40)
@given(value=TREES)
def test_any_tree_comes_back_byte_for_byte(value: Any) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["TRACKIO_DIR"] = os.path.join(scratch, "store")
        source = os.path.join(scratch, "source")
        grow(os.fsencode(source), value)
        run = trackio.init("p", resume="never")
        run.log_artifact(source, name="tree")
        assert run.health()["dropped"] == 0, run.health()
        target = stored(run.name).artifact("tree").download(os.path.join(scratch, "target"))
        assert tree(target) == tree(source)
        contents = {data for data in tree(source).values() if data is not None}
        assert len(kept(Path(scratch))) == len(contents), "each content once"
        trackio.finish()


def test_what_a_stored_artifact_says(run: Any, tmp_path: Path) -> None:
    source = make(tmp_path / "data", {"a.txt": b"alpha", "sub/b.bin": b"\0" * 10})
    artifact = Artifact("set", type="dataset", description="text", metadata={"rows": 2, "nan": float("inf")})
    artifact.add_dir(source)
    assert (artifact.version, artifact.digest) == (None, None)
    with pytest.raises(ValueError, match="not stored"):
        artifact.files()
    assert run.log_artifact(artifact, aliases=["best"]) is artifact
    for seen in (artifact, stored().artifact("set")):
        assert (seen.name, seen.type, seen.version, seen.description) == ("set", "dataset", "v0", "text")
        assert seen.metadata == {"rows": 2, "nan": float("inf")}
        assert seen.aliases == ["best", "latest"]
        assert [(file.path, file.size) for file in seen.files()] == [("a.txt", 5), ("sub/b.bin", 10)]
        assert seen.file("a.txt").sha256 == hashlib.sha256(b"alpha").hexdigest()
        assert seen.file("a.txt").read() == b"alpha"
        assert seen.digest == artifact.digest and len(str(seen.digest)) == 64
        with pytest.raises(KeyError, match=r"no file 'c'; it has \['a.txt'"):
            seen.file("c")


def test_the_digest_is_of_paths_and_contents_alone(run: Any, tmp_path: Path) -> None:
    first = make(tmp_path / "1", {"a": b"x", "b": b"y"})
    digests = [run.log_artifact(first, name=name, metadata={"m": name}).digest for name in ("one", "two")]
    digests.append(run.log_artifact(make(tmp_path / "2", {"a": b"y", "b": b"x"}), name="one").digest)
    digests.append(run.log_artifact(make(tmp_path / "3", {"a": b"x", "c": b"y"}), name="one").digest)
    assert digests[0] == digests[1] and len(set(digests)) == 3


def test_a_download_goes_where_it_is_sent_and_leaves_the_rest(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = run.log_artifact(make(tmp_path / "data", {"a": b"new", "d/b": b"b"}), name="../x")
    target = make(tmp_path / "target", {"a": b"old", "other": b"o"})
    assert artifact.download(target) == str(target)
    assert tree(target) == {b"a": b"new", b"d/b": b"b", b"other": b"o"}
    monkeypatch.chdir(tmp_path)
    default = Path(artifact.download())
    assert default.parts[0] == "artifacts" and default.name.endswith("-v0") and len(default.parts) == 2
    assert tree(default) == {b"a": b"new", b"d/b": b"b"}
    assert artifact.file("d/b").download(tmp_path / "deep" / "one") == str(tmp_path / "deep" / "one")


def test_damaged_content_is_not_given_out(run: Any, store: Path, tmp_path: Path) -> None:
    artifact = run.log_artifact(make(tmp_path / "data", {"a": b"good"}), name="x")
    kept(store)[0].write_bytes(b"evil")
    target = tmp_path / "target"
    with pytest.raises(ValueError, match="damaged"):
        artifact.download(target)
    with pytest.raises(ValueError, match="damaged"):
        artifact.file("a").read()
    assert list(target.iterdir()) == [], "neither the file nor a draft of it"


def test_a_record_cannot_write_outside_the_target(run: Any, tmp_path: Path) -> None:
    artifact = run.log_artifact({"a": 1}, name="x")
    manifest = next(body for _, _, kind, _, body in stored().records() if kind == "file")
    for path in ("../evil", "a/../../evil", "", "a\0b"):
        bad = {**manifest, "files": [{**manifest["files"][0], "path": path}]}
        with pytest.raises(ValueError, match="no path within"):
            artifact._show(bad, run.folder)
    assert artifact.file("config.json").path == "config.json"


def test_an_artifact_of_one_run_is_logged_in_another(run: Any, tmp_path: Path) -> None:
    (tmp_path / "data" / "empty").mkdir(parents=True)
    first = run.log_artifact(make(tmp_path / "data", {"a": b"1", "d/b": b"2"}), name="x")
    read = stored().artifact("x")
    shutil.rmtree(tmp_path / "data")
    second = trackio.init("p", "other").log_artifact(read)
    assert second.digest == first.digest
    shutil.rmtree(run.folder)
    assert tree(stored("other").artifact("x").download(tmp_path / "t")) == {
        b"a": b"1",
        b"d/b": b"2",
        b"empty": None,
    }


# -- what can be given -------------------------------------------------------------------------------------


def test_files_folders_dicts_and_values(run: Any, tmp_path: Path) -> None:
    source = make(tmp_path / "data", {"config.json": b'{"a": 1}', "run.yaml": b"a: 1\n"})
    for given_, name, files in (
        (source / "run.yaml", "run.yaml", ["run.yaml"]),
        (str(source), "data", ["config.json", "run.yaml"]),
        (os.fsencode(source / "config.json"), "config.json", ["config.json"]),
        ({"lr": 1e-4, "inner": {"x": None}}, "config", ["config.json"]),
    ):
        artifact = run.log_artifact(given_)
        assert artifact.name == name and [file.path for file in artifact.files()] == files
    assert json.loads(artifact.file("config.json").read()) == {"lr": 1e-4, "inner": {"x": None}}
    assert artifact.type == "config"
    mixed = Artifact("mixed")
    mixed.add_file(source / "run.yaml", name=Path("deep/er/run.yaml"))
    mixed.add_file(source / "run.yaml")
    mixed.add_dir(source, name=Path("all"))
    mixed.add(b"\0\1", b"bytes")
    mixed.add("ä", "text")
    mixed.add(trackio.Table(columns=["a"], data=[[1]]), "table.json")
    run.log_artifact(mixed)
    got = {file.path: file.read() for file in stored().artifact("mixed").files()}
    assert set(got) == {
        "deep/er/run.yaml", "run.yaml", "all/config.json", "all/run.yaml", "bytes", "text", "table.json"
    }  # fmt: skip
    assert (got["bytes"], got["text"]) == (b"\0\1", "ä".encode())
    assert json.loads(got["table.json"])["rows"] == [[1]]
    assert run.health()["dropped"] == 0


def test_a_path_added_twice_is_the_later_one(run: Any) -> None:
    artifact = Artifact("x")
    artifact.add(b"1", "a")
    artifact.add(b"2", "./a")
    assert run.log_artifact(artifact).file("a").read() == b"2"


@pytest.mark.parametrize(
    ("paths", "match"), [(["a", "a/b"], "is a file, and a folder"), (["../a"], "no path within")]
)
def test_paths_that_cannot_be(run: Any, paths: list[str], match: str) -> None:
    artifact = Artifact("x")
    for path in paths:
        artifact.add(b"", path)
    run.log_artifact(artifact)
    counted(run, match)


def test_new_file_as_transformers_uses_it(run: Any, tmp_path: Path) -> None:
    artifact = Artifact(name="model-x", type="model", metadata={"initial_model": True})
    with artifact.new_file("model_architecture.txt", mode="wb") as file:
        file.write(b"layers")
    with artifact.new_file("deep/text.txt", "w", encoding="utf-16") as file:
        file.write("ä")
    with artifact.new_file("deep/text.txt", "a", encoding="utf-16-le") as file:
        file.write("b")
    staging = artifact._staging.name
    run.log_artifact(artifact, aliases=["base_model"])
    assert run.health()["dropped"] == 0
    found = stored().artifact("model-x:base_model")
    assert found.file("model_architecture.txt").read() == b"layers"
    assert found.file("deep/text.txt").read().decode("utf-16") == "äb"
    del artifact
    assert not os.path.exists(staging), "nothing is left in the temporary folder"


def test_new_file_on_a_full_disk_is_counted_later(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **kwargs: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    artifact = Artifact("x")
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "TemporaryDirectory", full)
        with artifact.new_file("a", "wb") as file:
            file.write(b"1")
    run.log_artifact(artifact)
    counted(run, "No space left")
    late = Artifact("y")
    with late.new_file("a", "wb"):
        full()  # as a write would
    assert run.log_artifact(late).version is None and run.health()["dropped"] == 2


def test_an_error_of_the_caller_s_own_is_the_caller_s() -> None:
    artifact = Artifact("x")
    with pytest.raises(RuntimeError, match="mine"), artifact.new_file("a", "wb") as file:
        file.write(b"1")
        raise RuntimeError("mine")
    assert artifact._sources == []


def test_unknown_keywords_warn(run: Any) -> None:
    with pytest.warns(UserWarning, match="log_artifact.. does not know the keyword 'tags'"):
        run.log_artifact({"a": 1}, tags=["x"])
    assert run.health()["dropped"] == 0


# -- versions and aliases ----------------------------------------------------------------------------------


def test_versions_count_per_name_and_go_on_after_a_resume(tmp_path: Path) -> None:
    for life in range(2):
        run = trackio.init("p", "n", resume="allow")
        for name in ("m", "m", "other"):
            run.log_artifact({"life": life}, name=name)
        trackio.finish()
    assert [(a.name, a.version) for a in stored().artifacts()] == [
        ("m", "v0"), ("m", "v1"), ("other", "v0"), ("m", "v2"), ("m", "v3"), ("other", "v1")
    ]  # fmt: skip
    trackio.init("p", "fresh").log_artifact({"a": 1}, name="m")
    assert stored("fresh").artifact("m").version == "v0"


def test_aliases_move_and_names_may_have_colons(run: Any) -> None:
    for index, aliases in enumerate((["best", "latest"], "best", ("v0", "old"))):
        run.log_artifact({"index": index}, name="a:b", aliases=aliases)
    run.log_artifact({"index": 9}, name="a")

    def index(spec: str) -> int:
        return int(json.loads(stored().artifact(spec).file("config.json").read())["index"])

    assert [a.aliases for a in stored().artifacts()] == [[], ["best"], ["v0", "old", "latest"], ["latest"]]
    assert (index("a:b"), index("a:b:latest"), index("a:b:best"), index("a:b:v0")) == (2, 2, 1, 0)
    assert (index("a"), index("a:latest"), index("a:v0"), index("a:b:old")) == (9, 9, 9, 2)
    for spec in ("a:v7", "none", "none:v0", ""):
        with pytest.raises(KeyError, match=r"a:v0 \(latest\)"):
            stored().artifact(spec)


def test_a_record_that_makes_no_sense(run: Any) -> None:
    run._journal.append(b"file", b"null", b'{"name":"bad"}')
    run.log_artifact({"a": 1}, name="good")
    with pytest.raises(KeyError):
        list(stored().artifacts())
    (good,) = trackio.Api(strict=False).run("p", "n").artifacts()
    assert good.name == "good"


def test_log_checkpoint(run: Any, tmp_path: Path) -> None:
    folder = make(tmp_path / "checkpoint-40", {"model.safetensors": b"m", "trainer_state.json": b"{}"})
    run.log({"loss": 1.0}, step=3)
    run.log_checkpoint(folder, metadata={"loss": 1.0})
    run.log_checkpoint(str(folder) + "/", step=50)
    run.log_checkpoint(folder / "model.safetensors")
    assert [(a.name, a.type, a.version, a.metadata) for a in stored().artifacts()] == [
        ("checkpoint", "model", "v0", {"step": 40, "loss": 1.0}),
        ("checkpoint", "model", "v1", {"step": 50}),
        ("checkpoint", "model", "v2", {"step": 3}),
    ]
    assert [step for _, _, kind, step, _ in stored().records() if kind == "file"] == [40, 50, 3]
    assert stored().artifact("checkpoint:step-40").version == "v0"
    run.log_checkpoint(tmp_path / "checkpoint-41")
    assert run.health()["dropped"] == 1


def test_a_finished_run_takes_artifacts_too(run: Any) -> None:
    trackio.finish()
    run.log_artifact({"a": 1})
    assert run.health()["dropped"] == 0 and stored().artifact("config").version == "v0"


def test_an_artifact_before_init_belongs_to_the_first_run(tmp_path: Path) -> None:
    early = trackio._session.current()
    early.log_artifact({"early": True}, name="x")
    run = trackio.init("p", "n")
    early.log_artifact({"late": True}, name="x")
    assert [a.version for a in stored().artifacts()] == ["v0", "v1"]
    assert [f.read() for a in stored().artifacts() for f in a.files()]
    assert run.health()["dropped"] == 0
