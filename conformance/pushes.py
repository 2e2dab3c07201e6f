"""Trainings that push to the Hub, for trackers that claim it: what the Hub does meanwhile, and what arrived.

A scene is one Hub in this process, served over loopback, and the replay of a golden tape in the sandbox that pushes to
it. What a tracker loses without any Hub is judged at level 1, and not again here.
"""

from __future__ import annotations

import base64
import functools
import gzip
import io
import json
import math
import secrets
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import cycle
from typing import Any

import pytest

from conformance.bench import Bench, Run, tapes
from conformance.court import LOST, Evidence, evidence
from conformance.hub import Hub, Request, Reset, Response, Status
from conformance.hub.faults import Effect, Proceed
from conformance.hub.server import served
from conformance.hub.state import State
from conformance.scenarios import TRAINER
from conformance.truth import Difference
from conformance.verdict import Untestable

USER, REPO = "user", "user/runs"
COMMITS = "POST /api/*/commit/*"
#: Environment variables whose names say that nobody else may know their values.
SECRETS = ("ACME_API_KEY", "DATABASE_PASSWORD", "SERVICE_SECRET")
#: Seconds that the Hub asks to wait, more than clients wait by themselves before they try again at once; and for which
#: a commit is held until that of the other training is there: the first, and the later ones.
RETRY_AFTER, FIRST, LATER = 2, 10.0, 1.0


class Together:
    """Holds each commit until the other training commits as well: both were planned on the same state."""

    def __init__(self) -> None:
        self._both = threading.Barrier(2)
        self._limit = FIRST

    def __call__(self, state: State, request: Request, proceed: Proceed) -> Response:
        with suppress(threading.BrokenBarrierError):  # the other one has no more to commit
            self._both.wait(self._limit)
        self._limit = LATER
        return proceed()


class Limit:
    """Refuses the first request of each route, and all that come before the time it named; notes those."""

    def __init__(self) -> None:
        self.early: list[str] = []
        self._until: dict[str, float] = {}
        self._lock = threading.Lock()

    def __call__(self, state: State, request: Request, proceed: Proceed) -> Response:
        route = f"{request.method} {request.path}"
        with self._lock:
            left = self._until.get(route, 0.0) - time.monotonic()
            if route in self._until and left <= 0:
                return proceed()
            if route in self._until:
                self.early.append(f"{route} came again {left:.2f} s before the time that Retry-After named")
            else:
                self._until[route], left = time.monotonic() + RETRY_AFTER, RETRY_AFTER
        return Status(429, retry_after=math.ceil(left))(state, request, proceed)

    def wait(self) -> None:
        """Let the time pass that was named: a user who pushes again comes later."""
        time.sleep(max(0.0, max(self._until.values(), default=0.0) - time.monotonic()))


def _down() -> Effect:
    turns: Iterator[Effect] = cycle((Reset(), Status(503)))
    return lambda state, request, proceed: next(turns)(state, request, proceed)


@dataclass
class Scene:
    """What there was of one scene: its Hub, the trainings, and how pushing again went (None where nobody did)."""

    hub: Hub
    runs: list[Run]
    canaries: dict[str, str]
    limit: Limit = field(default_factory=Limit)
    again: dict[str, Any] | None = None

    @property
    def files(self) -> dict[str, bytes]:
        """All files on the Hub, by the path that HfFileSystem gives them."""
        found: dict[str, bytes] = {}
        for kind, repo in self.hub.state.repos:
            top = "" if kind == "model" else f"{kind}s/"
            found |= {f"{top}{repo}/{path}": data for path, data in self.hub.files(repo, kind).items()}
        return found

    @property
    def commits(self) -> int:
        """How many requests there were that are commits."""
        return sum(seen.method == "POST" and "/commit/" in seen.path for seen in self.hub.requests)


#: Name -> the effect that befalls requests, those that it befalls, and how many trainings there are.
SCENES: dict[str, tuple[Callable[[Scene], Effect | None], str, int]] = {
    "hub-up": (lambda scene: None, "*", 1),
    "hub-down": (lambda scene: _down(), "*", 1),
    "no-answer": (lambda scene: Reset(after=True), COMMITS, 1),
    "two-at-once": (lambda scene: Together(), COMMITS, 2),
    "rate-limit": (lambda scene: scene.limit, COMMITS, 1),
}


def play(bench: Bench, name: str) -> Scene:
    """Play a scene and return what there was. Raises Untestable if the sandbox cannot start."""
    make, route, runs = SCENES[name]
    canaries = {"HF_TOKEN": f"hf_{secrets.token_hex(17)}", **{each: secrets.token_hex(16) for each in SECRETS}}
    scene = Scene(Hub(USER, canaries["HF_TOKEN"]), [], canaries)
    hub = scene.hub
    home = bench.store.parent / f"home-{name}"
    home.mkdir()
    with served(hub) as url:
        told = {"url": url, "user": USER, "token": hub.token, "repo": REPO, "home": home, "env": canaries}
        if effect := make(scene):
            hub.fail(route, times=None, with_=effect)
        scene.runs = bench.push(tapes()[TRAINER], told, runs)
        hub.calm()
        if effect:
            scene.limit.wait()
            names = [run.name for run in scene.runs]
            outcome = bench.sandbox.run(
                "conformance.jobs:push_again", hub=told, tracker=bench.word, store=bench.store, runs=names
            )
            scene.again = outcome.value or {"error": f"the process {outcome.state}: {outcome.error}", "trace": ""}
    return scene


