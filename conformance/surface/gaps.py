"""What a module does not serve of all that all scanned releases ask of it: gaps, with the releases that each concerns.

The only place that decides how bad a gap is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from conformance.surface import guards, probe
from conformance.surface.model import Surface, Use
from conformance.surface.names import GENERAL

#: How bad: training dies; it goes on and something is not kept; it goes on and all is kept.
SEVERITIES = {"crash": "crashes training", "silent": "loses data silently", "cosmetic": "cosmetic"}
#: What costs no data where the fault is caught: a warning, a link, a label.
BESIDE = {"termwarn", "_label", "url", "get_url", "watch", "entity", "project", "id", "name", "__version__", "freeze"}

#: A use as one release has it.
Asked = tuple[Surface, Use]


@dataclass
class Gap:
    """One thing that is missing. `at` is the path that a fix is about, `asked` who needs it, oldest first."""

    severity: str
    at: str
    why: str
    asked: list[Asked] = field(default_factory=list)

    @property
    def releases(self) -> list[str]:
        """The releases that it concerns, `trl 1.16.0`."""
        return list(dict.fromkeys(str(surface) for surface, _ in self.asked))


@dataclass
class Checked:
    """The outcome for one module: `gaps`, worst first; what holds; what could not be told, with the reason."""

    target: str
    name: str
    version: str
    releases: list[str]
    gaps: list[Gap]
    holds: int
    unknown: dict[str, list[Asked]]
    remarks: dict[str, list[Asked]]
    live: str
    seconds: dict[str, float]

    def fixes(self) -> list[tuple[Gap, int, int]]:
        """Return each gap with (releases concerned, releases without a gap once this and those before are mended).

        The next one is always that after which most releases are without a gap.
        """
        concerned: dict[str, set[int]] = {}
        for i, gap in enumerate(self.gaps):
            for release in gap.releases:
                concerned.setdefault(release, set()).add(i)
        left = set(range(len(self.gaps)))
        told = []
        while left:
            clean = {i: sum(not (open_ - {i}) for open_ in concerned.values()) for i in left}
            weight = {i: sum(i in open_ for open_ in concerned.values()) for i in left}
            best = max(sorted(left), key=lambda i: (clean[i], weight[i]))
            for open_ in concerned.values():
                open_.discard(best)
            left.discard(best)
            done = sum(not open_ for open_ in concerned.values()) + len(self.releases) - len(concerned)
            told.append((self.gaps[best], len(self.gaps[best].releases), done))
        return told


class CannotCheck(ValueError):
    """The module cannot be looked at; the message is one line."""


def check(target: str, name: str, surfaces: Sequence[Surface], live: bool = True, before: str | None = None) -> Checked:
    """Check the importable `target` against what `surfaces` ask of the module `name`. Raises CannotCheck.

    `before` is `module:function`, called first: by it a shim takes another module's place.
    """
    asked: dict[tuple[Any, ...], list[Asked]] = {}
    for surface in surfaces:
        for use in surface.on(name):
            if "type checking" not in use.guards:
                asked.setdefault((use.path, use.kind, use.shape), []).append((surface, use))
    looked = _looked_up(name, surfaces) if target.partition(":")[0] == name else {}
    question = {
        "module": target,
        "uses": [uses[0][1].to_json() for uses in asked.values()],
        "lookups": sorted({word for word, _ in looked}),
        "live": live,
        "before": before,
    }
    answer = _ask(question)
    if "error" in answer:
        raise CannotCheck(answer["error"])
    gaps: dict[tuple[str, str, str], Gap] = {}
    unknown: dict[str, list[Asked]] = {}
    remarks: dict[str, list[Asked]] = {}
    holds = 0
    for told, uses in zip(answer["results"], asked.values(), strict=True):
        if told["outcome"] == "unknown":
            unknown.setdefault(told["why"], []).extend(uses)
        elif told["outcome"] == "missing":
            for surface, use in uses:
                if guards.shut_out(use.guards, name, answer["version"]):
                    continue
                key = (severity(use, told["at"]), told["at"], _reason(told["why"]))
                gaps.setdefault(key, Gap(*key)).asked.append((surface, use))
        else:
            holds += 1
            if told["outcome"] == "remark":
                remarks.setdefault(told["why"], []).extend(uses)
    for (word, way), uses in looked.items():
        if way not in answer["lookups"][word]:
            key = ("silent", f"{way}({word!r})", f"no distribution or module is found by {way}({word!r})")
            gaps.setdefault(key, Gap(*key)).asked.extend(uses)
    order = {word: i for i, word in enumerate(SEVERITIES)}
    ranked = sorted(gaps.values(), key=lambda gap: (order[gap.severity], -len(gap.releases), gap.at, gap.why))
    releases = list(dict.fromkeys(str(surface) for surface in surfaces if any(surface.on(name))))
    return Checked(
        target, name, answer["version"], releases, ranked, holds, unknown, remarks, answer["live"], answer["seconds"]
    )


def _ask(question: dict[str, Any]) -> dict[str, Any]:
    try:
        return probe.ask(question)
    except probe.ProbeError as error:
        raise CannotCheck(str(error)) from error


def _reason(why: str) -> str:
    """Return a fault without the shape of the call, so that calls that fail alike are one gap."""
    front, _, behind = why.partition(": ")
    return f"{front.partition('(')[0]}(): {behind}" if behind and front.endswith(")") else why


def severity(use: Use, at: str) -> str:
    """Return how bad it is if a module does not serve `use`, for want of what is at the path `at`."""
    last = use.names[-1] if use.names else ""
    if f"has {at.rpartition('.')[2]}" in use.guards:
        return "cosmetic"
    if any(guard.endswith(f".{at} is not None") for guard in use.guards):
        return "silent"  # the caller asks whether there is a run, and leaves it at that
    if use.kind == "probe":
        # `hasattr(wandb, "run")` decides whether the tracker is installed at all; others whether one call is made.
        return "crash" if use.inside.rpartition(".")[2].startswith("is_") else "cosmetic"
    if guards.swallowed(use.guards):
        return "cosmetic" if last in BESIDE else "silent"
    return "crash"


def _looked_up(name: str, surfaces: Iterable[Surface]) -> dict[tuple[str, str], list[Asked]]:
    """Return (word, `find_spec` or `metadata`) -> who looks the module up in that way."""
    found: dict[tuple[str, str], list[Asked]] = {}
    for surface in surfaces:
        for fact in surface.lookups:
            # Another distribution of the same module (mlflow-skinny) is looked up where the first one is not there.
            if fact.module != name or fact.name != name:
                continue
            for way in ("find_spec", "metadata"):
                if way in fact.how:
                    use = Use(name, way, "read", None, fact.where, fact.inside, fact.guards)
                    found.setdefault((fact.name, way), []).append((surface, use))
    return found


def check_class(target: str, surfaces: Sequence[Surface]) -> Checked:
    """Check a TrainerCallback or GeneralTracker class against the hooks of each release. Raises CannotCheck."""
    hooks = [
        [str(surface), [[h.owner, h.name, str(h.shape) if h.shape else h.parameters] for h in surface.hooks]]
        for surface in surfaces
        if surface.hooks
    ]
    calls = {
        str(surface): [[use.path, str(use.shape)] for use in surface.on(GENERAL) if use.kind == "call"]
        for surface in surfaces
        if surface.library == "accelerate"
    }
    question = {"target": target, "hooks": hooks, "calls": calls}
    answer = _ask({**question, "stand_ins": True})
    if "error" in answer:  # it may want more of the libraries than their names
        answer = _ask({**question, "stand_ins": False})
    if "error" in answer:
        raise CannotCheck(answer["error"])
    by_name = {str(surface): surface for surface in surfaces}
    gaps: dict[tuple[str, str, str], Gap] = {}
    for release, found in answer["results"].items():
        for level, at, why in found:
            key = (level, at, why)
            where = next((h.where for h in by_name[release].hooks if h.name == at), "")
            use = Use(answer["owner"], at, "call", None, where or f"{by_name[release].library}:0")
            gaps.setdefault(key, Gap(*key)).asked.append((by_name[release], use))
    order = {word: i for i, word in enumerate(SEVERITIES)}
    ranked = sorted(gaps.values(), key=lambda gap: (order[gap.severity], -len(gap.releases), gap.at))
    holds = sum(not found for found in answer["results"].values())
    return Checked(target, answer["owner"], "", list(answer["results"]), ranked, holds, {}, {}, "", {})
