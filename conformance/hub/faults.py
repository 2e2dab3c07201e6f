"""What can go wrong: effects, and when they strike."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from fnmatch import fnmatchcase
from urllib.parse import unquote

from conformance.hub.messages import Dropped, Request, Response, refusal
from conformance.hub.routing import find
from conformance.hub.state import KINDS, State

#: Carries out the request and returns the answer that it would have had.
Proceed = Callable[[], Response]
#: What a fault does. An effect may call `proceed` or not, change the state before, or raise Dropped.
Effect = Callable[[State, Request, Proceed], Response]

#: What the Hub says with an error, and the code that the client decides on.
WORDS = {
    400: ("Bad Request", ""),
    401: ("Invalid credentials in Authorization header", ""),
    403: ("Forbidden: you don't have the rights to do this", ""),
    404: ("Repository not found", "RepoNotFound"),
    409: ("Another conflicting operation is in progress", ""),
    412: ("A commit has happened since. Please refresh and try again.", ""),
    429: ("We had to rate limit you. To continue using our service, please log in or wait.", ""),
    500: ("Internal Error - We're working hard to fix this as soon as possible!", ""),
    503: ("Service Unavailable", ""),
    504: ("Gateway Timeout", ""),
}


@dataclass(frozen=True)
class Status:
    """An error instead of the answer. `retry_after` is in seconds; a 429 has the rate limit's headers as well."""

    status: int
    message: str = ""
    code: str | None = None
    retry_after: int | None = None

    def __call__(self, state: State, request: Request, proceed: Proceed) -> Response:
        message, code = WORDS.get(self.status, (f"Error {self.status}", ""))
        wait = 1 if self.retry_after is None and self.status == 429 else self.retry_after
        headers = {} if wait is None else {"Retry-After": str(wait)}
        if self.status == 429:
            # huggingface_hub, utils/_http.py, parse_ratelimit_headers
            headers |= {"RateLimit": f'"api";r=0;t={wait}', "RateLimit-Policy": '"fixed window";"api";q=1000;w=300'}
        told = refusal(self.status, self.message or message, code if self.code is None else self.code, headers)
        return replace(told, body=b"") if request.method == "HEAD" else told


@dataclass(frozen=True)
class Reset:
    """The connection is reset: before the request was carried out, or after (the client cannot tell)."""

    after: bool = False

    def __call__(self, state: State, request: Request, proceed: Proceed) -> Response:
        if self.after:
            proceed()
        raise Dropped(f"{request.method} {request.path}: the connection was reset")


@dataclass(frozen=True)
class Truncate:
    """The connection breaks after this share of the body; where there is no body, instead of the answer."""

    keep: float = 0.5

    def __call__(self, state: State, request: Request, proceed: Proceed) -> Response:
        answer = proceed()
        if request.method == "HEAD" or not answer.body:
            raise Dropped(f"{request.method} {request.path}: the connection was reset")
        return replace(answer, cut=min(int(len(answer.body) * self.keep), len(answer.body) - 1))


@dataclass(frozen=True)
class Slow:
    """The body comes in chunks of so many bytes, with so many seconds between two.

    In memory nobody sleeps: a client that would not have waited so long gets its read timeout, any other the body.
    """

    chunk: int = 1024
    delay: float = 0.0

    def __call__(self, state: State, request: Request, proceed: Proceed) -> Response:
        return replace(proceed(), chunk=max(1, self.chunk), delay=self.delay)


@dataclass(frozen=True)
class Skew:
    """The Hub's clock is wrong by so many seconds (positive: ahead), in the `Date` of the answer."""

    seconds: float

    def __call__(self, state: State, request: Request, proceed: Proceed) -> Response:
        answer = proceed()
        wrong = formatdate(state.now + self.seconds, usegmt=True)
        return replace(answer, headers={**answer.headers, "Date": wrong})


def _repository(request: Request) -> tuple[str, str]:
    """Return kind and name of the repository that a request is about. Raises ValueError."""
    found = find(request)
    holes = found[1] if found else {}
    if "repo" not in holes:
        raise ValueError(f"{request.method} {request.path} names no repository: give the fault a route that does")
    bucket = "buckets" if "buckets" in request.path.split("/")[1:3] else "models"
    kind = holes.get("kind") or holes.get("prefix", "").rstrip("/") or bucket
    return holes.get("type") or KINDS[kind], holes["repo"]


@dataclass(frozen=True)
class Rename:
    """The repository is renamed just before the request arrives."""

    to: str

    def __call__(self, state: State, request: Request, proceed: Proceed) -> Response:
        kind, id = _repository(request)
        with state.lock:
            if (kind, id) in state.repos:
                state.move(kind, id, self.to)
        return proceed()


@dataclass(frozen=True)
class Delete:
    """The repository is deleted just before the request arrives."""

    def __call__(self, state: State, request: Request, proceed: Proceed) -> Response:
        kind, id = _repository(request)
        with state.lock:
            if (kind, id) in state.repos:
                state.delete(kind, id)
        return proceed()


@dataclass(frozen=True)
class Quota:
    """From this request on the repository's owner may store no more than so many bytes of large files."""

    bytes: int = 0

    def __call__(self, state: State, request: Request, proceed: Proceed) -> Response:
        owner = _repository(request)[1].partition("/")[0]
        if owner in state.users:
            state.users[owner].quota = self.bytes
        return proceed()


#: What chaos chooses from.
EVERY: tuple[Effect, ...] = (
    Reset(),
    Reset(after=True),
    Status(429, retry_after=1),
    Status(500),
    Status(503),
    Truncate(),
)


@dataclass
class Fault:
    """An effect, and the requests that it strikes; `hits` are the numbers of those that it struck."""

    effect: Effect
    method: str = "*"
    pattern: str = "*"
    on: frozenset[int] = frozenset()
    first: int = 1
    times: float = 1
    seen: int = 0
    hits: list[int] = field(default_factory=list)

    def strikes(self, number: int, request: Request) -> Effect | None:
        """Return the effect if this request is to have it; count it in any case."""
        if self.method not in ("*", request.method) or not fnmatchcase(unquote(request.path), self.pattern):
            return None
        self.seen += 1
        meant = self.seen in self.on if self.on else self.first <= self.seen < self.first + self.times
        return self.effect if meant else None

    def lift(self) -> None:
        """Let it strike no more."""
        self.on, self.times = frozenset(), 0


@dataclass
class Chaos(Fault):
    """Strikes requests at random; what happens to the n-th is decided by the seed and n alone."""

    seed: int = 0
    rate: float = 0.1
    effects: Sequence[Effect] = EVERY

    def strikes(self, number: int, request: Request) -> Effect | None:
        if self.method not in ("*", request.method) or not fnmatchcase(unquote(request.path), self.pattern):
            return None
        dice = random.Random(f"{self.seed}:{number}")
        return dice.choice(self.effects) if self.times and dice.random() < self.rate else None


def split(route: str | None) -> tuple[str, str]:
    """Split `"POST /api/datasets/*"` into method and pattern; both are optional."""
    method, _, pattern = (route or "*").partition(" ") if (route or "").count(" ") else ("*", "", route or "*")
    return method.upper(), pattern


def plant(
    route: str | None,
    on: int | Iterable[int] | None,
    times: int | None,
    effect: Effect,
) -> Fault:
    """Make a fault; see `Hub.fail`."""
    method, pattern = split(route)
    forever: float = math.inf if times is None else times
    if on is None or isinstance(on, int):
        return Fault(effect, method, pattern, first=on or 1, times=forever)
    return Fault(effect, method, pattern, on=frozenset(on))
