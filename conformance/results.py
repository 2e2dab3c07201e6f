"""From outcomes of checks to one results file per tracker, the header line, and what must be red besides gaps.

`results/<trl minor>-<tracker>.json` follows `conformance/report/results.schema.json`.
"""

from __future__ import annotations

import json
import traceback
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from conformance import registry
from conformance.clauses import LEVELS, all_clauses, frozen
from conformance.trainers import minor, release
from conformance.verdict import OUTCOMES, RED, Verdict, difference_json

SESSION: pytest.StashKey[Session] = pytest.StashKey()


def count(levels: Iterable[int], trackers: int) -> dict[str, int]:
    """Return how many checks of each level one tracker has, from the levels of all checks of `trackers` trackers."""
    return {str(level): n // trackers for level, n in sorted(Counter(levels).items())}


def entry(item: Any, clause: str, error: BaseException | None, seconds: float) -> dict[str, Any]:
    """Return one check's line in the results: plain data, so that it travels between xdist's processes."""
    verdict = error if isinstance(error, Verdict) else None
    outcome = verdict.outcome if verdict else ("holds" if error is None else "untestable")
    reason = verdict.reason if verdict else ""
    if error is not None and verdict is None:
        reason = "".join(traceback.format_exception_only(type(error), error)).strip()
    bench = item.funcargs.get("bench")
    parameters = item.callspec.params
    default = "payload" if "payload" in item.fixturenames else "attach"
    subject = next((parameters[kind] for kind in ("trained", "replayed", "endured") if kind in parameters), default)
    gap = verdict.gap if verdict else None
    law, adapter = all_clauses()[clause], registry.load(parameters["bench"])
    return {
        "id": item.nodeid.rpartition("::")[2],
        "tracker": adapter.name,
        "clause": clause,
        "level": law.level,
        "subject": getattr(subject, "id", subject),
        "outcome": outcome,
        "reason": reason,
        "refused": bool(law.capability) and law.capability in adapter.lacks,
        "seconds": round(seconds, 3),
        "gap": gap.to_json() if gap else None,
        "lines": gap.lines() if gap else [],
        "unreachable": [difference_json(d) for d in verdict.differences] if verdict else [],
        "versions": bench.versions if bench is not None and "sandbox" in vars(bench) else {},
    }


def lines(entry: dict[str, Any]) -> list[str]:
    """Return what is printed of a red check, and nothing else."""
    if entry["lines"]:
        return list(entry["lines"])
    return [
        f"{entry['clause']}  UNTESTABLE  {entry['subject']}",
        *(f"  {line}" for line in entry["reason"].splitlines()),
    ]


@dataclass
class Session:
    """Everything that one pytest session learns."""

    strict: bool
    entries: list[dict[str, Any]] = field(default_factory=list)
    collected: dict[str, int] = field(default_factory=dict)
    headers: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def finish(self, folder: Path, replay: bool) -> None:
        """Write one file per tracker; fill `headers` and `problems`."""
        trl = minor(release("trl"))
        if not replay:
            self.problems += _thawed(trl, self.collected)
        for tracker in dict.fromkeys(e["tracker"] for e in self.entries):
            mine = [e for e in self.entries if e["tracker"] == tracker]
            report = self._report(tracker, mine, replay)
            self.headers.append(_header(report))
            if replay:
                continue
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{trl}-{tracker}.json"
            path.write_text(json.dumps(report, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")
            self.headers.append(f"  {path}")
            if self.strict:
                self.problems += [f"--strict: {e['id']} is unreachable" for e in mine if e["outcome"] == "unreachable"]
                self.problems += [f"--strict: lacks[{word!r}] is stale" for word in report["stale"]]

    def _report(self, tracker: str, mine: list[dict[str, Any]], replay: bool) -> dict[str, Any]:
        there = sum(self.collected.values()) or len(mine)
        counts = Counter(e["outcome"] for e in mine)
        points = [d for e in mine for d in e["unreachable"]]
        return {
            "schema": 1,
            "tracker": tracker,
            "versions": next((e["versions"] for e in mine if e["versions"]), {}),
            "checks": {"there": there, "ran": len(mine), "by_level": self.collected},
            "outcomes": {name: counts.get(name, 0) for name in OUTCOMES},
            "unreachable_points": len(points),
            "stale": _stale(mine),
            "level": None if replay else _level(mine, there),
            "results": [{k: v for k, v in e.items() if k not in ("lines", "versions", "tracker")} for e in mine],
        }


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


def _header(report: dict[str, Any]) -> str:
    versions, counts = report["versions"], report["outcomes"]
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
    return " · ".join(parts)


def _thawed(trl: str, collected: dict[str, int]) -> list[str]:
    """Return a line if there are other checks than this version of the kit has for this TRL release."""
    wanted = frozen().get(trl)
    if wanted is None or not collected or wanted == collected:
        return []
    return [
        f"this kit has {_told(wanted)} checks for trl {trl}, but {_told(collected)} were collected: "
        "a check that vanished is red. After a change of the law, renew conformance/clauses/frozen.toml"
    ]


def _told(counts: dict[str, int]) -> str:
    return " + ".join(str(n) for n in counts.values())
