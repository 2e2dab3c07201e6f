"""What the real client does with buckets, whose contents go over the Xet protocol: through hf_xet, in native code."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from huggingface_hub import HfApi, HfFileSystem
from huggingface_hub.utils import EntryNotFoundError, HfHubHTTPError
from stage import OTHER, VERSION, where

#: More than a chunk, and such that both kinds of compression are chosen for parts of it.
BIG = random.Random(0).randbytes(150_000) + b"again and again " * 20_000 + bytes(range(256)) * 500


def got(api: HfApi, bucket: str, path: str, folder: Path) -> bytes:
    """Download a bucket's file."""
    api.download_bucket_files(bucket, [(path, folder / "got")])
    return (folder / "got").read_bytes()


@where("create_bucket")
def buckets(api: HfApi, repo: str, folder: Path) -> None:
    assert api.create_bucket(repo, private=True).bucket_id == repo
    api.create_bucket(repo, exist_ok=True)
    told = api.bucket_info(repo)
    assert (told.id, told.private, told.total_files) == (repo, True, 0)
    assert repo in [bucket.id for bucket in api.list_buckets()]
    assert list(api.list_bucket_tree(repo)) == []
    with pytest.raises(HfHubHTTPError):
        api.bucket_info(repo, token=OTHER)
    api.move_bucket(repo, f"{repo}-moved")
    assert api.bucket_info(repo).id == f"{repo}-moved"
    api.delete_bucket(f"{repo}-moved")
    with pytest.raises(HfHubHTTPError):
        api.bucket_info(repo)


@where("batch_bucket_files")
def bucket_files(api: HfApi, repo: str, folder: Path) -> None:
    api.create_bucket(repo)
    (folder / "big").write_bytes(BIG)
    adds = [(folder / "big", "d/big.bin"), (b"small", "d/e/ü +%.txt"), (b"", "empty"), (b"x", "d.txt")]
    api.batch_bucket_files(repo, add=adds)
    assert (api.bucket_info(repo).total_files, api.bucket_info(repo).size) == (4, len(BIG) + 6)
    for source, path in adds:
        data = source.read_bytes() if isinstance(source, Path) else source
        assert got(api, repo, path, folder) == data
    tree = list(api.list_bucket_tree(repo, recursive=True))
    assert [item.path for item in tree] == ["d.txt", "d/big.bin", "d/e/ü +%.txt", "empty"]
    assert abs(tree[1].mtime.timestamp() - (folder / "big").stat().st_mtime) < 0.01
    assert [(item.type, item.path) for item in api.list_bucket_tree(repo)] == [
        ("file", "d.txt"),
        ("directory", "d"),
        ("file", "empty"),
    ]
    under = [item.path for item in api.list_bucket_tree(repo, prefix="d")]
    assert under == ["d.txt", "d/big.bin", "d/e"]
    assert [item.path for item in api.get_bucket_paths_info(repo, ["d/big.bin", "d", "none"])] == ["d/big.bin"]
    if VERSION >= (1, 32):  # before, it told the size of the redirect, of the real Hub's as well (pull request 4874)
        assert api.get_bucket_file_metadata(repo, "d/big.bin").size == len(BIG)
    with pytest.raises(EntryNotFoundError):
        api.download_bucket_files(repo, [("none", folder / "none")], raise_on_missing_files=True)
    api.batch_bucket_files(repo, add=[(b"changed", "d.txt")], delete=["empty"])
    assert got(api, repo, "d.txt", folder) == b"changed"
    assert api.bucket_info(repo).total_files == 3
    with pytest.raises(HfHubHTTPError):
        HfApi(token=OTHER).batch_bucket_files(repo, delete=["d.txt"])


@where("batch_bucket_files")
def bucket_copies(api: HfApi, repo: str, folder: Path) -> None:
    api.create_bucket(repo)
    api.create_bucket(f"{repo}-2")
    api.create_repo(repo)
    api.batch_bucket_files(repo, add=[(BIG, "a/big.bin"), (b"s", "a/small.txt")])
    api.upload_file(path_or_fileobj=b"\0model", path_in_repo="m.bin", repo_id=repo)
    api.upload_file(path_or_fileobj=b"text", path_in_repo="t.txt", repo_id=repo)
    api.copy_files(f"hf://buckets/{repo}/a/big.bin", f"hf://buckets/{repo}-2/b.bin")
    api.copy_files(f"hf://{repo}/m.bin", f"hf://buckets/{repo}-2/")
    api.copy_files(f"hf://{repo}/t.txt", f"hf://buckets/{repo}-2/deep/t.txt")
    for path, data in {"b.bin": BIG, "m.bin": b"\0model", "deep/t.txt": b"text"}.items():
        assert got(api, f"{repo}-2", path, folder) == data
    # What is not there cannot be copied; huggingface_hub 1.x looks at the status alone.
    with pytest.raises(HfHubHTTPError):
        api.batch_bucket_files(repo, copy=[("bucket", f"{repo}-2", "0" * 63 + "1", "c")])
    assert api.bucket_info(repo).total_files == 2


@where("sync_bucket")
def bucket_sync(api: HfApi, repo: str, folder: Path) -> None:
    api.create_bucket(repo)
    for name in ("a.txt", "sub/b.bin"):
        (folder / "there" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "there" / name).write_bytes(name.encode() * 1000)
    api.sync_bucket(str(folder / "there"), f"hf://buckets/{repo}/run", quiet=True)
    assert api.sync_bucket(str(folder / "there"), f"hf://buckets/{repo}/run", dry_run=True).summary()["uploads"] == 0
    api.sync_bucket(f"hf://buckets/{repo}/run", str(folder / "back"), quiet=True)
    assert (folder / "back/sub/b.bin").read_bytes() == b"sub/b.bin" * 1000
    (folder / "there/a.txt").unlink()
    api.sync_bucket(str(folder / "there"), f"hf://buckets/{repo}/run", delete=True, quiet=True)
    assert [item.path for item in api.list_bucket_tree(repo, recursive=True)] == ["run/sub/b.bin"]


@where("batch_bucket_files")
def bucket_file_system(api: HfApi, repo: str, folder: Path) -> None:
    api.create_bucket(repo)
    system, root = HfFileSystem(), f"buckets/{repo}"
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
