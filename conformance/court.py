"""What the courts (`test_0_attach.py`, …) judge with: fixtures that bring the evidence, and the judgement itself.

A court's test is one clause; its fixture is the kind of evidence: `attached` (the tracker at its door), `replayed` (a
golden tape), `payload` (generated payloads), `trained` (a live run). Which trackers and subjects there are is
parametrised by the plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from conformance import gapfiles, tape, values
from conformance.bench import Bench, Run, Sandboxes, place_in_trl, tapes
from conformance.clauses import Clause, all_clauses
from conformance.delivered import Delivered
from conformance.scenarios import ON_PURPOSE, TRAINER
from conformance.tape import Tape
from conformance.trainers import Trainer, discover, release
from conformance.truth import ABSENT, Difference
from conformance.verdict import GapFound, Known, NotApplicable, Unreachable, Untestable, make_gap

__all__ = [
    "attached",
    "bench",
    "clause",
    "endured",
    "evidence",
    "payload",
    "recorded",
    "replayed",
    "sandboxes",
    "scenario",
    "trained",
]


def scenario(name: str) -> pytest.MarkDecorator:
    """Say which of `scenarios.SCENARIOS` the evidence of a trial of level 3 is."""
    return pytest.mark.scenario(name)


def clause(id: str) -> pytest.MarkDecorator:
    """Mark a court's test as the trial of one clause."""
    return pytest.mark.clause(id)


#: The short tape by which a tracker is seen to be attached at all.
ORDINARY_RUN = tape.from_payloads([{"loss": 0.5, "grad_norm": 1.25}, {"loss": 0.25, "grad_norm": 1.0}])


class Evidence:
    """One run of one tracker before one clause."""

    def __init__(self, bench: Bench, clause: Clause, subject: str, results: str) -> None:
        self.bench = bench
        self.clause = clause
        self.subject = subject
        self._results = results
        self.run: Run | None = None
        self.bare: Run | None = None
        self.trainer: Trainer | None = None

    def judge(
        self, found: Iterable[Difference], detail: str = "", replay: Tape | None = None, blame: str = "tracker"
    ) -> None:
        """Raise GapFound, Known or Unreachable if the evidence breaks the clause; return if it holds."""
        mine = [d for d in found if d.kind in self.clause.kinds]
        unreachable = [d for d in mine if d.blame == "trl" and d.note]
        scored = [d for d in mine if d not in unreachable]
        if scored or detail:
            gap = make_gap(
                self.clause,
                self.subject,
                self.bench.name,
                self.bench.versions,
                scored,
                detail,
                replay.to_json() if replay else None,
                blame,
            )
            gap = gapfiles.write(gap, self.bench.word, self._results)
            refusal = self.bench.adapter.lacks.get(self.clause.capability)
            if refusal is not None and self.clause.capability:
                raise Known(refusal, gap, tuple(unreachable))
            raise GapFound(gap.headline, gap, tuple(unreachable))
        if unreachable:
            raise Unreachable(unreachable[0].note, differences=tuple(unreachable))

    def fails(self, what: str, found: Iterable[Difference] = ()) -> None:
        """Judge a fault that is not a difference of points; `what` is its evidence in words."""
        self.judge(found, detail=what)

    @property
    def done(self) -> Run:
        """The run, read back; raises Untestable if it did not end or could not be read."""
        self.must_have_ended()
        assert self.run is not None
        points = self.run.kept.get("points", {})
        if "error" in points:
            raise Untestable(f"the run cannot be read back (see ATT-05): {points['error']}")
        return self.run

    def holds(self, where: Callable[[Difference], bool] = lambda d: True) -> None:
        """Judge the points that passed the callback door against the read-back."""
        run = self.done
        self.judge([d for d in self.bench.differences(run) if where(d)], replay=run.tape)

    def part(self, name: str) -> Any:
        """Return a claimed part of the read-back; raises NotApplicable if not claimed, GapFound if reading it fails."""
        found = self.done.kept.get(name)
        if found is None:
            raise NotApplicable(f"{self.bench.name} does not claim {name}")
        if "error" in found:
            self.fails(f"reading it back raised {found['error']}")
        return found["value"]

    def require_end(self, run: Run) -> None:
        """Raise Untestable if the training of `run` did not reach its end."""
        if not run.ended:
            raise Untestable(f"the training ended at stage {run.stage!r} (see ATT-01, TRN-01): {run.error}")

    def must_have_ended(self) -> None:
        """Raise Untestable if this training did not reach its end: what it left cannot be judged."""
        assert self.run is not None
        self.require_end(self.run)

    def must_be_attached(self) -> None:
        """Raise Untestable if the tracker was not attached: ATT-01 and ATT-02 judge that, no other clause."""
        assert self.run is not None
        if self.run.stage in ("attach", "build"):
            self.require_end(self.run)

    def ask(self, function: str, **arguments: Any) -> Any:
        """Return what a job in a fresh process says; raises Untestable if it fails."""
        outcome = self.bench.sandbox.run(function, tracker=self.bench.word, **arguments)
        if outcome.state != "ok":
            raise Untestable(f"{function} {outcome.state}: {outcome.error}")
        return outcome.value

    def did_not_raise(self) -> None:
        """Judge whether the tracker let the training reach its end; raises Untestable if it was never attached."""
        assert self.run is not None
        self.must_be_attached()
        if not self.run.ended:
            delivered = Delivered.of(self.run.tape)
            late = delivered is not None and delivered.ends_late
            who = f"{delivered.late}\n" if delivered and late else ""
            detail = f"{self.run.error}\n{who}{_called_from(self.run.trace)}{_last_lines(self.run.trace)}"
            self.judge([], detail=detail, blame="trl" if late else "tracker")


