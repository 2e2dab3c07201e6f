"""What the real client does with repositories: create, branch, discuss, hide."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import CommitOperationAdd, HfApi, hf_hub_download
from huggingface_hub.utils import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from stage import OTHER, act, content, where

if hasattr(huggingface_hub, "Volume"):
    from huggingface_hub import Volume


@act
def create(api: HfApi, repo: str, folder: Path) -> None:
    for kind in ("model", "dataset", "space"):
        more = {"space_sdk": "gradio"} if kind == "space" else {}
        url = api.create_repo(repo, repo_type=kind, private=True, **more)
        assert (url.repo_id, url.repo_type) == (repo, kind)
        assert api.create_repo(repo, repo_type=kind, exist_ok=True, **more).repo_id == repo
        with pytest.raises(HfHubHTTPError) as taken:
            api.create_repo(repo, repo_type=kind, **more)
        assert taken.value.response.status_code == 409
        assert api.repo_info(repo, repo_type=kind).private is True
        assert api.repo_exists(repo, repo_type=kind)
        assert api.list_repo_files(repo, repo_type=kind) == [".gitattributes"]
        api.delete_repo(repo, repo_type=kind)
        assert not api.repo_exists(repo, repo_type=kind)
        api.delete_repo(repo, repo_type=kind, missing_ok=True)


@act
def rename(api: HfApi, repo: str, folder: Path) -> None:
    api.create_repo(repo)
    api.upload_file(path_or_fileobj=b"before", path_in_repo="a.txt", repo_id=repo)
    api.move_repo(repo, f"{repo}-new")
    assert api.model_info(repo).id == f"{repo}-new"
    assert content(repo, "a.txt") == b"before"
    api.upload_file(path_or_fileobj=b"after", path_in_repo="b.txt", repo_id=repo)
    assert content(f"{repo}-new", "b.txt") == b"after"


@act
def settings(api: HfApi, repo: str, folder: Path) -> None:
    api.create_repo(repo)
    if hasattr(api, "update_repo_settings"):
        api.update_repo_settings(repo, private=True)
    else:
        api.update_repo_visibility(repo, private=True)
    assert api.model_info(repo).private is True
    with pytest.raises(RepositoryNotFoundError):
        api.model_info(repo, token=False)


@act
def branches_and_tags(api: HfApi, repo: str, folder: Path) -> None:
    api.create_repo(repo)
    api.upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id=repo)
    api.create_tag(repo, tag="v1")
    api.create_branch(repo, branch="side/line")
    api.create_branch(repo, branch="side/line", exist_ok=True)
    api.upload_file(path_or_fileobj=b"2", path_in_repo="a", repo_id=repo, revision="side/line")
    api.upload_file(path_or_fileobj=b"3", path_in_repo="a", repo_id=repo)
    assert [content(repo, "a", revision=at) for at in ("v1", "side/line", "main")] == [b"1", b"2", b"3"]
    refs = api.list_repo_refs(repo)
    assert ({branch.name for branch in refs.branches}, [tag.name for tag in refs.tags]) == (
        {"main", "side/line"},
        ["v1"],
    )
    with pytest.raises(HfHubHTTPError):
        api.create_tag(repo, tag="v1")
    with pytest.raises(HfHubHTTPError):
        api.delete_branch(repo, branch="main")
    api.delete_branch(repo, branch="side/line")
    api.delete_tag(repo, tag="v1")
    with pytest.raises(RevisionNotFoundError):
        api.model_info(repo, revision="v1")
    with pytest.raises(RevisionNotFoundError):
        api.upload_file(path_or_fileobj=b"2", path_in_repo="a", repo_id=repo, revision="side/line")


@act
def discussions(api: HfApi, repo: str, folder: Path) -> None:
    api.create_repo(repo)
    one = api.create_discussion(repo, title="A question", description="What?")
    api.comment_discussion(repo, one.num, "That.")
    api.rename_discussion(repo, one.num, new_title="An answer")
    api.change_discussion_status(repo, one.num, new_status="closed")
    told = api.get_discussion_details(repo, one.num)
    assert (told.title, told.status) == ("An answer", "closed")
    assert [event.content for event in told.events if event.type == "comment"] == ["What?", "That."]
    made = api.create_commit(repo, [CommitOperationAdd("a", b"a")], commit_message="Add a", create_pr=True)
    assert not api.file_exists(repo, "a")
    assert content(repo, "a", revision=made.pr_revision) == b"a"
    api.create_commit(repo, [CommitOperationAdd("b", b"b")], commit_message="Add b", revision=made.pr_revision)
    assert [ref.ref for ref in api.list_repo_refs(repo, include_pull_requests=True).pull_requests] == ["refs/pr/2"]
    api.merge_pull_request(repo, made.pr_num)
    assert api.get_discussion_details(repo, made.pr_num).status == "merged"
    assert (content(repo, "a"), content(repo, "b")) == (b"a", b"b")
    draft = api.create_pull_request(repo, title="A draft")
    assert draft.is_pull_request
    assert draft.status == "draft"
    assert {item.num for item in api.get_repo_discussions(repo)} == {1, 2, 3}
    foreign = HfApi(token=OTHER)
    with pytest.raises(HfHubHTTPError) as refused:
        foreign.create_commit(repo, [CommitOperationAdd("c", b"c")], commit_message="c")
    assert refused.value.response.status_code == 403
    foreign.create_commit(repo, [CommitOperationAdd("c", b"c")], commit_message="c", create_pr=True)


@act
def errors(api: HfApi, repo: str, folder: Path) -> None:
    with pytest.raises(RepositoryNotFoundError):
        api.model_info(repo)
    with pytest.raises(RepositoryNotFoundError):
        api.model_info(repo, token=False)
    with pytest.raises(RepositoryNotFoundError):
        api.upload_file(path_or_fileobj=b"", path_in_repo="a", repo_id=repo)
    api.create_repo(repo, private=True)
    api.upload_file(path_or_fileobj=b"a", path_in_repo="a", repo_id=repo)
    with pytest.raises(EntryNotFoundError):
        hf_hub_download(repo, "none")
    with pytest.raises(RevisionNotFoundError):
        hf_hub_download(repo, "a", revision="none")
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree(repo, "none"))
    for token in (False, OTHER):
        with pytest.raises(RepositoryNotFoundError):
            hf_hub_download(repo, "a", token=token)
        with pytest.raises(RepositoryNotFoundError):
            api.list_repo_files(repo, token=token)
    with pytest.raises(HfHubHTTPError, match="Invalid credentials") as wrong:
        api.model_info(repo, token="hf_nobody")
    assert wrong.value.response.status_code == 401
    with pytest.raises(HfHubHTTPError) as foreign:
        api.create_repo("somebody-else/x")
    assert foreign.value.response.status_code == 403


@act
def gated(api: HfApi, repo: str, folder: Path) -> None:
    api.create_repo(repo)
    api.upload_file(path_or_fileobj=b"a", path_in_repo="a", repo_id=repo)
    if hasattr(api, "update_repo_settings"):
        api.update_repo_settings(repo, gated="auto")
    else:  # the client of 0.24 has no function for it
        import requests

        headers = {"authorization": f"Bearer {huggingface_hub.get_token()}"}
        requests.put(f"{api.endpoint}/api/models/{repo}/settings", json={"gated": "auto"}, headers=headers)
    assert content(repo, "a") == b"a"
    for token in (False, OTHER):
        with pytest.raises(GatedRepoError):
            hf_hub_download(repo, "a", token=token, cache_dir=folder)
    assert api.model_info(repo, token=OTHER).gated == "auto"


@act
def accounts(api: HfApi, repo: str, folder: Path) -> None:
    me = api.whoami()
    assert me["name"] == repo.split("/")[0]
    assert api.get_user_overview(me["name"]).username == me["name"]
    assert HfApi(token=OTHER).whoami()["name"] == "other"
    with pytest.raises(Exception, match=r"401|[Tt]oken"):
        api.whoami(token="hf_nobody")


@act
def spaces(api: HfApi, repo: str, folder: Path) -> None:
    api.create_repo(repo, repo_type="space", space_sdk="gradio", private=True)
    api.upload_file(path_or_fileobj=b"import gradio", path_in_repo="app.py", repo_id=repo, repo_type="space")
    api.add_space_secret(repo, "KEY", "hidden")
    api.add_space_variable(repo, "MODE", "test")
    assert api.get_space_variables(repo)["MODE"].value == "test"
    api.delete_space_variable(repo, "MODE")
    assert api.get_space_variables(repo) == {}
    assert api.space_info(repo).sdk == "gradio"
    assert api.get_space_runtime(repo).stage == "RUNNING"


@act
def space_runtime(api: HfApi, repo: str, folder: Path) -> None:
    api.create_repo(repo, repo_type="space", space_sdk="gradio", space_hardware="t4-small")
    assert api.get_space_runtime(repo).requested_hardware == "t4-small"
    assert api.pause_space(repo).stage == "PAUSED"
    assert api.restart_space(repo).stage == "RUNNING"
    assert api.request_space_hardware(repo, "t4-medium", sleep_time=60).hardware == "t4-medium"
    assert api.set_space_sleep_time(repo, 90).sleep_time == 90
    if hasattr(api, "set_space_volumes"):
        api.set_space_volumes(repo, [Volume(type="model", source="user/m", mount_path="/m")])
        assert [volume.source for volume in api.get_space_runtime(repo).volumes] == ["user/m"]
        api.delete_space_volumes(repo)
        with pytest.raises(HfHubHTTPError):
            api.delete_space_volumes(repo)


@act
def duplicate(api: HfApi, repo: str, folder: Path) -> None:
    api.create_repo(repo, repo_type="space", space_sdk="gradio")
    api.upload_file(path_or_fileobj=b"import gradio", path_in_repo="app.py", repo_id=repo, repo_type="space")
    if hasattr(api, "duplicate_repo"):
        api.duplicate_repo(repo, f"{repo}-copy", repo_type="space")
    else:
        api.duplicate_space(repo, f"{repo}-copy")
    assert content(f"{repo}-copy", "app.py", repo_type="space") == b"import gradio"


@where("_duplicate_lfs_files")
def copy_between_repositories(api: HfApi, repo: str, folder: Path) -> None:
    api.create_repo(repo)
    api.create_repo(f"{repo}-copy", repo_type="dataset")
    api.upload_file(path_or_fileobj=b"\0large", path_in_repo="a.bin", repo_id=repo)
    api.upload_file(path_or_fileobj=b"text", path_in_repo="d/a.txt", repo_id=repo)
    api.copy_files(f"hf://{repo}/a.bin", f"hf://datasets/{repo}-copy/b.bin")
    api.copy_files(f"hf://{repo}/d/", f"hf://datasets/{repo}-copy/e/")
    assert content(f"{repo}-copy", "b.bin", repo_type="dataset") == b"\0large"
    assert content(f"{repo}-copy", "e/a.txt", repo_type="dataset") == b"text"
