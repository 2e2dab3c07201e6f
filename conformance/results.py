"""From outcomes of checks to one results file per tracker, the header line, and what must be red besides gaps.

`results/<trl minor>-<tracker>.json` (of a shard: `….1of2.json`) follows `conformance/report/results.schema.json`.
"""

from __future__ import annotations

import json
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from conformance import registry
from conformance.clauses import all_clauses, frozen
from conformance.matrix import schema
from conformance.report import summary
from conformance.trainers import minor, release
from conformance.verdict import Verdict, difference_json

SESSION: pytest.StashKey[Session] = pytest.StashKey()


def count(kinds: Iterable[int | str], trackers: int) -> dict[str, int]:
    """Return how many checks of each kind one tracker has, from the kinds of all checks of `trackers` trackers.

    A kind is a level, or what is trained on demand only (`Trainer.beside`).
    """
    return {kind: n // trackers for kind, n in sorted(Counter(map(str, kinds)).items())}


def entry(item: Any, clause: str, error: BaseException | None, seconds: float) -> dict[str, Any]:
    """Return one check's line in the results: plain data, so that it travels between xdist's processes.

    `seconds` is what the check took, with the runs that it was the first to need.
    """
    verdict = error if isinstance(error, Verdict) else None
    outcome = verdict.outcome if verdict else ("holds" if error is None else "untestable")
    reason = verdict.reason if verdict else ""
    if error is not None and verdict is None:
        reason = "".join(traceback.format_exception_only(type(error), error)).strip()
    bench = item.funcargs.get("bench")
    parameters = item.callspec.params
    default = "payload" if "payload" in item.fixturenames else "attach"
    kinds = ("trained", "replayed", "endured", "pushed")
    subject = next((parameters[kind] for kind in kinds if kind in parameters), default)
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
        "scored": getattr(subject, "stable", True),
        "refused": bool(law.capability) and law.capability in adapter.lacks,
        "seconds": round(seconds, 3),
        "gap": gap.to_json() if gap else None,
        "lines": gap.lines() if gap else [],
        "unreachable": [difference_json(d) for d in verdict.differences] if verdict else [],
        "versions": bench.versions if bench is not None and "sandbox" in vars(bench) else {},
        "drift": _drift(item.funcargs.get("trained")),
    }


def _drift(evidence: Any) -> list[str] | None:
    """Return in what the run without tracker is not as recorded for this release; None if there is no such run."""
    if evidence is None or evidence.bare is None:
        return None
    return schema.drift(minor(release("trl")), evidence.subject, evidence.bare.tape)


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
    #: What `count` returns.
    collected: dict[str, int] = field(default_factory=dict)
    headers: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    def finish(self, folder: Path, replay: bool, shard: str = "") -> None:
        """Write one file per tracker (`shard` in its name); fill `headers`, `problems`, and `others`: not scored."""
        trl = minor(release("trl"))
        if not replay:
            self.problems += _thawed(trl, self.collected)
        for tracker in dict.fromkeys(e["tracker"] for e in self.entries):
            mine = [e for e in self.entries if e["tracker"] == tracker]
            report = self._report(tracker, mine, replay)
            self.headers.append(summary.header(report))
            if replay:
                continue
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{trl}-{tracker}{shard}.json"
            path.write_text(json.dumps(report, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")
            self.headers.append(f"  {path}")
            if self.strict:
                scored = [e for e in mine if e["scored"]]
                self.problems += [
                    f"--strict: {e['id']} is unreachable" for e in scored if e["outcome"] == "unreachable"
                ]
                self.problems += [f"--strict: lacks[{word!r}] is stale" for word in report["stale"]]
        self.others = list(self._unscored_lines())

    def _report(self, tracker: str, mine: list[dict[str, Any]], replay: bool) -> dict[str, Any]:
        versions: dict[str, str] = next((e["versions"] for e in mine if e["versions"]), {})
        drifted = [e["drift"] for e in mine if e["drift"] is not None]
        drift = list(dict.fromkeys(line for lines in drifted for line in lines)) if drifted else None
        scored = {kind: n for kind, n in self.collected.items() if kind != "experimental"}
        unscored = self.collected.get("experimental", 0)
        return summary.report(tracker, versions, mine, scored, unscored, drift, whole=not replay)

    def _unscored_lines(self) -> Iterator[str]:
        """Yield what is printed of experimental trainers: each gap, and each reason why checks were untestable once."""
        reasons: dict[tuple[str, str, str], int] = {}
        for e in self.entries:
            if e["outcome"] == "gap" and not e["scored"]:
                yield from lines(e)
            elif e["outcome"] == "untestable" and not e["scored"]:
                key = (e["tracker"], e["subject"], e["reason"].partition("\n")[0])
                reasons[key] = reasons.get(key, 0) + 1
        for (_, subject, reason), checks in reasons.items():
            yield f"UNTESTABLE  {subject} ({checks} checks)  {reason}"


def _thawed(trl: str, collected: dict[str, int]) -> list[str]:
    """Return a line if there are other checks than this version of the kit has for this TRL release."""
    # Variants and experimental trainers are there on demand only.
    wanted = {kind: n for kind, n in frozen().get(trl, {}).items() if kind.isdigit() or kind in collected}
    if trl not in frozen() or not collected or wanted == collected:
        return []
    return [
        f"this kit has {_told(wanted)} checks for trl {trl}, but {_told(collected)} were collected: "
        "a check that vanished is red. After a change of the law, renew conformance/clauses/frozen.toml"
    ]


def _told(counts: dict[str, int]) -> str:
    return " + ".join(str(n) if kind.isdigit() else f"{n} of {kind}" for kind, n in counts.items())
