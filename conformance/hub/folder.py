"""A Hub's state in a folder, whatever changed it: a request, a call such as `hub.put`, a fault, an assignment.

    state.json               users without their tokens, repositories, refs, discussions
    commits/<oid>            a commit with its files, written once
    contents/<sha256>        a content, written once
    xorbs/<name> files/<name>    what came over the Xet protocol, written once
    parts/<md5>              parts of a large file that is not complete
    key                      what links to large files are signed with, readable by its owner alone

`state.json` is written last and replaces the one before, so a process that is killed leaves a state that was whole.
Tokens and the values of secrets are never written.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from conformance.hub.state import Commit, Discussion, Entry, Part, Repo, State, User
from conformance.hub.xet import File, Term, read_xorb

ONCE = ("commits", "contents", "xorbs", "files", "parts")


class Unreadable(ValueError):
    """The folder holds something else than a Hub's state; the message is one line."""


class Folder:
    """The folder of one Hub. Raises OSError where it cannot be written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name in ONCE:
            (path / name).mkdir(parents=True, exist_ok=True)
        self._written = {name: set(os.listdir(path / name)) for name in ONCE}
        self._told = ""
        key = path / "key"
        if not key.exists():
            key.touch(mode=0o600)
            key.write_text(secrets.token_hex(16))
        self.key = key.read_text()

    def save(self, state: State) -> None:
        """Write what has changed since the last time. Raises OSError."""
        repos = state.repos.values()
        self._once("contents", state.contents, bytes)
        self._once("xorbs", state.xet.xorbs, lambda xorb: xorb.body)
        self._once("files", state.xet.files, _json)
        self._once("parts", {part.md5: part.content for repo in repos for part in repo.parts.values()}, bytes)
        self._once("commits", {oid: commit for repo in repos for oid, commit in repo.commits.items()}, _json)
        told = json.dumps(_told(state), indent=1)
        if told != self._told:
            self._write("state.json", told.encode())
            self._told = told

    def _once(self, folder: str, values: Mapping[str, Any], encoded: Callable[[Any], bytes]) -> None:
        for name in values.keys() - self._written[folder]:
            self._write(f"{folder}/{name}", encoded(values[name]))
            self._written[folder].add(name)

    def _write(self, name: str, content: bytes) -> None:
        """Write a file so that it is there whole or not at all."""
        part = self.path / "part"
        part.write_bytes(content)
        os.replace(part, self.path / name)

    def load(self, state: State) -> None:
        """Fill an empty state with what is written. Raises Unreadable."""
        if (self.path / "requests.jsonl").exists():
            raise Unreadable(f"{self.path} was written by an earlier version: start with an empty folder")
        if not (self.path / "state.json").exists():
            return
        try:
            self._fill(state, json.loads(self._read("state.json")))
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise Unreadable(f"{self.path} does not hold the state of a Hub: {error!r}") from error

    def _fill(self, state: State, told: dict[str, Any]) -> None:
        state.contents = {name: self._read("contents", name) for name in self._written["contents"]}
        state.xet.xorbs = {name: read_xorb(self._read("xorbs", name)) for name in self._written["xorbs"]}
        for name in self._written["files"]:
            file = json.loads(self._read("files", name))
            state.xet.add(name, File(file["sha256"], file["size"], tuple(Term(*term) for term in file["terms"])))
        state.users = {user["name"]: User(**user) for user in told["users"]}
        state.moved = {(kind, old): new for kind, old, new in told["moved"]}
        state.repos = {(repo["kind"], repo["id"]): self._repo(repo) for repo in told["repos"]}

    def _repo(self, told: dict[str, Any]) -> Repo:
        commits = [json.loads(self._read("commits", oid)) for oid in told["commits"]]
        trees = [{path: Entry(**entry) for path, entry in commit["tree"].items()} for commit in commits]
        made = {
            "granted": set(told["granted"]),
            "commits": {c["oid"]: Commit(**{**c, "tree": tree}) for c, tree in zip(commits, trees, strict=True)},
            "parts": {(oid, number): Part(md5, self._read("parts", md5)) for oid, number, md5 in told["parts"]},
            "discussions": [Discussion(**one) for one in told["discussions"]],
        }
        return Repo(**{**told, **made})

    def _read(self, *name: str) -> bytes:
        return self.path.joinpath(*name).read_bytes()


def _json(value: Commit | File) -> bytes:
    return json.dumps(asdict(value)).encode()


def _told(state: State) -> dict[str, Any]:
    """Return the state as JSON, with the names of what is written once."""
    return {
        "users": [{"name": user.name, "orgs": user.orgs, "quota": user.quota} for user in state.users.values()],
        "moved": [[kind, old, new] for (kind, old), new in state.moved.items()],
        "repos": [_told_repo(repo) for repo in state.repos.values()],
    }


def _told_repo(repo: Repo) -> dict[str, Any]:
    return {
        **vars(repo),
        "granted": sorted(repo.granted),
        "commits": list(repo.commits),
        "parts": [[oid, number, part.md5] for (oid, number), part in repo.parts.items()],
        "discussions": [asdict(one) for one in repo.discussions],
    }
