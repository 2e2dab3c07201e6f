"""The table of what trackers lose, as Markdown: a pure function of results files."""

from __future__ import annotations

from typing import Any

from conformance.clauses import LEVELS

_TEXT_LIMIT = 160


def table(reports: list[dict[str, Any]]) -> str:
    """Return one row per tracker: version, checks, verdict, and each thing that it loses with its clause."""
    lines = [
        "| tracker | checks ran | gaps | highest whole level | what is lost, changed or refused |",
        "|---|---|---|---|---|",
    ]
    for report in reports:
        versions, checks, outcomes = report["versions"], report["checks"], report["outcomes"]
        name = report["tracker"]
        level = report["level"]
        whole = (
            "not every check ran" if level is None else ("none" if level < 0 else f"{level} {LEVELS[level].title()}")
        )
        lines.append(
            f"| {name} {versions.get(name, '')} | {checks['ran']} of {checks['there']} | {outcomes['gap']} | {whole} "
            f"| {'<br>'.join(_losses(report)) or 'nothing'} |"
        )
    return "\n".join(lines) + "\n"


def _losses(report: dict[str, Any]) -> list[str]:
    """Return one line per clause that did not hold, gaps first; what could not be tried shares one."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for result in report["results"]:
        if result["outcome"] in ("gap", "known", "unreachable", "untestable"):
            clause = "" if result["outcome"] == "untestable" else result["clause"]
            found.setdefault((result["outcome"], clause), []).append(result)
    order = ["gap", "untestable", "known", "unreachable"]
    ordered = sorted(found, key=lambda key: (order.index(key[0]), key[1]))
    return [_loss(outcome, clause, found[outcome, clause]) for outcome, clause in ordered]


def _loss(outcome: str, clause: str, results: list[dict[str, Any]]) -> str:
    subjects = ", ".join(dict.fromkeys(str(r["subject"]) for r in results))
    first = results[0]
    if outcome == "gap":
        gap = first["gap"]
        example = gap["differences"][0]["key"] if gap["differences"] else gap["detail"].splitlines()[0]
        return _cell(f"**{clause}** {gap['title']} ({example}; {subjects})")
    if outcome == "untestable":
        return _cell(f"{len(results)} checks untestable ({subjects}): {first['reason'].splitlines()[0]}")
    if outcome == "known":
        return _cell(f"{clause} refused: {first['reason']}")
    keys = ", ".join(dict.fromkeys(d["key"] for r in results for d in r["unreachable"]))
    return _cell(f"{clause} unreachable: {first['reason']} ({keys[:60]}; {subjects})")


def _cell(text: str) -> str:
    text = " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())
    return text if len(text) <= _TEXT_LIMIT else text[: _TEXT_LIMIT - 1] + "…"


def evidence(reports: list[dict[str, Any]]) -> str:
    """Return every gap of the reports with its differences, a section per tracker."""
    parts = []
    for report in reports:
        parts.append(f"## {report['tracker']} {report['versions'].get(report['tracker'], '')}\n")
        gaps = [r["gap"] for r in report["results"] if r["gap"] and r["outcome"] == "gap"]
        if not gaps:
            parts.append("No gap.\n")
        for gap in gaps:
            parts.append(f"### {gap['clause']} {gap['title']} ({gap['subject']})\n\n{gap['must']} `{gap['source']}`\n")
            rows = [
                f"    {d['kind']:<11} step {d['step']}  {d['key']}  trained {d['trained']}  stored {d['stored']}"
                for d in gap["differences"][:6]
            ]
            rows += [f"    {line}" for line in gap["detail"].splitlines()]
            parts.append("\n".join(row[:300] for row in rows) + "\n")
    return "\n".join(parts)
