"""Where trackers are tried: one bench per tracker, with its store, its warm parent and its runs.

A bench makes every run once and keeps it for all clauses that look at it.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from conformance import fixtures, registry, values
from conformance.delivered import Delivered
from conformance.recipes import bugs
from conformance.sandbox import Outcome, Sandbox, SandboxError
from conformance.scenarios import ANEW, SCENARIOS
from conformance.tape import Tape
from conformance.tracker import Tracker
from conformance.trainers import Trainer, minor, release
from conformance.truth import Difference, Stored, differences
from conformance.verdict import Untestable


@dataclass(frozen=True)
class Run:
    """One training, live or replayed: what the witness saw, how it ended, what the tracker kept."""

    name: str
    tape: Tape
    stage: str
    error: str
    trace: str
    folder: Path
    kept: dict[str, Any]
    limit_hit: bool = False

    @property
    def ended(self) -> bool:
        """Whether the training reached its end."""
        return self.stage == "done"

    def again(self, bench: Bench) -> list[Stored]:
        """Read the run back once more, after others were recorded in the same store."""
        points = bench.read(self.name)["points"]
        return [Stored(step, key, values.plain(v)) for step, key, v in points.get("value", [])]

    def stored(self) -> list[Stored]:
        """Return the points read back; [] if there is no read-back."""
        return [Stored(step, key, values.plain(v)) for step, key, v in self.kept.get("points", {}).get("value", [])]


class Bench:
    """All runs of one tracker. `word` is the tracker as named on the command line."""

    def __init__(self, word: str, folder: Path, sandboxes: Sandboxes) -> None:
        self.word = registry.absolute(word)
        self.adapter: type[Tracker] = registry.load(word)
        self.name = self.adapter.name
        self._folder = folder / self.name
        self.store = self._folder / "store"
        self.store.mkdir(parents=True)
        self._sandboxes = sandboxes
        self._number = 0
        self._kept: dict[tuple[str, str], Run] = {}
        self._endured: dict[str, list[Run]] = {}
        #: What `pushes` played on this bench, by its name.
        self.scenes: dict[str, Any] = {}

    @functools.cached_property
    def sandbox(self) -> Sandbox:
        """The warm parent, started at first use. Raises Untestable if it cannot start."""
        return self._sandboxes.get(dict(self.adapter().env(self.store)), self._folder)

    @property
    def versions(self) -> dict[str, str]:
        """Versions of everything that results depend on, the tracker's under its name."""
        return {**self.sandbox.facts["versions"], self.name: self.adapter.version()}

    @property
    def models(self) -> Path:
        """Folder of the tiny models."""
        return self._sandboxes.models

    def _name(self, subject: str) -> str:
        self._number += 1
        return f"{subject}-{self._number:03d}"

    def live(self, trainer: Trainer) -> Run:
        """Return the live run of a trainer with this tracker."""
        return self._once("live", trainer.id, lambda name: self._train(trainer, name, self.word))

    def bare(self, trainer: Trainer) -> Run:
        """Return the control run: the same training, the same witness, no tracker. Raises Untestable if it fails."""
        cache = self._sandboxes.bare
        key = (id(self.sandbox), trainer.id)
        if key not in cache:
            cache[key] = self._train(trainer, self._name(f"bare-{trainer.id}"), None)
        run = cache[key]
        if not run.ended:
            raise Untestable(
                f"{trainer.id} does not train without any tracker ({run.stage}): {_at_place(run.error, run.trace)}"
            )
        return run

    def replay(self, subject: str, tape: Tape) -> Run:
        """Return the replay of a golden tape with this tracker."""
        return self._once("replay", subject, lambda name: self.play(name, tape))

    def _once(self, kind: str, subject: str, make: Any) -> Run:
        if (kind, subject) not in self._kept:
            self._kept[kind, subject] = make(self._name(subject))
        return self._kept[kind, subject]

    def endure(self, trainer: Trainer, scenario: str) -> list[Run]:
        """Return the run of a scenario with this tracker; two of them where it trains twice."""
        if scenario not in self._endured:
            self._endured[scenario] = self._play_scenario(trainer, scenario, self.word)
        return self._endured[scenario]

    def endure_bare(self, trainer: Trainer, scenario: str) -> list[Run]:
        """Return the control of a scenario: the same acts without a tracker."""
        cache = self._sandboxes.endured
        key = (id(self.sandbox), scenario)
        if key not in cache:
            cache[key] = self._play_scenario(trainer, scenario, None)
        return cache[key]

    def _play_scenario(self, trainer: Trainer, scenario: str, word: str | None) -> list[Run]:
        acts = SCENARIOS[scenario]
        if scenario != "twice":
            return [self._train(trainer, self._name(scenario), word, acts)]
        names = [self._name(scenario) for _ in range(2)]
        first, second = (self._arguments(trainer, name, word, acts) for name in names)
        outcome = self.sandbox.run("conformance.jobs:twice", first=first, second=second)
        parts = outcome.value if outcome.state == "ok" else (None, None)
        return [
            self._finish(name, made["folder"], replace(outcome, value=part), read=word is not None)
            for name, made, part in zip(names, (first, second), parts, strict=True)
        ]

    def _arguments(self, trainer: Trainer, name: str, word: str | None, acts: tuple[str, ...]) -> dict[str, Any]:
        return {
            "tracker": word,
            "trainer": trainer,
            "store": self.store,
            "run": name,
            "models": self.models,
            "folder": self._new_folder(name),
            "settings": {},
            "acts": acts,
        }

    def _train(self, trainer: Trainer, name: str, word: str | None, acts: tuple[str, ...] = SCENARIOS["train"]) -> Run:
        arguments = self._arguments(trainer, name, word, ())
        for part in _processes(acts):
            outcome = self.sandbox.run("conformance.jobs:live", **{**arguments, "acts": part})
            if outcome.state != "ok" or outcome.value["stage"] != "done":
                break
        return self._finish(name, arguments["folder"], outcome, read=word is not None)

    def control(self, tape: Tape) -> None:
        """Replay a tape without any tracker; raises Untestable if even that fails: the fault is the kit's."""
        run = self.play(self._name("control"), tape, word=None)
        if not run.ended:
            raise Untestable(f"the replay fails without any tracker, so the kit is to blame: {run.error}\n{run.trace}")

    def play(self, name: str, tape: Tape, word: str | None = "") -> Run:
        """Replay any tape as a new run called `name` and read it back; `word` None is for the control."""
        played = self._played(name, tape, self.word if word == "" else word)
        outcome = self.sandbox.run("conformance.jobs:replay", **played)
        return self._finish(name, played["folder"], outcome, read=word is not None)

    def _played(self, name: str, tape: Tape, word: str | None) -> dict[str, Any]:
        return {
            "tracker": word,
            "recorded": tape.to_json(),
            "store": self.store,
            "run": name,
            "models": self.models,
            "folder": self._new_folder(name),
        }

    def push(self, tape: Tape, hub: dict[str, Any], runs: int = 1) -> list[Run]:
        """Replay a tape as so many new runs, at once in a process each, that push to a Hub (see `jobs.push`)."""
        plays = [self._played(self._name("push"), tape, self.word) for _ in range(runs)]
        outcome = self.sandbox.run("conformance.jobs:push", hub=hub, plays=plays)
        parts = outcome.value if outcome.state == "ok" else [None] * runs
        return [
            self._finish(play["run"], play["folder"], replace(outcome, value=part), read=True)
            for play, part in zip(plays, parts, strict=True)
        ]

    def fresh(self, subject: str, tape: Tape) -> Run:
        """Replay a tape under a name of its own (one per generated example)."""
        return self.play(self._name(subject), tape)

    def _new_folder(self, name: str) -> Path:
        folder = self._folder / "runs" / name
        folder.mkdir(parents=True)
        return folder

    def _finish(self, name: str, folder: Path, outcome: Outcome, read: bool) -> Run:
        tape = Tape.load(folder / "tape.jsonl")
        if outcome.state == "ok":
            stage, error, trace = outcome.value["stage"], outcome.value["error"], outcome.value["trace"]
        else:
            # No answer: the tape says how far it came.
            stage = "attach" if not tape.events else "build"
            if any(e["event"].startswith("on_") for e in tape.events):
                stage = "train"
            how = {"hung": "the process hung", "died": "the process died", "raised": "the kit failed"}[outcome.state]
            error, trace = f"{how}: {outcome.error}", outcome.trace or outcome.output[-4000:]
        cwd = outcome.folder / "cwd" if outcome.folder else folder
        name = next((e["run"] for e in tape.of("named")), name)
        kept = self.read(name) if read else {}
        return Run(name, tape, stage, error, trace, cwd, kept, outcome.state == "hung")

    def read(self, run: str) -> dict[str, Any]:
        """Read a run back in a fresh process; each part is `{"value": …}` or `{"error": …}`."""
        outcome = self.sandbox.run("conformance.jobs:read", tracker=self.word, store=self.store, run=run)
        if outcome.state == "ok":
            parts: dict[str, Any] = outcome.value
            return parts
        error = f"the reading process {outcome.state}: {outcome.error}"
        return {"points": {"error": error, "trace": outcome.trace or outcome.output[-4000:]}}

    def differences(self, run: Run) -> list[Difference]:
        """Return what the tracker did not keep of what passed its door in `run`."""
        stored, rename, delivered = run.stored(), self.adapter().key, Delivered.of(run.tape)
        if run.tape.end.get("door") == "accelerate":
            # `key` is about names as transformers' callbacks make them; accelerate leaves the trainer's own.
            kept = {point.key for point in stored}
            return differences(run.tape.logged(), stored, lambda k: k if k in kept else rename(k), delivered)
        return differences(run.tape.logged(), stored, rename, delivered)


