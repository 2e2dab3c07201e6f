"""What a list of checks comes to: counts, whole level, stale refusals, the header line. A pure function of entries.

Checks of stable trainers are scored. Those of experimental ones are counted apart, and nothing depends on them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from conformance.clauses import LEVELS, all_clauses
from conformance.verdict import OUTCOMES, RED

#: Of an entry, what stands for the whole report there, or is for printing only.
PASSING = ("lines", "versions", "tracker", "drift")


def report(
    tracker: str,
    versions: Mapping[str, str],
    entries: list[dict[str, Any]],
    collected: Mapping[str, int],
    unscored: int = 0,
    drift: list[str] | None = None,
    whole: bool = True,
) -> dict[str, Any]:
    """Return the report of one tracker, as in `results.schema.json`.

    `collected` is level, or `variants`, -> number of scored checks that there are, `unscored` how many others, `drift`
    see the schema.
    Without `whole` the report has no level (a replay).
    """
    scored = [e for e in entries if e["scored"]]
    others = [e for e in entries if not e["scored"]]
    there = sum(collected.values()) or len(scored)
    return {
        "schema": 1,
        "tracker": tracker,
        "versions": dict(versions),
        "checks": {"there": there, "ran": len(scored), "by_level": dict(collected)},
        "outcomes": _counts(scored),
        "unscored": {"there": unscored or len(others), "ran": len(others), "outcomes": _counts(others)},
        "unreachable_points": sum(len(e["unreachable"]) for e in scored),
        "stale": _stale(scored),
        "drift": drift,
        "level": _level(scored, there) if whole else None,
        "results": [{k: v for k, v in e.items() if k not in PASSING} for e in entries],
    }


def _counts(entries: Iterable[dict[str, Any]]) -> dict[str, int]:
    counts = Counter(e["outcome"] for e in entries)
    return {name: counts.get(name, 0) for name in OUTCOMES}


def _stale(mine: list[dict[str, Any]]) -> list[str]:
    """Return the capabilities that the tracker refuses although every check of their clauses held."""
    words = {law.id: law.capability for law in all_clauses().values() if law.capability}
    tried: dict[str, set[str]] = {}
    refused = {words[e["clause"]] for e in mine if e["outcome"] == "known"}
    for e in mine:
        if e["clause"] in words and e["refused"]:
            tried.setdefault(words[e["clause"]], set()).add(e["outcome"])
    return sorted(word for word, outcomes in tried.items() if outcomes == {"holds"} and word not in refused)


def _level(mine: list[dict[str, Any]], there: int) -> int | None:
    """Return the highest level that is whole (−1: not even level 0), None if not every check ran."""
    if len(mine) != there:
        return None
    red = {e["level"] for e in mine if e["outcome"] in RED}
    whole = -1
    for level in sorted({e["level"] for e in mine}):
        if level in red:
            break
        whole = level
    return whole


def header(report: Mapping[str, Any]) -> str:
    """Return the line that a report comes to."""
    versions, counts, others = report["versions"], report["outcomes"], report["unscored"]
    tracker = report["tracker"]
    checks = report["checks"]
    parts = [
        f"{tracker} {versions.get(tracker, '')}".strip(),
        *(f"{name} {versions[name]}" for name in ("trl", "transformers") if name in versions),
        f"{checks['ran']} of {checks['there']} checks ran",
        f"{counts['gap']} gaps",
        *([f"{counts['untestable']} untestable"] if counts["untestable"] else []),
        f"{counts['known']} known",
        f"{len(report['stale'])} stale",
        f"{counts['unreachable']} unreachable",
        f"{counts['not-applicable']} not applicable",
    ]
    if report["level"] is not None:
        parts.append(f"level {report['level']} {LEVELS[report['level']]}" if report["level"] >= 0 else "no level")
    if others["there"]:
        found = others["outcomes"]
        parts.append(
            f"not scored: {others['ran']} of {others['there']} checks of experimental trainers, "
            f"{found['gap']} gaps, {found['untestable']} untestable"
        )
    if report["drift"]:
        parts.append(f"{len(report['drift'])} differences from the recorded schemas")
    return " · ".join(parts)
