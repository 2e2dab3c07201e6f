"""The Hub as a test holds it: its users, repositories, faults and the log of what was asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.hub import faults
from conformance.hub.application import Application
from conformance.hub.folder import Folder
from conformance.hub.messages import Refused, Request, Response, UnknownRequest
from conformance.hub.routes.commits import REGULAR
from conformance.hub.state import MAIN, Commit, Entry, Repo, State, User, git_oid, pointer


@dataclass(frozen=True)
class Seen:
    """A request in the log. `status` is 0 where no answer was sent, `fault` is what was planted for it.

    `sent` and `received` are the sizes of the two bodies as the client sees them, in bytes.
    """

    number: int
    method: str
    path: str
    status: int
    user: str | None
    fault: str = ""
    sent: int = 0
    received: int = 0


class Hub:
    """One Hub. `name` and `token` are of its first user; `clock` returns seconds since 1970.

    With a `folder` the state is kept there, except for tokens, and is there again for the next Hub on it. It is written
    after every request and call; what is assigned (`hub.repo("user/x").private = True`) with the next, or by `save`.
    Raises ValueError for a folder with something else, OSError for one that cannot be written.
    """

    def __init__(
        self,
        name: str = "user",
        token: str = "hf_" + "t" * 34,
        clock: Callable[[], float] = time.time,
        folder: Path | None = None,
    ) -> None:
        self.user, self.token = name, token
        self.folder = Folder(folder) if folder else None
        self.state = State(clock, self.folder.key if self.folder else "")
        if self.folder:
            self.folder.load(self.state)
        self.application = Application(self.state)
        self.requests: list[Seen] = []
        #: Requests that the Hub does not know; the fixture makes them the test's failure.
        self.unknown: list[str] = []
        self.faults: list[faults.Fault] = []
        self._lock = threading.Lock()
        self.add_user(name, token)

    # The state, as a test sets it up and looks at it.

    def add_user(
        self, name: str, token: str = "", role: str = "write", orgs: Sequence[str] = (), quota: int | None = None
    ) -> str:
        """Add a user, or another token of one; return the token. `quota` is in bytes of large files."""
        user = self.state.users.setdefault(name, User(name))
        token = token or f"hf_{name}_{len(user.tokens)}_{role}"
        user.tokens[token] = role
        user.orgs += [org for org in orgs if org not in user.orgs]
        user.quota = quota if quota is not None else user.quota
        self.save()
        return token

    def create(self, repo: str, repo_type: str = "model", **settings: Any) -> Repo:
        """Create a repository: `private`, `gated`, `sdk`, `granted`. Raises ValueError for a name that cannot be."""
        with self.state.lock:
            self.state.now = self.state.clock()
            try:
                made = self.state.create(repo_type, repo, repo.partition("/")[0], **settings)
            except Refused as refused:
                raise ValueError(str(refused)) from refused
            self.save()
            return made

    def put(self, repo: str, files: Mapping[str, bytes], repo_type: str | None = None, message: str = "put") -> Commit:
        """Add files to main in one commit, as somebody else would; what is above 10 MiB becomes a large file."""
        with self.state.lock:
            self.state.now = self.state.clock()
            there = self.repo(repo, repo_type)
            tree = dict(there.head.tree)
            for path, content in files.items():
                tree[path] = self.state.entry(content)
                if len(content) > REGULAR:
                    sha256, size = tree[path].sha256, len(content)
                    there.objects[sha256] = size
                    tree[path] = Entry(sha256, size, git_oid(pointer(sha256, size)), lfs=True)
            made = self.state.commit(there, f"refs/heads/{MAIN}", tree, there.namespace, message, parent=there.head.oid)
            self.save()
            return made

    def repo(self, repo: str, repo_type: str | None = None) -> Repo:
        """Return a repository; without `repo_type` the only one of that name. Raises KeyError."""
        found = [r for (kind, id), r in self.state.repos.items() if id == repo and repo_type in (None, kind)]
        if len(found) != 1:
            there = ", ".join(f"{kind} {id}" for kind, id in self.state.repos) or "nothing"
            raise KeyError(f"{len(found)} repositories are {repo_type or ''} {repo}; there is {there}")
        return found[0]

    def files(self, repo: str, repo_type: str | None = None, revision: str = MAIN) -> dict[str, bytes]:
        """Return the files of a repository. Raises KeyError."""
        try:
            tree = self.repo(repo, repo_type).at(revision).tree
        except Refused as refused:
            raise KeyError(str(refused)) from refused
        return {path: self.state.contents[entry.sha256] for path, entry in sorted(tree.items())}

    def commits(self, repo: str, repo_type: str | None = None, revision: str = MAIN) -> list[Commit]:
        """Return the commits of a repository, newest first. Raises KeyError."""
        there = self.repo(repo, repo_type)
        return list(there.history(there.at(revision)))

    def save(self) -> None:
        """Write the state to the folder, if there is one. Raises OSError."""
        if self.folder:
            with self.state.lock:
                self.folder.save(self.state)

    @property
    def url(self) -> str:
        """Where the loopback server listens; empty without one."""
        return self.state.url

    @url.setter
    def url(self, url: str) -> None:
        self.state.url = url

    @property
    def part_size(self) -> int:
        """Bytes above which a large file goes up in parts of so many bytes each."""
        return self.state.part_size

    @part_size.setter
    def part_size(self, size: int) -> None:
        self.state.part_size = size

    # What goes wrong.

    def fail(
        self,
        route: str | None = None,
        *,
        on: int | Iterable[int] | None = None,
        times: int | None = 1,
        with_: faults.Effect | None = None,
        status: int | None = None,
        message: str = "",
        code: str | None = None,
        retry_after: int | None = None,
    ) -> faults.Fault:
        """Plant a fault: `hub.fail("POST /api/datasets/*/commit/*", status=429, retry_after=1, times=2)`.

        route: method and path, both optional; `*` is anything. on: the n-th such request from now on (1 is the next),
        or several of them; default the next. times: how many in a row, None for all. with_: an effect (Reset, Status,
        Truncate, Slow, Skew, Rename, Delete, Quota or a function), or `status` with what belongs to it.
        Raises ValueError if it is neither or both.
        """
        if (with_ is None) == (status is None):
            raise ValueError("a fault needs with_=Reset() (or another effect), or status=503; one of them")
        effect = with_ or faults.Status(status or 500, message, code, retry_after)
        fault = faults.plant(route, on, times, effect)
        self.faults.append(fault)
        return fault

    def chaos(
        self,
        seed: int,
        rate: float,
        route: str | None = None,
        effects: Sequence[faults.Effect] = faults.EVERY,
    ) -> faults.Fault:
        """Let this share of the requests fail at random; the same seed strikes the same numbers in the same way."""
        method, pattern = faults.split(route)
        fault = faults.Chaos(effects[0], method, pattern, times=1, seed=seed, rate=rate, effects=effects)
        self.faults.append(fault)
        return fault

    def calm(self) -> None:
        """Lift all faults."""
        for fault in self.faults:
            fault.lift()
        self.faults.clear()

    # What the doors call.

    def handle(self, request: Request) -> Response:
        """Answer a request, with the fault that is planted for it. Raises Dropped, UnknownRequest."""
        number, fault, effect = self._arrive(request)

        def proceed() -> Response:
            return self.application.handle(request)

        status, received = 0, 0
        try:
            answer = effect(self.state, request, proceed) if effect else proceed()
            answer = answer.with_headers({"X-Request-Id": f"hub-{number}"})
            status, received = answer.status, len(answer.body) if answer.cut is None else answer.cut
            return answer
        except UnknownRequest as unknown:
            status = 501
            self.unknown.append(str(unknown))
            raise
        finally:
            self.save()  # before the answer is sent: what the client was told is kept
            who = self.state.user_of(request.headers.get("authorization", "").partition(" ")[2].strip())
            self.requests[number - 1] = Seen(
                number,
                request.method,
                request.path,
                status,
                who[0].name if who else None,
                repr(effect) if fault else "",
                len(request.body),
                received,
            )

    def _arrive(self, request: Request) -> tuple[int, faults.Fault | None, faults.Effect | None]:
        """Number a request, and find the first fault that strikes it."""
        with self._lock:
            number = len(self.requests) + 1
            self.requests.append(Seen(number, request.method, request.path, 0, None))
            struck: tuple[faults.Fault | None, faults.Effect | None] = (None, None)
            for fault in self.faults:
                effect = fault.strikes(number, request)
                if effect and struck[0] is None:
                    struck = (fault, effect)
                    fault.hits.append(number)
            return number, *struck