class Pushed(Evidence):
    """One scene before one clause."""

    scene: Scene

    def play(self) -> None:
        """Play the scene, or take what it was. Raises Untestable for a request that the Hub in memory does not know."""
        if self.subject not in self.bench.scenes:
            self.bench.scenes[self.subject] = play(self.bench, self.subject)
        self.scene = self.bench.scenes[self.subject]
        if self.scene.hub.unknown:
            raise Untestable("\n".join(dict.fromkeys(self.scene.hub.unknown)))
        self.run = self.scene.runs[0]
        self.must_be_attached()

    def goes_on(self) -> None:
        """Judge whether the training reached its end, as it does without a tracker."""
        assert self.run is not None
        if not self.run.ended:
            self.bench.control(tapes()[TRAINER])
        self.did_not_raise()

    def arrived(self, also: str = "") -> None:
        """Judge what is on the Hub against what was trained; `also` is what else is wrong, in words."""
        found: list[Difference] = []
        for run in self.scene.runs:
            self.run = run
            if not run.ended:
                raise Untestable(f"{run.name} ended at stage {run.stage!r} (see ATT-01, HUB-02): {run.error}")
            if self.scene.again and self.scene.again["error"]:
                self.fails(f"pushing again raised {self.scene.again['error']}\n{self.scene.again['trace'][-1000:]}")
            anyway = {_what(d) for d in self.bench.differences(self.done)}
            points = self.ask("conformance.jobs:pushed", files=self.scene.files, run=run.name)
            if "error" in points:
                self.fails(f"reading what was pushed raised {points['error']}")
            there = replace(run, kept={"points": points})
            found += [d for d in self.bench.differences(there) if _what(d) not in anyway]
        self.judge(found, also)

    def waited(self) -> None:
        """Judge whether nothing came before the time that the Hub had named, and all of it then."""
        if not self.scene.commits:
            raise Untestable(f"not one commit came that could be refused (see HUB-01): {self._log()}")
        self.arrived("\n".join(self.scene.limit.early[:5]))

    def keeps_secrets(self) -> None:
        """Judge whether a secret is in what was pushed, stored or printed."""
        self._must_have_pushed()
        found = [f"the value of ${name} is {where}" for name, where in self._leaks()]
        if found:
            self.fails("\n".join(dict.fromkeys(found)))

    def is_private(self) -> None:
        """Judge whether everybody can see a repository that the tracker made."""
        self._must_have_pushed()
        public = [f"{kind} {name}" for (kind, name), repo in self.scene.hub.state.repos.items() if not repo.private]
        if public:
            self.fails(f"{', '.join(public)}: made public, and nobody had asked for that")

    def _must_have_pushed(self) -> None:
        if not self.scene.files:
            raise Untestable(f"nothing was pushed (see HUB-01): {self._log()}")

    def _log(self) -> str:
        return ", ".join(f"{s.method} {s.path} {s.status}" for s in self.scene.hub.requests[:20]) or "no request came"

    def _leaks(self) -> Iterator[tuple[str, str]]:
        """Yield the name of a secret and where it is."""
        places = [(f"pushed, in {path}", data) for path, data in self.scene.files.items()]
        for kind, name in self.scene.hub.state.repos:
            commits = self.scene.hub.commits(name, kind)
            places.append((f"pushed, in the commits of {name}", repr([(c.title, c.message) for c in commits]).encode()))
        kept = [path for path in sorted(self.bench.store.rglob("*")) if path.is_file()]
        places += [(f"in the store, in {path.relative_to(self.bench.store)}", path.read_bytes()) for path in kept]
        printed = [run.folder.parent / "output.txt" for run in self.scene.runs]
        places += [("printed", path.read_bytes()) for path in printed]
        for where, data in places:
            for part in unpacked(data):
                yield from ((n, where) for n, value in self.scene.canaries.items() if value.encode() in part)


def unpacked(data: bytes) -> Iterator[bytes]:
    """Yield a file's bytes, and what is in them: of a gzip, a zip, a table in Parquet, of lines in base64 or base85."""
    yield data
    if data.isascii():
        yield from _decoded(data)
    with suppress(OSError, EOFError, zlib.error):
        yield gzip.decompress(data)
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            yield from map(archive.read, archive.namelist())
    if data[:4] == b"PAR1":
        import pyarrow.parquet  # datasets needs it, and TRL needs datasets

        table = pyarrow.parquet.read_table(io.BytesIO(data))
        yield json.dumps(table.to_pylist(), default=repr).encode()
        yield repr(table.schema.metadata).encode()


#: Letters of the shortest text that is looked into: less holds no secret.
SHORTEST = 24


def _decoded(text: bytes) -> Iterator[bytes]:
    """Yield what the lines of a text are that are bytes in letters, and what is packed in them by zlib or gzip."""
    for line in (word for word in text.split() if len(word) >= SHORTEST):
        for decode in (base64.b85decode, functools.partial(base64.b64decode, validate=True)):
            with suppress(ValueError):
                raw = decode(line)
                yield raw
                with suppress(zlib.error):
                    yield zlib.decompress(raw, wbits=zlib.MAX_WBITS | 32)  # zlib's own header or gzip's


def _what(d: Difference) -> tuple[str, int | None, str]:
    """Return what tells a difference from others; which kind of loss one is depends on what else is lost."""
    return "missing" if d.kind in LOST else d.kind, d.step, d.key


@pytest.fixture
def pushed(request: pytest.FixtureRequest, bench: Bench) -> Pushed:
    """The trainings of a scene at the Hub; the parameter is the scene's name."""
    found: Pushed = evidence(Pushed, request, bench, request.param)
    found.play()
    return found
