"""Commits: how a file is to be sent, and the commit itself, which happens whole or not at all."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import json
from collections.abc import Callable
from typing import Any

from conformance.hub.cards import problems
from conformance.hub.messages import Refused, Response, reply
from conformance.hub.routes.discussions import open_discussion
from conformance.hub.routes.repos import address
from conformance.hub.routing import Call, route
from conformance.hub.state import Commit, Entry, Repo, git_oid, pointer

#: Bytes above which a file is always a large one.
REGULAR = 10 * 1024 * 1024


def _matches(path: str, pattern: str) -> bool:
    """Whether a pattern of .gitattributes or .gitignore means this path (without `/`: any folder's files)."""
    if "/" not in pattern.rstrip("/"):
        steps = path.split("/")
        folders = steps[:-1] if pattern.endswith("/") else steps
        return any(fnmatch.fnmatchcase(step, pattern.rstrip("/")) for step in folders)
    wanted = pattern.lstrip("/").replace("**/", "*")
    return fnmatch.fnmatchcase(path, wanted) or path.startswith(wanted.rstrip("/") + "/")


def _ignored(path: str, rules: str) -> bool:
    """Whether .gitignore's lines leave a path out; the last line that means it decides."""
    ignored = False
    for line in rules.splitlines():
        rule = line.strip()
        if rule and not rule.startswith("#") and _matches(path, rule.removeprefix("!")):
            ignored = not rule.startswith("!")
    return ignored


def _text(call: Call, commit: Commit, path: str) -> str:
    entry = commit.tree.get(path)
    return call.state.contents[entry.sha256].decode("utf-8", "replace") if entry else ""


def _binary(sample: bytes) -> bool:
    """Whether the first bytes of a file are no text; the last character may be cut."""
    try:
        sample.decode()
    except UnicodeDecodeError as error:
        return error.start < len(sample) - 3
    return b"\0" in sample


@route("POST", "/api/{kind}/{repo}/preupload/{rev}")
def preupload(call: Call, **holes: str) -> Response:
    """Say for each file whether it goes into the commit or up as a large file, and whether it is ignored."""
    repo = call.repo if call.request.flag("create_pr") and call.signed_in() else call.writable()
    commit = repo.at(holes["rev"])
    told = call.request.json()
    rules = told.get("gitIgnore") or _text(call, commit, ".gitignore")
    large = [line.split()[0] for line in _text(call, commit, ".gitattributes").splitlines() if "filter=lfs" in line]
    answers = []
    for file in told.get("files", []):
        path, size = file["path"], int(file.get("size") or 0)
        sample = base64.b64decode(file.get("sample") or "")
        lfs = size > REGULAR or _binary(sample) or any(_matches(path, pattern) for pattern in large)
        there = commit.tree.get(path)
        oid = (there.sha256 if there.lfs else there.oid) if there else None
        mode = "lfs" if lfs else "regular"
        answers.append({"path": path, "uploadMode": mode, "shouldIgnore": _ignored(path, rules), "oid": oid})
    return reply({"files": answers, "commitOid": commit.oid})


def valid(path: str) -> str:
    """Return a path as the tree has it. Raises Refused (400) for one that leaves the repository."""
    steps = path.split("/")
    if not path or any(step in ("", ".", "..", ".git") for step in steps) or "\0" in path:
        raise Refused(400, f"Invalid path: {path!r}")
    return path


def _file(call: Call, repo: Repo, tree: dict[str, Entry], value: dict[str, Any]) -> None:
    path = valid(value["path"])
    try:
        encoded = value.get("encoding") == "base64"
        content = base64.b64decode(value["content"], validate=True) if encoded else value["content"].encode()
    except (binascii.Error, ValueError) as error:
        raise Refused(400, f"The content of {path} is not what its encoding says: {error}") from error
    if path == "README.md" and (errors := problems(content.decode("utf-8", "replace"))[0]):
        raise Refused(400, f"Invalid metadata in README.md: {errors[0]}")
    tree[path] = call.state.entry(content)


def _large(call: Call, repo: Repo, tree: dict[str, Entry], value: dict[str, Any]) -> None:
    path, oid = valid(value["path"]), value["oid"]
    size = repo.objects.get(oid)
    if size is None:
        raise Refused(
            400, f"Your push was rejected because an LFS pointer pointed to a file that does not exist: {path}"
        )
    if value.get("size") not in (None, size):
        raise Refused(400, f"The size of {path} is {size}, not {value['size']}")
    tree[path] = Entry(oid, size, git_oid(pointer(oid, size)), lfs=True)


def _deleted(call: Call, repo: Repo, tree: dict[str, Entry], value: dict[str, Any]) -> None:
    if value["path"] not in tree:
        raise Refused(404, f'"{value["path"]}" does not exist', "EntryNotFound")
    del tree[value["path"]]


def _folder(call: Call, repo: Repo, tree: dict[str, Entry], value: dict[str, Any]) -> None:
    folder = value["path"].rstrip("/") + "/"
    inside = [path for path in tree if path.startswith(folder)]
    if not inside:
        raise Refused(404, f'"{value["path"]}" does not exist', "EntryNotFound")
    for path in inside:
        del tree[path]


OPERATIONS: dict[str, Callable[[Call, Repo, dict[str, Entry], dict[str, Any]], None]] = {
    "file": _file,
    "lfsFile": _large,
    "deletedFile": _deleted,
    "deletedFolder": _folder,
}


def _lines(body: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Read the commit's lines. Raises Refused (400)."""
    try:
        return [(line["key"], line["value"]) for line in map(json.loads, body.splitlines()) if line]
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(400, f"The body is no list of a commit's operations: {error!r}") from error


@route("POST", "/api/{kind}/{repo}/commit/{rev}")
def commit(call: Call, **holes: str) -> Response:
    """Commit. Everything is checked and built first; then one assignment moves the branch (or opens the request)."""
    opens = call.request.flag("create_pr")
    user = call.signed_in(write=opens)
    repo = call.repo if opens else call.writable()
    base = repo.at(holes["rev"])
    ref = repo.ref(holes["rev"])
    if ref is None or ref.startswith("refs/tags/"):
        raise Refused(400, f"{holes['rev']} is not a branch: a commit is added to a branch")
    header: dict[str, Any] = {}
    tree = dict(base.tree)
    for key, value in _lines(call.request.body):
        if key == "header":
            header = value
        elif key in OPERATIONS:
            try:
                OPERATIONS[key](call, repo, tree, value)
            except (KeyError, AttributeError, TypeError) as error:
                raise Refused(400, f"A line {key!r} of the commit lacks something: {error!r}") from error
        else:
            raise Refused(400, f"A commit has no operation {key!r}")
    wanted = header.get("parentCommit")
    if wanted and not base.oid.startswith(wanted):
        raise Refused(412, "A commit has happened since. Please refresh and try again.")
    if not header.get("summary"):
        raise Refused(400, '"summary" is required')
    _collide(tree)
    told: dict[str, Any] = {"success": True, "hookOutput": ""}
    title, text = header["summary"], header.get("description") or ""
    if opens:
        opened = open_discussion(call, repo, title, text, pull=True, base=ref)
        ref = f"refs/pr/{opened.num}"
        told["pullRequestUrl"] = f"{address(call, repo)}/discussions/{opened.num}"
    made = call.state.commit(repo, ref, tree, user.name, title, text, parent=base.oid)
    return reply({**told, "commitOid": made.oid, "commitUrl": f"{address(call, repo)}/commit/{made.oid}"})


def _collide(tree: dict[str, Entry]) -> None:
    """Raise Refused (400) if a path is a file and a folder at once; git could not hold it."""
    for path in tree:
        steps = path.split("/")
        for depth in range(1, len(steps)):
            if "/".join(steps[:depth]) in tree:
                raise Refused(400, f"{'/'.join(steps[:depth])} cannot be a file and a folder")
