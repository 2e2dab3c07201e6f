"""From a request to the function that answers it: patterns, who asks, which repository is meant."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import unquote, urlencode

from conformance.hub.messages import Refused, Request, Response, reply
from conformance.hub.state import KINDS, Commit, Repo, State, User

Handler = Callable[..., Response]
TABLE: list[tuple[frozenset[str], re.Pattern[str], Handler]] = []

#: What each hole of a pattern takes. A repository's name has one segment or two; the rest of the pattern decides.
HOLES = {
    "kind": "models|datasets|spaces",
    "role": "read|write",
    "repo": "[^/]+(?:/[^/]+)?",
    "path": ".+",
    "prefix": "(?:datasets/|spaces/)?",
}


def route(methods: str, pattern: str) -> Callable[[Handler], Handler]:
    """Register a function for requests such as `"GET HEAD"`, `"/api/{kind}/{repo}/tree/{rev}"`."""
    holes = re.sub(r"\{(\w+)\}", lambda hole: f"(?P<{hole[1]}>{HOLES.get(hole[1], '[^/]+')})", pattern)
    expression = re.compile(holes.replace(".git/", r"\.git/"))

    def register(function: Handler) -> Handler:
        TABLE.append((frozenset(methods.split()), expression, function))
        return function

    return register


def find(request: Request) -> tuple[Handler, dict[str, str]] | None:
    """Return the function for a request and what its pattern's holes hold, decoded; None if there is none."""
    for methods, expression, function in TABLE:
        found = expression.fullmatch(request.path)
        if found and request.method in methods:
            return function, {name: unquote(value) for name, value in found.groupdict().items()}
    return None


class Renamed(Exception):
    """The repository has another name now: the client is redirected to this path."""


@dataclass
class Call:
    """One request on its way: what the functions that answer are given."""

    state: State
    request: Request
    holes: dict[str, str]

    @cached_property
    def _credentials(self) -> tuple[User, str] | None:
        """Whose token was sent, and its role. Raises Refused (401) for one that nobody has."""
        word = self.request.headers.get("authorization", "")
        if not word:
            return None
        known = self.state.user_of(word.partition(" ")[2].strip())
        if known is None:
            raise Refused(401, "Invalid credentials in Authorization header")
        return known

    @property
    def user(self) -> User | None:
        """Who asks; None without a token."""
        return self._credentials[0] if self._credentials else None

    def signed_in(self, write: bool = False) -> User:
        """Return who asks. Raises Refused: 401 without a token, 403 if a role that writes is needed."""
        if self._credentials is None:
            raise Refused(401, "Invalid username or password.", headers=CHALLENGE)
        user, role = self._credentials
        if write and role != "write":
            raise Refused(403, "Forbidden: you need a token with the role 'write' to do this")
        return user

    @property
    def kind(self) -> str:
        """The kind of repository that the path speaks of."""
        return KINDS[self.holes.get("kind") or self.holes.get("prefix", "").rstrip("/") or "models"]

    @cached_property
    def repo(self) -> Repo:
        """The repository that the path names, if who asks may see it."""
        return self.visible(self.kind, self.holes["repo"])

    def visible(self, kind: str, id: str) -> Repo:
        """Return a repository. Raises Refused where it is missing or hidden: without a token 401, with one 404.

        The real Hub tells the two cases apart from neither side (huggingface_hub, utils/_http.py, hf_raise_for_status);
        the code comes with the 401 as well, because the client recognises a 401 of an endpoint without TLS only by it.
        """
        user = self.user
        repo = self.state.repos.get((kind, id))
        if repo is None and (kind, id) in self.state.moved:
            raise Renamed(self.state.moved[kind, id])
        if repo is None or (repo.private and not (user and user.owns(repo.namespace))):
            if user is None:
                raise Refused(401, "Invalid username or password.", "RepoNotFound", CHALLENGE)
            raise Refused(404, "Repository not found", "RepoNotFound")
        if repo.disabled:
            raise Refused(403, "Access to this resource is disabled.")
        return repo

    def writable(self) -> Repo:
        """Return the repository if who asks may change it. Raises Refused (401, 403, 404)."""
        repo = self.repo
        user = self.signed_in()
        if not user.owns(repo.namespace):
            raise Refused(403, "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request")
        self.signed_in(write=True)
        return repo

    def readable(self) -> Repo:
        """Return the repository if who asks may read its files. Raises Refused (401, 403 GatedRepo, 404)."""
        repo, user = self.repo, self.user
        if repo.gated and not (user and (user.owns(repo.namespace) or user.name in repo.granted)):
            told = f"Access to {repo.kind} {repo.id} is restricted"
            if user is None:
                raise Refused(
                    401, f"{told}. You must have access to it and be authenticated to access it.", "GatedRepo"
                )
            raise Refused(403, f"{told} and you are not in the authorized list.", "GatedRepo")
        return repo

    def at(self) -> Commit:
        """Return the commit of the path's revision (default: main's). Raises Refused."""
        return self.repo.at(self.holes.get("rev") or "main")

    @property
    def storage(self) -> str:
        """Where large files are: another host than the Hub's, as in reality, so that clients send it no token.

        On the loopback interface that is this server under its other name.
        """
        host, base = self.request.host, self.request.base
        if host not in LOOPBACK:
            return "https://cdn-lfs.hf.co"
        return base.replace(host, LOOPBACK[host], 1)

    @property
    def cas(self) -> str:
        """Where the Xet protocol is spoken: on the loopback interface, because its client opens sockets that no other
        door sees; empty where no server listens there.

        No other Hub has this address. By it hf_xet remembers, in HF_HOME, what it need not send again: a Hub that
        starts anew at the same port would miss that, one that starts with its folder has it.
        """
        base = self.request.base if self.request.host in LOOPBACK else self.state.url
        return base and f"{base}/_xet/{self.sign('xet')[:16]}"

    def page(self, items: Sequence[Any], size: int, extra: dict[str, str] | None = None) -> Response:
        """Return one page of a list, with the link to the next one (RFC 8288, as GitHub writes it)."""
        query = {name: values[-1] for name, values in self.request.query.items()}
        start = int(query.get("cursor", 0))
        end = start + max(1, min(size, int(query.get("limit", size))))
        headers = dict(extra or {})
        if end < len(items):
            query["cursor"] = str(end)
            headers["Link"] = f'<{self.request.base}{self.request.path}?{urlencode(query)}>; rel="next"'
        return reply(list(items[start:end]), headers=headers)

    def sign(self, *words: object) -> str:
        """Return a signature of what a link allows; whoever has the link needs no token."""
        return hmac.new(self.state.key, "\n".join(map(str, words)).encode(), hashlib.sha256).hexdigest()[:32]

    def check(self, *words: object) -> None:
        """Raise Refused (403) if the link's signature is not that of these words."""
        if not hmac.compare_digest(self.request.query.get("sig", [""])[0], self.sign(*words)):
            raise Refused(403, "AccessDenied: the link's signature is not valid")


LOOPBACK = {"127.0.0.1": "localhost", "localhost": "127.0.0.1"}
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="Authentication required", charset="UTF-8"'}
