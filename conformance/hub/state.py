"""What the Hub knows: users, repositories, commits, files. No HTTP here, except that a refusal knows its status."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from conformance.hub.messages import Refused
from conformance.hub.xet import Storage

#: The path segment of a kind of repository, and its name.
KINDS = {"models": "model", "datasets": "dataset", "spaces": "space", "buckets": "bucket"}
MAIN = "main"
SHA = re.compile(r"[0-9a-f]{7,40}")
NAME = re.compile(r"(?!.*(?:--|\.\.))[\w](?:[\w.-]*[\w])?")

#: The files that a new repository on the real Hub keeps as large ones.
LARGE = """*.7z *.arrow *.bin *.bz2 *.ckpt *.ftz *.gz *.h5 *.joblib *.lfs.* *.mlmodel *.model *.msgpack *.npy *.npz
*.onnx *.ot *.parquet *.pb *.pickle *.pkl *.pt *.pth *.rar *.safetensors saved_model/**/* *.tar *.tflite *.tgz *.wasm
*.xz *.zip *.zst *tfevents*"""
GITATTRIBUTES = "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in LARGE.split()).encode()


@dataclass
class User:
    """An account; `tokens` maps a token to its role (`read` or `write`), `quota` is in bytes of large files."""

    name: str
    tokens: dict[str, str] = field(default_factory=dict)
    orgs: list[str] = field(default_factory=list)
    quota: int | None = None

    def owns(self, namespace: str) -> bool:
        """Whether repositories of this namespace are the user's."""
        return namespace == self.name or namespace in self.orgs


@dataclass(frozen=True)
class Entry:
    """A file of a tree: `oid` is git's (of the pointer, for a large file), `sha256` that of the content.

    `mtime` is what a bucket is told: when the file was changed before it was uploaded, in milliseconds since 1970.
    """

    sha256: str
    size: int
    oid: str
    lfs: bool = False
    commit: str = ""
    mtime: int | None = None


@dataclass(frozen=True)
class Commit:
    """A commit; `date` is in seconds since 1970."""

    oid: str
    parent: str | None
    tree: Mapping[str, Entry]
    title: str
    message: str
    date: float
    author: str


@dataclass(frozen=True)
class Part:
    """A part of a large file that is not complete."""

    md5: str
    content: bytes


@dataclass
class Discussion:
    """A discussion, or a pull request, whose commits are at `refs/pr/<num>`; `events` are as the API tells them."""

    num: int
    title: str
    author: str
    created: float
    pull: bool
    status: str
    base: str = MAIN
    events: list[dict[str, Any]] = field(default_factory=list)
    merged: str | None = None


@dataclass
class Repo:
    """A repository of any kind. Refs are full names (`refs/heads/main`); `objects` are the large files it was sent."""

    kind: str
    id: str
    created: float
    private: bool = False
    gated: str | bool = False
    sdk: str | None = None
    disabled: bool = False
    granted: set[str] = field(default_factory=set)
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    objects: dict[str, int] = field(default_factory=dict)
    parts: dict[tuple[str, int], Part] = field(default_factory=dict)
    discussions: list[Discussion] = field(default_factory=list)
    variables: dict[str, Any] = field(default_factory=dict)
    secrets: dict[str, Any] = field(default_factory=dict)
    #: What is set for a Space beside its files: hardware, sleep time, volumes, whether it is paused.
    runtime: dict[str, Any] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        return self.id.partition("/")[0]

    @property
    def head(self) -> Commit:
        """The newest commit of `main`."""
        return self.commits[self.refs[f"refs/heads/{MAIN}"]]

    def holds(self, sha256: str) -> bool:
        """Whether a content was sent to this repository or is in one of its commits."""
        newest_first = reversed(self.commits.values())
        return sha256 in self.objects or any(
            entry.sha256 == sha256 for commit in newest_first for entry in commit.tree.values()
        )

    def ref(self, revision: str) -> str | None:
        """Return the full name of a branch, tag or pull request, or None."""
        for full in (revision, f"refs/heads/{revision}", f"refs/tags/{revision}"):
            if full in self.refs:
                return full
        return None

    def at(self, revision: str) -> Commit:
        """Return the commit of a branch, tag, pull request or (short) hash. Raises Refused (404 RevisionNotFound)."""
        full = self.ref(revision)
        if full:
            return self.commits[self.refs[full]]
        if SHA.fullmatch(revision):
            for oid, commit in self.commits.items():
                if oid.startswith(revision):
                    return commit
        raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def history(self, commit: Commit) -> Iterable[Commit]:
        """Yield a commit and those before it, newest first."""
        at: Commit | None = commit
        while at is not None:
            yield at
            at = self.commits.get(at.parent) if at.parent else None


