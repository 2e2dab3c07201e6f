"""A folder keeps the state, whatever changed it, and never a token."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import by_hand
import pytest
import xet_by_hand
from by_hand import ask_server

from conformance.__main__ import main
from conformance.hub import Delete, Hub, Quota, Rename, Request, Reset

TOKEN = "hf_first"


def state(hub: Hub) -> Any:
    """Return everything that a Hub knows, except for tokens."""
    users = {name: (user.orgs, user.quota) for name, user in hub.state.users.items()}
    storage = (hub.state.xet.xorbs, hub.state.xet.files, hub.state.xet.names)
    return users, hub.state.repos, hub.state.moved, hub.state.contents, storage


def send(hub: Hub, method: str, path: str, body: Any = None) -> None:
    """Send a request that succeeds."""
    assert by_hand.ask(hub, method, path, body).status < 300


def _large(hub: Hub) -> None:
    """Send one part of three, to a link that is good after the next start as well."""
    hub.part_size = 4
    link = by_hand.upload(hub, b"0123456789")["upload"]["header"]["1"]
    send(hub, "PUT", link, b"0123")


def _over_xet(hub: Hub) -> None:
    body = xet_by_hand.shard((xet_by_hand.FILE, [(xet_by_hand.XORB, 0, 4)], ""))
    for path, sent in (f"/v1/xorbs/default/{xet_by_hand.XORB}", xet_by_hand.BODY), ("/v1/shards", body):
        assert xet_by_hand.ask(hub, "POST", path, sent, xet_by_hand.token(hub)).status == 200


def _fault(effect: Any) -> Callable[[Hub], None]:
    def change(hub: Hub) -> None:
        hub.fail(with_=effect)
        try:
            hub.handle(Request("GET", "https://huggingface.co/api/models/user/x"))
        except Exception:
            pass

    return change


def _reset_after(hub: Hub) -> None:
    hub.fail(with_=Reset(after=True))
    with pytest.raises(Exception, match="reset"):
        send(hub, "POST", "/api/repos/create", {"name": "z", "type": "model"})


SECRET = {"key": "K", "value": "a secret value"}
CHANGES: dict[str, Callable[[Hub], Any]] = {
    "put": lambda hub: hub.put("user/x", {"a.txt": b"changed", "b": bytes(range(256))}),
    "put a large file": lambda hub: hub.put("user/x", {"big": b"0" * (10 * 2**20 + 1)}),
    "create": lambda hub: hub.create("user/y", "dataset", private=True, gated="auto", granted={"a", "b"}),
    "add_user": lambda hub: hub.add_user("other", "hf_other", orgs=["org"], quota=9),
    "a commit": lambda hub: send(hub, "POST", by_hand.COMMIT, by_hand.commit(by_hand.file("c"))),
    "a branch": lambda hub: send(hub, "POST", "/api/models/user/x/branch/b", {}),
    "a discussion": lambda hub: send(hub, "POST", "/api/models/user/x/discussions", {"title": "Why?"}),
    "a rename": lambda hub: send(hub, "POST", "/api/repos/move", {"fromRepo": "user/x", "toRepo": "user/y"}),
    "a deletion": lambda hub: send(hub, "DELETE", "/api/repos/delete", {"name": "x"}),
    "a secret": lambda hub: send(hub, "POST", "/api/spaces/user/s/secrets", SECRET),
    "a paused Space": lambda hub: send(hub, "POST", "/api/spaces/user/s/pause"),
    "part of a large file": _large,
    "a file over Xet": _over_xet,
    "a fault that renames": _fault(Rename("user/z")),
    "a fault that deletes": _fault(Delete()),
    "a fault that limits": _fault(Quota(5)),
    "a request without an answer": _reset_after,
}


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    made = Hub("user", TOKEN, folder=tmp_path / "folder")
    made.create("user/x")
    made.create("user/s", "space", sdk="gradio")
    made.put("user/x", {"a.txt": b"a", "d/b.txt": b"b"})
    return made


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changed_it_is_kept(hub: Hub, tmp_path: Path, change: str) -> None:
    before = deepcopy(state(hub))
    CHANGES[change](hub)
    assert state(hub) != before
    again = Hub("user", "hf_second", folder=tmp_path / "folder")
    assert state(again) == state(hub)
    for file in (tmp_path / "folder").rglob("*"):
        assert file.is_dir() or not any(word in file.read_bytes() for word in (TOKEN.encode(), b"a secret value"))


def test_what_is_assigned_is_kept_with_the_next_change(hub: Hub, tmp_path: Path) -> None:
    hub.repo("user/x").private = True
    assert Hub(folder=tmp_path / "folder").repo("user/x").private is False
    hub.save()
    assert Hub(folder=tmp_path / "folder").repo("user/x").private is True


def test_links_and_parts_are_good_after_a_restart(hub: Hub, tmp_path: Path) -> None:
    hub.part_size = 4
    actions = by_hand.upload(hub, b"01234567")["upload"]
    parts = []
    for number, content in ("1", b"0123"), ("2", b"4567"):
        hub = Hub("user", "hf_second", folder=tmp_path / "folder")
        answer = by_hand.ask(hub, "PUT", actions["header"][number], content, token=None)
        parts.append({"partNumber": int(number), "etag": answer.headers["ETag"]})
    assert by_hand.ask(hub, "POST", actions["href"], {"parts": parts}).status == 200


def test_a_process_that_is_killed_has_kept_what_it_answered(start: Any, tmp_path: Path) -> None:
    server, url = start("--user", f"me:{TOKEN}", "--folder", str(tmp_path))
    assert ask_server(url, "POST", "/api/repos/create", {"name": "x", "type": "dataset"}, TOKEN)[0] == 200
    server.kill()
    server.wait()
    _, url = start("--user", "me:hf_second", "--folder", str(tmp_path))
    assert json.loads(ask_server(url, "GET", "/api/datasets/me/x")[1])["id"] == "me/x"
    assert ask_server(url, "GET", "/api/whoami-v2", token=TOKEN)[0] == 401
    assert ask_server(url, "GET", "/api/whoami-v2", token="hf_second")[0] == 200


def test_a_commit_is_written_once(hub: Hub, tmp_path: Path) -> None:
    commits = tmp_path / "folder" / "commits"
    known = {path: os.stat(path).st_mtime_ns for path in commits.iterdir()}
    hub.put("user/x", {"c": b"c"})
    assert {path: os.stat(path).st_mtime_ns for path in known} == known
    assert len(list(commits.iterdir())) == len(known) + 1


@pytest.mark.parametrize("content", ["{", "[]", '{"users": [{"name": 1}]}'])
def test_a_folder_with_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    (tmp_path / "state.json").write_text(content)
    assert main(["hub", "serve", "--folder", str(tmp_path)]) == 2
    assert "does not hold the state of a Hub" in capsys.readouterr().err


def test_a_folder_of_an_earlier_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "requests.jsonl").write_text("")
    assert main(["hub", "serve", "--folder", str(tmp_path)]) == 2
    assert "an earlier version" in capsys.readouterr().err