def _processes(acts: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield what is done in each process: the acts between one `ANEW` and the next."""
    while ANEW in acts:
        at = acts.index(ANEW)
        yield acts[:at]
        acts = acts[at + 1 :]
    yield acts


class Sandboxes:
    """The warm parents of a session, one per environment, and the control runs made in them.

    `preload` is what a parent imports: the stable trainers, or all (`conformance.jobs:preload_all`).
    """

    def __init__(self, folder: Path, preload: str = "conformance.jobs:preload") -> None:
        self._folder = folder
        self._preload = preload
        self.models = folder / "models"
        self._open: dict[str, Sandbox | str] = {}
        self.bare: dict[tuple[int, str], Run] = {}
        self.endured: dict[tuple[int, str], list[Run]] = {}

    def get(self, env: dict[str, str], folder: Path) -> Sandbox:
        """Return the warm parent for `env`, started at first use. Raises Untestable if it cannot start."""
        key = json.dumps(env, sort_keys=True)
        if key not in self._open:
            try:
                self._open[key] = Sandbox(env, self._preload, folder / "sandbox")
            except SandboxError as error:
                self._open[key] = str(error)
        found = self._open[key]
        if isinstance(found, str):
            raise Untestable(f"the training process cannot start: {found}")
        return found

    def close(self) -> None:
        """Stop every warm parent."""
        for sandbox in self._open.values():
            if isinstance(sandbox, Sandbox):
                sandbox.close()


@functools.cache
def tapes() -> dict[str, Tape]:
    """Return trainer id -> golden tape of the installed TRL minor, or of the nearest older one that has tapes.

    Raises FileNotFoundError if there is none.
    """
    folder = fixtures() / "tapes"
    installed = _number(minor(release("trl") or "0.0"))
    files = sorted(folder.glob("trl-*.json"), key=lambda p: _number(p.stem[4:]))
    older = [p for p in files if _number(p.stem[4:]) <= installed] or files[:1]
    if not older:
        raise FileNotFoundError(f"no tapes in {folder.name}/: the kit is not installed completely")
    data = json.loads(older[-1].read_text(encoding="utf-8"))
    return {name: Tape.from_json(tape) for name, tape in data.items()}


def _number(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def litter(run: Run) -> Iterator[str]:
    """Yield the paths of files that were left in the training's working directory."""
    for path in sorted(run.folder.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(run.folder))


def recorded(trainer: Trainer, sandboxes: Sandboxes, folder: Path, tracker: str | None = None) -> Tape:
    """Train and return the whole tape; without a tracker, as for a control run. Raises RuntimeError if it fails."""
    place = folder / "recorded" / trainer.id
    place.mkdir(parents=True)
    outcome = sandboxes.get({}, folder).run(
        "conformance.jobs:live",
        tracker=tracker,
        trainer=trainer,
        store=place,
        run=trainer.id,
        models=sandboxes.models,
        folder=place,
        settings={},
    )
    if outcome.state != "ok" or outcome.value["stage"] != "done":
        told = {"error": outcome.error, "trace": outcome.trace, **(outcome.value or {})}
        raise RuntimeError(f"{trainer.id} does not train: {_at_place(told['error'], told['trace'])}")
    return Tape.load(place / "tape.jsonl")


def place_in_trl(trace: str) -> str:
    """Return the last place in TRL or transformers through which a traceback went, `trl/…/x.py:1`, "" if none."""
    places = re.findall(r'File ".*?/((?:trl|transformers)/[^"]+)", line (\d+)', trace)
    return "{}:{}".format(*places[-1]) if places else ""


def _at_place(error: str, trace: str) -> str:
    return bugs.explain(error, place_in_trl(trace))


def record(trainer: Trainer, sandboxes: Sandboxes, folder: Path) -> Tape:
    """Train without a tracker and return the tape, as kept in `fixtures/tapes`. Raises RuntimeError if it fails."""
    told = recorded(trainer, sandboxes, folder).to_json()
    kept = [e for e in told["events"] if e["event"] in KEPT]
    return Tape({"trainer": trainer.name, "versions": told["header"]["versions"]}, kept)


#: Events that a golden tape keeps: the trainer's, without those of every substep and without the configuration.
KEPT = {"on_init_end", "on_train_begin", "on_step_end", "on_log", "on_evaluate", "on_save", "on_train_end"}
