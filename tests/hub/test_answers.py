"""What the Hub answers to requests as such: what a well-behaved client does not show."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from by_hand import COMMIT, URL, ask, commit, file, told, upload
from hypothesis import given
from hypothesis import strategies as st

from conformance.hub import Hub


@pytest.fixture
def here() -> Hub:
    """A Hub without doors, with one model."""
    hub = Hub()
    hub.create("user/x")
    hub.put("user/x", {"a.txt": b"a", "d/b.txt": b"b"})
    return hub


@pytest.mark.parametrize(
    "lines, status, words",
    [
        ([("file", {"path": "c", "content": "?", "encoding": "base64"})], 400, "encoding"),
        ([("deletedFile", {"path": "none"})], 404, "does not exist"),
        ([("deletedFolder", {"path": "none"})], 404, "does not exist"),
        ([("lfsFile", {"path": "w", "algo": "sha256", "oid": "0" * 64, "size": 3})], 400, "does not exist"),
        ([("surprise", {})], 400, "surprise"),
        ([file("../c")], 400, "Invalid path"),
        ([file(".git/config")], 400, "Invalid path"),
        ([file("/etc")], 400, "Invalid path"),
        ([file("a.txt/c")], 400, "file and a folder"),
        ([("file", {"content": ""})], 400, "lacks"),
        ([file("README.md", b"---\n[\n---\n")], 400, "metadata"),
    ],
)
def test_a_commit_that_fails_changes_nothing(
    here: Hub, lines: list[tuple[str, dict[str, Any]]], status: int, words: str
) -> None:
    before = (here.files("user/x"), here.commits("user/x"))
    answer = ask(here, "POST", COMMIT, commit(file("good"), *lines))
    assert answer.status == status
    assert words in told(answer)["error"]
    assert answer.headers["X-Error-Message"].isascii()
    assert (here.files("user/x"), here.commits("user/x")) == before


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"key": 1}', commit(file("c"), summary="")])
def test_a_commit_that_is_none(here: Hub, body: bytes) -> None:
    assert ask(here, "POST", COMMIT, body).status == 400


def test_of_two_commits_on_one_parent_the_second_is_refused(here: Hub) -> None:
    head = here.commits("user/x")[0].oid
    assert ask(here, "POST", COMMIT, commit(file("one"), parentCommit=head)).status == 200
    assert ask(here, "POST", COMMIT, commit(file("two"), parentCommit=head)).status == 412
    assert "two" not in here.files("user/x")


@pytest.mark.parametrize("method, path", [("POST", COMMIT), ("POST", "/api/models/user/x/branch/b")])
def test_who_may_write(here: Hub, method: str, path: str) -> None:
    reader, other = here.add_user("user", role="read"), here.add_user("other")
    body = commit(file("c")) if path == COMMIT else b"{}"
    assert [ask(here, method, path, body, token).status for token in (None, other, reader, "")] == [401, 403, 403, 200]


def test_who_sees_what_is_private(here: Hub) -> None:
    here.create("user/hidden", private=True)
    other = here.add_user("other")
    path = "/api/models/user/hidden"
    assert [ask(here, "GET", path, token=token).status for token in (None, other, "")] == [401, 404, 200]
    missing = ask(here, "GET", "/api/models/user/none", token=other)
    hidden = ask(here, "GET", path, token=other)
    assert (hidden.status, hidden.body) == (missing.status, missing.body)
    assert hidden.headers["X-Error-Code"] == "RepoNotFound"
    names = [[repo["id"] for repo in told(ask(here, "GET", "/api/models", token=token))] for token in (None, "")]
    assert names == [["user/x"], ["user/hidden", "user/x"]]


@given(st.binary(min_size=1, max_size=40), st.integers(0, 45), st.integers(0, 45))
def test_a_range_is_a_slice(content: bytes, first: int, last: int) -> None:
    hub = Hub()
    hub.create("user/x")
    hub.put("user/x", {"f": content})
    path = "/user/x/resolve/main/f"
    for word, part in {f"{first}-{last}": content[first : last + 1], f"{first}-": content[first:]}.items():
        answer = ask(hub, "GET", path, range=f"bytes={word}")
        if part:
            assert (answer.status, answer.body) == (206, part)
            total = f"bytes {first}-{first + len(part) - 1}/{len(content)}"
            assert answer.headers["Content-Range"] == total
        else:
            assert answer.status == 416
    tail = ask(hub, "GET", path, range=f"bytes=-{first}")
    assert (tail.status, tail.body) == ((206, content[-first:]) if first else (416, tail.body))


def test_a_large_file_is_stored_only_whole(here: Hub) -> None:
    href = upload(here, b"right")["upload"]["href"]
    assert not href.startswith(URL)
    assert ask(here, "PUT", href, b"wrong", token=None).status == 400
    verify = upload(here, b"right")["verify"]["href"]
    assert ask(here, "POST", verify).status == 404
    assert ask(here, "PUT", href, b"right", token=None).status == 200
    assert ask(here, "POST", verify).status == 200
    assert upload(here, b"right") == {}


def test_a_link_is_good_for_one_thing(here: Hub) -> None:
    href = upload(here, b"right")["upload"]["href"]
    assert ask(here, "PUT", href.replace("whole", "1"), b"right", token=None).status == 403
    assert ask(here, "PUT", href.partition("?")[0], b"right", token=None).status == 403


def test_parts_are_joined_in_their_order(here: Hub) -> None:
    here.part_size = 4
    content = b"0123456789"
    actions = upload(here, content)["upload"]
    links = {int(name): link for name, link in actions["header"].items() if name.isdigit()}
    assert (sorted(links), actions["header"]["chunk_size"]) == ([1, 2, 3], "4")
    tags = {n: ask(here, "PUT", links[n], content[4 * n - 4 : 4 * n], token=None).headers["ETag"] for n in (3, 1, 2)}
    parts = [{"partNumber": n, "etag": tag} for n, tag in tags.items()]
    oid = hashlib.sha256(content).hexdigest()
    wrong = [{**part, "etag": '"0"'} for part in parts]
    assert ask(here, "POST", actions["href"], {"oid": oid, "parts": wrong}).status == 400
    assert ask(here, "POST", actions["href"], {"oid": oid, "parts": parts[:2]}).status == 400
    for _ in range(2):  # a client that did not get the answer asks again
        assert ask(here, "POST", actions["href"], {"oid": oid, "parts": parts}).status == 200
    line = ("lfsFile", {"path": "w", "algo": "sha256", "oid": oid, "size": 10})
    assert ask(here, "POST", COMMIT, commit(line)).status == 200
    assert here.files("user/x")["w"] == content


def test_a_private_large_file_needs_its_link(here: Hub) -> None:
    ask(here, "PUT", upload(here, b"right")["upload"]["href"], b"right")
    oid = hashlib.sha256(b"right").hexdigest()
    ask(here, "POST", COMMIT, commit(("lfsFile", {"path": "w", "algo": "sha256", "oid": oid})))
    here.repo("user/x").private = True
    assert ask(here, "GET", "/user/x/resolve/main/w", token=None).status == 401
    answer = ask(here, "GET", "/user/x/resolve/main/w")
    assert (answer.status, answer.headers["X-Linked-Size"], answer.headers["X-Linked-ETag"]) == (302, "5", f'"{oid}"')
    link = answer.headers["Location"]
    assert ask(here, "GET", link, token=None).body == b"right"
    assert ask(here, "GET", link.replace("sig=", "sig=0"), token=None).status == 403
    assert b"oid sha256:" + oid.encode() in ask(here, "GET", "/user/x/raw/main/w").body


def test_pages_are_linked(here: Hub) -> None:
    for n in range(7):
        here.create(f"user/m{n}")
    seen, path = [], "/api/models?author=user&limit=3"
    while path:
        answer = ask(here, "GET", path)
        seen += [repo["id"] for repo in told(answer)]
        path = answer.headers.get("Link", "").partition(">")[0].lstrip("<")
    assert seen == [*(f"user/m{n}" for n in reversed(range(7))), "user/x"]


@pytest.mark.parametrize(
    "path, sample, size, mode",
    [
        ("new.txt", b"text", 4, "regular"),
        ("new.txt", "ü".encode() * 200 + "ü".encode()[:1], 5000, "regular"),
        ("new.txt", b"text", 11 * 2**20, "lfs"),
        ("a.bin", b"text", 4, "lfs"),
        ("deep/a.parquet", b"text", 4, "lfs"),
        ("saved_model/x/y", b"text", 4, "lfs"),
        ("events.out.tfevents.1", b"text", 4, "lfs"),
        ("a", b"\0", 1, "lfs"),
        ("a", b"\xff\xfe\xfd\xfc\xfb", 5, "lfs"),
    ],
)
def test_what_is_a_large_file(here: Hub, path: str, sample: bytes, size: int, mode: str) -> None:
    files = [{"path": path, "sample": base64.b64encode(sample).decode(), "size": size}]
    answer = told(ask(here, "POST", "/api/models/user/x/preupload/main", {"files": files}))
    assert answer["files"] == [{"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": None}]


@pytest.mark.parametrize(
    "path, ignored",
    [("a.log", True), ("d/a.log", True), ("keep.log", False), ("build/x", True), ("x/build", False), ("top", True)],
)
def test_what_gitignore_leaves_out(here: Hub, path: str, ignored: bool) -> None:
    rules = "# logs\n*.log\n!keep.log\nbuild/\n/top\n"
    asked = {"files": [{"path": path, "sample": "", "size": 0}], "gitIgnore": rules}
    answer = told(ask(here, "POST", "/api/models/user/x/preupload/main", asked))
    assert answer["files"][0]["shouldIgnore"] is ignored


def test_a_request_that_both_sides_changed_is_not_merged(here: Hub) -> None:
    made = told(ask(here, "POST", f"{COMMIT}?create_pr=1", commit(file("a.txt", b"theirs"))))
    assert made["pullRequestUrl"].endswith("/user/x/discussions/1")
    here.put("user/x", {"a.txt": b"ours"})
    details = told(ask(here, "GET", "/api/models/user/x/discussions/1"))
    assert details["filesWithConflicts"] == ["a.txt"]
    assert ask(here, "POST", "/api/models/user/x/discussions/1/merge", {}).status == 409
    assert here.files("user/x")["a.txt"] == b"ours"


def test_a_renamed_repository_redirects_until_its_name_is_taken(here: Hub) -> None:
    ask(here, "POST", "/api/repos/move", {"fromRepo": "user/x", "toRepo": "user/y", "type": "model"})
    ask(here, "POST", "/api/repos/move", {"fromRepo": "user/y", "toRepo": "user/z", "type": "model"})
    answer = ask(here, "GET", "/api/models/user/x/tree/main?recursive=1")
    assert (answer.status, answer.headers["Location"]) == (307, "/api/models/user/z/tree/main?recursive=1")
    here.create("user/x")
    assert ask(here, "GET", "/api/models/user/x").status == 200


def test_the_clock_is_the_one_that_is_given() -> None:
    hub = Hub(clock=lambda: 86_400.0)
    hub.create("user/x")
    assert told(ask(hub, "GET", "/api/models/user/x"))["createdAt"] == "1970-01-02T00:00:00.000Z"
    assert ask(hub, "GET", "/api/models/user/x").headers["Date"] == "Fri, 02 Jan 1970 00:00:00 GMT"


@pytest.mark.parametrize("name", ["x", "user/", "user/a/b", "user/-a", "user/a--b", "user/" + "a" * 100])
def test_a_name_that_cannot_be(name: str) -> None:
    with pytest.raises(ValueError, match="Invalid repo name"):
        Hub().create(name)


def test_what_is_asked_of_a_hub_that_is_not_there(here: Hub) -> None:
    with pytest.raises(KeyError, match="there is model user/x"):
        here.files("user/none")
    with pytest.raises(KeyError, match="Invalid rev id"):
        here.files("user/x", revision="none")


def test_no_harness_is_known(here: Hub) -> None:
    answer = ask(here, "GET", "/api/agent-harnesses", token=None)
    assert (answer.status, told(answer)) == (200, {"standardEnvVars": [], "harnesses": {}})