def git_oid(content: bytes) -> str:
    """Return git's hash of a blob."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def pointer(sha256: str, size: int) -> bytes:
    """Return what git holds of a large file (git-lfs, docs/spec.md)."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def iso(seconds: float) -> str:
    """Return a time as the API writes it: ISO 8601, UTC, milliseconds."""
    at = datetime.fromtimestamp(seconds, timezone.utc)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


class State:
    """All users, repositories and contents. `clock` returns seconds since 1970, `key` signs links to large files."""

    def __init__(self, clock: Callable[[], float] = time.time, key: str = "") -> None:
        #: Held while a request is answered: what one changes, no other sees half.
        self.lock = threading.RLock()
        self.clock = clock
        #: Seconds since 1970 at which the request came that is answered now; it happens at one moment.
        self.now = clock()
        #: Bytes above which a large file goes up in parts, and of each part.
        self.part_size = 16 * 1024 * 1024
        self.key = (key or secrets.token_hex(16)).encode()
        self.users: dict[str, User] = {}
        self.repos: dict[tuple[str, str], Repo] = {}
        self.moved: dict[tuple[str, str], str] = {}
        self.contents: dict[str, bytes] = {}
        #: The same contents, as the Xet protocol stores them.
        self.xet = Storage()
        #: Where the loopback server listens, once there is one.
        self.url = ""

    def keep(self, content: bytes) -> str:
        """Store a content; return its sha256."""
        sha256 = hashlib.sha256(content).hexdigest()
        self.contents.setdefault(sha256, content)
        return sha256

    def entry(self, content: bytes, commit: str = "") -> Entry:
        """Store a regular file's content; return its entry."""
        return Entry(self.keep(content), len(content), git_oid(content), False, commit)

    def user_of(self, token: str) -> tuple[User, str] | None:
        """Return whose token this is, and its role."""
        for user in self.users.values():
            if token in user.tokens:
                return user, user.tokens[token]
        return None

    def create(self, kind: str, id: str, author: str, **settings: Any) -> Repo:
        """Create a repository with the initial commit that the Hub makes. Raises Refused (400, 409)."""
        if len(id) > 96 or id.count("/") != 1 or not all(NAME.fullmatch(part) for part in id.split("/")):
            raise Refused(400, f"Invalid repo name: {id}")
        if (kind, id) in self.repos:
            raise Refused(409, f"You already created this {kind} repo")
        self.moved.pop((kind, id), None)
        repo = self.repos[kind, id] = Repo(kind, id, self.now, **settings)
        first = {".gitattributes": self.entry(GITATTRIBUTES)} if kind != "bucket" else {}
        self.commit(repo, f"refs/heads/{MAIN}", first, author, "initial commit")
        return repo

    def commit(
        self,
        repo: Repo,
        ref: str,
        tree: Mapping[str, Entry],
        author: str,
        title: str,
        message: str = "",
        parent: str | None = None,
    ) -> Commit:
        """Add a commit with this whole tree and move the ref there. Entries without a commit get this one."""
        date = self.now
        known = json.dumps([repo.kind, repo.id, parent, title, message, date, author, len(repo.commits)])
        files = "".join(f"{path}\0{entry.oid}\n" for path, entry in sorted(tree.items()))
        oid = hashlib.sha1((known + files).encode()).hexdigest()
        marked = {path: entry if entry.commit else replace(entry, commit=oid) for path, entry in tree.items()}
        commit = repo.commits[oid] = Commit(oid, parent, marked, title, message, date, author)
        repo.refs[ref] = oid
        return commit

    def delete(self, kind: str, id: str) -> None:
        """Delete a repository."""
        del self.repos[kind, id]

    def move(self, kind: str, old: str, new: str) -> None:
        """Rename a repository; the old name redirects until it is taken again. Raises Refused (400, 409)."""
        if not all(NAME.fullmatch(part) for part in new.split("/")) or new.count("/") != 1:
            raise Refused(400, f"Invalid repo name: {new}")
        if (kind, new) in self.repos:
            raise Refused(409, f"The {kind} {new} exists already")
        repo = self.repos.pop((kind, old))
        repo.id = new
        self.repos[kind, new] = repo
        self.moved.pop((kind, new), None)
        self.moved = {at: new if to == old and at[0] == kind else to for at, to in self.moved.items()}
        self.moved[kind, old] = new

    def stored(self, namespace: str) -> int:
        """Return the bytes of large files in a namespace's repositories."""
        return sum(sum(repo.objects.values()) for repo in self.repos.values() if repo.namespace == namespace)

    def quota(self, namespace: str) -> int | None:
        """Return how many bytes of large files a namespace may hold; None is without end."""
        user = self.users.get(namespace)
        return user.quota if user else None
