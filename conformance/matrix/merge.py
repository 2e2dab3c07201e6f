"""`trl-conformance merge`: one report per tracker and TRL release from those of shards, sessions and machines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from conformance.matrix.eras import number
from conformance.report import summary
from conformance.trainers import minor


class Mismatch(ValueError):
    """Reports that do not belong together; the message is one line and names the files."""


def merge(reports: Iterable[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return a report per tracker and TRL release, releases in their order, from (file, report) pairs.

    Raises Mismatch if a check stands twice, or the parts of one release ran with different versions or other checks.
    """
    parts: dict[tuple[str, str], list[tuple[str, dict[str, Any]]]] = {}
    for file, report in reports:
        if "trl" not in report["versions"]:
            raise Mismatch(f"{file}: no training process was started, so the report names no TRL release")
        parts.setdefault((report["tracker"], minor(report["versions"]["trl"])), []).append((file, report))
    joined = {key: _joined(mine) for key, mine in parts.items()}
    return [joined[key] for key in sorted(joined, key=lambda key: (key[0], number(key[1])))]


def _joined(parts: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    (first_file, first), *rest = parts
    seen: dict[str, str] = {}
    twice: dict[str, tuple[str, str]] = {}
    for file, report in parts:
        for entry in report["results"]:
            if entry["id"] in seen:
                twice[entry["id"]] = (seen[entry["id"]], file)
            seen[entry["id"]] = file
    if twice:
        id, files = next(iter(twice.items()))
        more = f" and {len(twice) - 1} more" if len(twice) > 1 else ""
        raise Mismatch(f"{id}{more} stands in {' and in '.join(dict.fromkeys(files))}{_again(files)}")
    for file, report in rest:
        for name in sorted(first["versions"].keys() | report["versions"].keys()):
            one, other = (side["versions"].get(name, "none") for side in (first, report))
            if one != other:
                raise Mismatch(f"{file} ran with {name} {other}, {first_file} with {one}: not parts of one run")
        if (report["checks"]["by_level"], report["unscored"]["there"]) != (
            first["checks"]["by_level"],
            first["unscored"]["there"],
        ):
            raise Mismatch(f"{file} and {first_file} are of runs with other checks (one with --experimental?)")
    drifts = [report["drift"] for _, report in parts if report["drift"] is not None]
    return summary.report(
        first["tracker"],
        first["versions"],
        [entry for _, report in parts for entry in report["results"]],
        first["checks"]["by_level"],
        first["unscored"]["there"],
        list(dict.fromkeys(line for lines in drifts for line in lines)) if drifts else None,
    )


def _again(files: tuple[str, str]) -> str:
    return "" if len(set(files)) > 1 else ", which was named twice"


def files(reports: list[dict[str, Any]], output: Path) -> dict[Path, str]:
    """Return path -> text of what is to be written: a list of all in one `.json`, or a file for each in a folder."""
    if output.suffix == ".json":
        return {output: _text(reports)}
    return {output / f"{minor(r['versions']['trl'])}-{r['tracker']}.json": _text(r) for r in reports}


def _text(told: Any) -> str:
    return json.dumps(told, indent=1, ensure_ascii=True) + "\n"