def _called_from(trace: str) -> str:
    place = place_in_trl(trace)
    return f"called from {place}\n" if place else ""


def _last_lines(trace: str, count: int = 7) -> str:
    return "\n".join(line for line in trace.strip().splitlines()[-count:])


def planned(scenario: str, run: Run) -> bool:
    """Whether a run of a scenario ended as it is meant to: at its end, by the exception, or by the signal."""
    return {"fails": ON_PURPOSE in run.error, "killed": "SIGKILL" in run.error}.get(scenario, run.ended)


#: The kinds of differences that are a point which is not there.
LOST = {"missing", "equal-step", "last"}


class Endured(Evidence):
    """The runs of one scenario (one, or two where it trains twice), beside the same without a tracker.

    What befalls one training that ends well, too, is judged at level 2 and not again here.
    """

    trainer: Trainer  # type: ignore[assignment]
    runs: list[Run]

    def play(self) -> None:
        """Play the scenario; raises Untestable if one training fails with the tracker, or cannot be read back."""
        self.run = self.bench.live(self.trainer)
        self.must_be_attached()
        self.must_have_ended()
        points = self.run.kept["points"]
        if "error" in points:
            raise Untestable(f"no run can be read back (see ATT-05): {points['error']}")
        self.anyway = {d.kind for d in self.bench.differences(self.run) if d.blame == "tracker"}
        if self.anyway & LOST:  # which of them a loss is depends on what else is lost
            self.anyway |= LOST
        self.runs = self.bench.endure(self.trainer, self.subject)

    def ends_as_planned(self) -> None:
        """Judge whether the scenario ended as it is meant to; raises Untestable if it does not without a tracker."""
        for i, run in enumerate(self.runs):
            if not planned(self.subject, run):
                bare = self.bench.endure_bare(self.trainer, self.subject)[i]
                if not planned(self.subject, bare):
                    raise Untestable(f"{self.subject} fails without any tracker ({bare.stage}): {bare.error}")
                self.run = run
                self.did_not_raise()
                self.fails(f"{run.name} did not end as planned, though it does without the tracker")

    def holds_throughout(self, where: Callable[[Difference], bool] = lambda d: True) -> None:
        """Judge that too, and the points that passed the door in every run against the read-back."""
        self.ends_as_planned()
        for run in self.runs:
            if (delivered := Delivered.of(run.tape)) and delivered.never_began:
                lost = Difference("missing", None, run.name, "a run", ABSENT, blame="trl", note=delivered.unbegun)
                raise Unreachable(delivered.unbegun, differences=(lost,))
        for run in self.runs:
            if not run.tape.logged():
                raise Untestable(f"{run.name}: the trainer logged nothing, so that nothing can be lost")
            if "error" in run.kept["points"] and self.anyway & LOST:
                raise Untestable(f"points are lost anyway (see TRN-02): {run.kept['points']['error']}")
            if "error" in run.kept["points"]:
                self.fails(f"{run.name} cannot be read back: {run.kept['points']['error']}")
            self.judge([d for d in self.bench.differences(run) if d.kind not in self.anyway and where(d)])

    def part(self, name: str) -> Any:
        """Return a claimed part of the read-back, whether or not the training reached its end."""
        found = self.runs[-1].kept.get(name)
        if found is None:
            raise NotApplicable(f"{self.bench.name} does not claim {name}")
        if "error" in found:
            self.fails(f"reading it back raised {found['error']}")
        return found["value"]


