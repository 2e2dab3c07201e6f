"""What the real client does with files: upload, commit, download, list."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path

import pytest
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    CommitScheduler,
    DatasetCard,
    HfApi,
    HfFileSystem,
    ModelCard,
    snapshot_download,
)
from huggingface_hub.utils import HfHubHTTPError
from stage import VERSION, act, content, where


@act
def upload_file(api: HfApi, repo: str, folder: Path) -> None:
    api.create_repo(repo, repo_type="dataset")
    for name, data in {"plain.txt": "grüße\n".encode(), "deep/er/empty": b"", "with space/ü+%.json": b"{}"}.items():
        api.upload_file(path_or_fileobj=data, path_in_repo=name, repo_id=repo, repo_type="dataset")
        assert content(repo, name, repo_type="dataset") == data
    (folder / "file").write_bytes(b"from a path")
    told = api.upload_file(path_or_fileobj=folder / "file", path_in_repo="p", repo_id=repo, repo_type="dataset")
    assert told.oid == api.dataset_info(repo).sha
    with (folder / "file").open("rb") as file:
        api.upload_file(path_or_fileobj=file, path_in_repo="f", repo_id=repo, repo_type="dataset")
    assert content(repo, "f", repo_type="dataset") == b"from a path"


@act
def upload_folder(api: HfApi, repo: str, folder: Path) -> None:
    api.create_repo(repo)
    source = folder / "source"
    for name in ("a.txt", "sub/b.txt", "sub/deeper/c.bin", "skip.log"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(name.encode() * 100)
    api.upload_folder(repo_id=repo, folder_path=source, ignore_patterns=["*.log"])
    there = Path(snapshot_download(repo))
    names = {str(path.relative_to(there)) for path in there.rglob("*") if not path.is_dir()}
    assert names == {".gitattributes", "a.txt", "sub/b.txt", "sub/deeper/c.bin"}
    assert (there / "sub/deeper/c.bin").read_bytes() == b"sub/deeper/c.bin" * 100
    api.upload_folder(repo_id=repo, folder_path=source / "sub", path_in_repo="sub", delete_patterns=["*.txt"])
    assert "sub/b.txt" in api.list_repo_files(repo)
    api.delete_folder("sub", repo_id=repo)
    assert sorted(api.list_repo_files(repo)) == [".gitattributes", "a.txt"]


@where("upload_large_folder")
def upload_large_folder(api: HfApi, repo: str, folder: Path) -> None:
    source = folder / "source"
    source.mkdir()
    (source / "a.txt").write_bytes(b"a")
    (source / "b.bin").write_bytes(bytes(range(256)) * 20)
    api.upload_large_folder(repo_id=repo, repo_type="model", folder_path=source, print_report=False)
    assert content(repo, "b.bin") == bytes(range(256)) * 20


@act
def large(api: HfApi, repo: str, folder: Path) -> None:
    api.create_repo(repo)
    one, many = os.urandom(900), os.urandom(5300)  # the Hub's parts are 1,000 bytes here
    api.upload_file(path_or_fileobj=one, path_in_repo="one.bin", repo_id=repo)
    (folder / "many").write_bytes(many)
    api.upload_file(path_or_fileobj=folder / "many", path_in_repo="many.safetensors", repo_id=repo)
    api.upload_file(path_or_fileobj=io.BytesIO(many), path_in_repo="again.safetensors", repo_id=repo)
    assert content(repo, "one.bin") == one
    assert content(repo, "many.safetensors") == many == content(repo, "again.safetensors")
    info = {item.path: item for item in api.list_repo_tree(repo)}["many.safetensors"]
    assert (info.size, info.lfs.size) == (5300, 5300)
    assert HfFileSystem().read_bytes(f"{repo}/many.safetensors", start=1000, end=1010) == many[1000:1010]


@act
def commit(api: HfApi, repo: str, folder: Path) -> None:
    api.create_repo(repo)
    add = [CommitOperationAdd(name, name.encode()) for name in ("a", "b", "d/x", "d/y")]
    api.create_commit(repo, [*add, CommitOperationAdd("w.bin", b"\0w")], commit_message="first", commit_description="d")
    first = api.model_info(repo).sha
    operations = [
        CommitOperationDelete("a"),
        CommitOperationDelete("d/"),
        CommitOperationCopy("b", "copied"),
        CommitOperationCopy("w.bin", "w2.bin"),
        CommitOperationAdd("b", b"new"),
    ]
    told = api.create_commit(repo, operations, commit_message="second", parent_commit=first)
    assert sorted(api.list_repo_files(repo)) == [".gitattributes", "b", "copied", "w.bin", "w2.bin"]
    assert (content(repo, "b"), content(repo, "copied"), content(repo, "w2.bin")) == (b"new", b"b", b"\0w")
    assert content(repo, "b", revision=first) == b"b"
    with pytest.raises(HfHubHTTPError) as stale:
        api.create_commit(repo, [CommitOperationAdd("c", b"c")], commit_message="third", parent_commit=first)
    assert stale.value.response.status_code == 412
    assert api.model_info(repo).sha == told.oid
    half = [CommitOperationAdd("c", b"c"), CommitOperationDelete("nothing")]
    with pytest.raises(HfHubHTTPError):
        api.create_commit(repo, half, commit_message="half")
    assert not api.file_exists(repo, "c")
    api.delete_file("b", repo_id=repo)
    titles = [item.title for item in api.list_repo_commits(repo)]
    assert titles == ["Delete b with huggingface_hub", "second", "first", "initial commit"]


@act
def listing(api: HfApi, repo: str, folder: Path) -> None:
    api.create_repo(repo)
    names = [f"f/{n:03}.txt" for n in range(120)]
    api.create_commit(repo, [CommitOperationAdd(name, b"x") for name in names], commit_message="many")
    assert [item.path for item in api.list_repo_tree(repo, "f", expand=True)] == names
    assert {item.path for item in api.list_repo_tree(repo, recursive=True)} == {".gitattributes", "f", *names}
    last = next(iter(api.list_repo_tree(repo, "f", expand=True))).last_commit
    assert last.title == "many"
    assert [item.path for item in api.get_paths_info(repo, ["f/000.txt", "f", "none"])] == ["f/000.txt", "f"]
    for n in range(60):
        api.create_commit(repo, [CommitOperationAdd("n", str(n).encode())], commit_message=f"{n}")
    assert [item.title for item in api.list_repo_commits(repo)][:61] == [*map(str, reversed(range(60))), "many"]
    assert repo in [item.id for item in api.list_models(author=repo.split("/")[0], search=repo.split("/")[1])]
    assert len(list(api.list_models(limit=1))) == 1
    assert {item.rfilename for item in api.model_info(repo, files_metadata=True).siblings} >= set(names)
    api.super_squash_history(repo)
    assert len(api.list_repo_commits(repo)) == 1
    assert content(repo, "n") == b"59"


@act
def cards(api: HfApi, repo: str, folder: Path) -> None:
    api.create_repo(repo)
    card = ModelCard("---\nlicense: mit\ntags:\n- trl\n---\n# Wörds\n")
    if os.environ.get("HF_ENDPOINT_ONLY") and VERSION < (2, 4):
        # RepoCard.validate asks https://huggingface.co whatever the endpoint is (0.24 to 2.0, repocard.py:218), so that
        # from another process no card can be pushed by it; upload_file checks the card where the endpoint says.
        api.upload_file(path_or_fileobj=str(card).encode(), path_in_repo="README.md", repo_id=repo)
    else:
        card.push_to_hub(repo)
    loaded = ModelCard.load(repo)
    assert (loaded.data.license, loaded.data.tags, loaded.text) == ("mit", ["trl"], card.text)
    assert "trl" in api.model_info(repo).tags
    assert repo in [item.id for item in api.list_models(filter="trl")]
    api.create_repo(repo, repo_type="dataset")
    data = b"---\nconfigs:\n- config_name: default\n  data_files: '*.csv'\n---\n"
    api.upload_file(path_or_fileobj=data, path_in_repo="README.md", repo_id=repo, repo_type="dataset")
    assert DatasetCard.load(repo).data.to_dict()["configs"][0]["config_name"] == "default"
    with pytest.raises(ValueError, match="tags"):
        api.upload_file(path_or_fileobj=b"---\ntags: {a: 1}\n---\n", path_in_repo="README.md", repo_id=repo)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        api.upload_file(path_or_fileobj=b"no metadata", path_in_repo="README.md", repo_id=repo)
    assert any("metadata" in str(warning.message) for warning in told)


@act
def scheduler(api: HfApi, repo: str, folder: Path) -> None:
    (folder / "log.jsonl").write_text("1\n")
    at_work = CommitScheduler(repo_id=repo, repo_type="dataset", folder_path=folder, every=60, hf_api=api, private=True)
    try:
        at_work.trigger().result()
        with at_work.lock, (folder / "log.jsonl").open("a") as file:
            file.write("2\n")
        at_work.trigger().result()
        assert content(repo, "log.jsonl", repo_type="dataset") == b"1\n2\n"
        before = api.dataset_info(repo).sha
        at_work.trigger().result()
        assert api.dataset_info(repo).sha == before
    finally:
        at_work.stop()


@act
def file_system(api: HfApi, repo: str, folder: Path) -> None:
    api.create_repo(repo, repo_type="dataset")
    system = HfFileSystem()
    root = f"datasets/{repo}"
    with system.open(f"{root}/sub/a.txt", "w") as file:
        file.write("written")
    assert system.read_text(f"{root}/sub/a.txt") == "written"
    assert system.ls(f"{root}/sub", detail=False) == [f"{root}/sub/a.txt"]
    assert system.glob(f"{root}/**/*.txt") == [f"{root}/sub/a.txt"]
    with system.open(f"{root}/sub/a.txt", "rb") as file:
        file.seek(3)
        assert file.read(2) == b"tt"
    system.rm(f"{root}/sub/a.txt")
    assert not system.exists(f"{root}/sub/a.txt")


@act
def datasets(api: HfApi, repo: str, folder: Path) -> None:
    from datasets import Dataset, DatasetDict, load_dataset

    rows = {"n": [1, 2, 3], "x": [0.1, float("inf"), None], "text": ["a", "ü", ""], "list": [[1], [], [2, 3]]}
    made = Dataset.from_dict(rows)
    made.push_to_hub(repo, private=True)
    assert api.dataset_info(repo).private is True
    loaded = load_dataset(repo, split="train")
    assert loaded.to_dict() == made.to_dict()
    assert loaded.features == made.features
    DatasetDict({"train": made, "test": made.select([0])}).push_to_hub(repo, "second")
    assert load_dataset(repo, "second", split="test").to_dict() == made.select([0]).to_dict()
    assert load_dataset(repo, "default", split="train").to_dict() == made.to_dict()
    assert [row["n"] for row in load_dataset(repo, "default", split="train", streaming=True)] == [1, 2, 3]