#: The key of the ordinary number in every payload, and the kinds of differences that do not depend on the value.
ORDINARY = "loss"
OF_ANY_VALUE = {"missing", "equal-step", "last", "step", "order", "extra"}


class Payloads(Evidence):
    """Generated payloads: each example is a run of its own."""

    examples = 0
    _whole = True

    def hold(self, kind: str, whole: bool = True) -> None:
        """Replay the fixed payloads of a class, then generated ones, and judge each by the clause alone.

        `whole`: whether a payload that stops the training, or costs the values beside it, breaks the clause; another
        clause judges that otherwise.
        """
        self._whole = whole
        from hypothesis import HealthCheck, Phase, given, settings

        from conformance import payloads

        self._try(payloads.FIXED[kind])
        if self.clause.capability in self.bench.adapter.lacks or not self.examples:
            return

        @settings(
            max_examples=self.examples,
            deadline=None,
            derandomize=True,
            database=None,
            report_multiple_bugs=False,
            print_blob=False,
            phases=[Phase.generate],  # a shrink replays hundreds of times, and examples are small as they are
            suppress_health_check=list(HealthCheck),
        )
        @given(payloads.payloads(kind))
        def search(example: list[dict[str, Any]]) -> None:
            self._try(example)

        search()

    def _try(self, example: list[dict[str, Any]]) -> None:
        wanted = tape.from_payloads(example)
        self.run = run = self.bench.fresh(self.subject, wanted)
        self.must_be_attached()
        if not run.ended and self._whole:
            logs = [e["logs"] for e in run.tape.of("on_log")][-1:]
            raised = f"{run.error}\n{_last_lines(run.trace)}"
            self.judge([], f"after logging {values.show(values.plain(logs[0] if logs else {}), 300)}\n{raised}", wanted)
        found = self.bench.differences(self.done)
        beside = {ORDINARY, self.bench.adapter().key(ORDINARY)}
        lost = [d for d in found if d.key in beside and d.kind in OF_ANY_VALUE]
        # What befalls the ordinary number alone as well is no fault of this class of payload. What befalls it only here
        # is: a log may be lost whole because one of its values cannot be stored.
        anyway = self._differences_of_ordinary(example) if lost else set()
        found = [d for d in found if d.kind not in anyway]
        note = "an ordinary number, lost with the others of its log"
        mine = [d for d in lost if d in found and d.blame == "tracker"] if self._whole else []
        dragged = [replace(d, kind=self.clause.kinds[0], note=note) for d in mine]
        self.judge([*found, *dragged], replay=wanted)

    def _differences_of_ordinary(self, example: list[dict[str, Any]]) -> set[str]:
        """Return the kinds of differences that there are without the special values."""
        numbers = [p[ORDINARY] if isinstance(p[ORDINARY], float) else 0.5 for p in example]
        alone = self.bench.fresh(self.subject, tape.from_payloads([{ORDINARY: number} for number in numbers]))
        self.require_end(alone)
        return {d.kind for d in self.bench.differences(alone)} & OF_ANY_VALUE


# ---- fixtures --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def sandboxes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandboxes]:
    """The warm parents of this session."""
    preload = "preload_all" if request.config.getoption("experimental") else "preload"
    found = Sandboxes(tmp_path_factory.mktemp("conformance"), f"conformance.jobs:{preload}")
    yield found
    found.close()


@pytest.fixture(scope="session")
def bench(request: pytest.FixtureRequest, sandboxes: Sandboxes, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The bench of one tracker; the parameter is its name on the command line."""
    return Bench(request.param, tmp_path_factory.mktemp("bench"), sandboxes)


def evidence(kind: type[Evidence], request: pytest.FixtureRequest, bench: Bench, subject: str) -> Any:
    """Return the evidence of a kind before the clause of a test. Raises NotApplicable if that asks nothing of it."""
    marker = request.node.get_closest_marker("clause")
    law = all_clauses()[marker.args[0]]
    missing = set(law.needs) - bench.adapter.capabilities()
    if missing:
        raise NotApplicable(f"{bench.name} does not claim {', '.join(sorted(missing))}")
    return kind(bench, law, subject, str(request.config.getoption("results")))


@pytest.fixture
def attached(request: pytest.FixtureRequest, bench: Bench) -> Evidence:
    """The tracker at its door: a replay of one short tape."""
    found: Evidence = evidence(Evidence, request, bench, "attach")
    found.run = bench.replay("attach", ORDINARY_RUN)
    if not found.run.ended:
        bench.control(ORDINARY_RUN)
    return found


@pytest.fixture
def replayed(request: pytest.FixtureRequest, bench: Bench) -> Evidence:
    """The replay of one trainer's golden tape; the parameter is the tape's name."""
    found: Evidence = evidence(Evidence, request, bench, f"{request.param} tape")
    found.run = bench.replay(request.param, tapes()[request.param])
    return found


@pytest.fixture
def recorded(request: pytest.FixtureRequest, bench: Bench) -> Evidence:
    """The replay of the tape that `--replay` names."""
    found: Evidence = evidence(Evidence, request, bench, "replay")
    found.run = bench.replay("replay", request.config.stash[gapfiles.REPLAY])
    return found


@pytest.fixture
def payload(request: pytest.FixtureRequest, bench: Bench) -> Payloads:
    """Generated payloads of the class that the clause is about."""
    found: Payloads = evidence(Payloads, request, bench, "payload")
    found.examples = request.config.getoption("examples")
    return found


@pytest.fixture
def trained(request: pytest.FixtureRequest, bench: Bench) -> Evidence:
    """The live run of one trainer beside its control run; the parameter is a `Trainer`."""
    trainer: Trainer = request.param
    found: Evidence = evidence(Evidence, request, bench, trainer.id)
    found.trainer = trainer
    found.bare = bench.bare(trainer)
    found.run = bench.live(trainer)
    for event in found.run.tape.of("unreachable"):
        raise Unreachable(f"TRL hands this to the {event['door']} door only; {bench.name} is not attached there")
    return found


@pytest.fixture
def endured(request: pytest.FixtureRequest, bench: Bench) -> Endured:
    """The runs of a scenario beside its control; the parameter is the scenario's name."""
    found: Endured = evidence(Endured, request, bench, request.param)
    by_id = {trainer.id: trainer for trainer in discover()}
    if TRAINER not in by_id:
        raise Untestable(f"TRL {release('trl')} exports no {TRAINER} trainer, with which the scenarios are played")
    found.trainer = by_id[TRAINER]
    found.play()
    return found
