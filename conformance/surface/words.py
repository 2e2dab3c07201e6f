"""The outcome of a check in words, and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from conformance.surface.gaps import SEVERITIES, Asked, Checked, Gap
from conformance.surface.scan import LIBRARIES
from conformance.surface.store import ranges

#: Conditions told of each place, at most.
CONDITIONS = 3


def lines(checked: Checked, among: dict[str, tuple[str, ...]], everything: bool = False) -> Iterator[str]:
    """Yield the report; `among` are the versions of each library there are. `everything`: with what is not known."""
    count = {library: sum(name.startswith(f"{library} ") for name in checked.releases) for library in LIBRARIES}
    stands = "" if checked.target == checked.name else f" as {checked.name}"
    yield (
        f"{checked.target}{f' {checked.version}' if checked.version else ''}{stands} · "
        f"{', '.join(f'{n} {library}' for library, n in count.items() if n)} releases ask something of it · "
        f"{len(checked.gaps)} gaps · {checked.holds} requirements hold · "
        f"{len(checked.unknown)} not to be told from here"
    )
    if checked.live:
        yield f"{checked.live}"
    for word, title in SEVERITIES.items():
        found = [gap for gap in checked.gaps if gap.severity == word]
        if found:
            yield ""
            yield title
        for gap in found:
            yield f"  {gap.why}"
            yield from _places(gap.asked, among)
    fixes = checked.fixes()
    if len(fixes) > 1:
        yield ""
        yield "what mends most"
        for gap, concerned, clean in fixes:
            yield f"  {gap.at:<44} {concerned:>4} releases; {clean} of {len(checked.releases)} are then without a gap"
    for title, parts in (("not to be told from here", checked.unknown), ("takes, but may drop", checked.remarks)):
        if parts and everything:
            yield ""
            yield title
            for why, asked in sorted(parts.items()):
                yield f"  {why}"
                yield from _places(asked, among)


def _places(asked: Iterable[Asked], among: dict[str, tuple[str, ...]]) -> Iterator[str]:
    by_library: dict[str, list[Asked]] = {}
    for surface, use in asked:
        by_library.setdefault(surface.library, []).append((surface, use))
    for library, uses in by_library.items():
        surface, use = uses[-1]
        span = ranges({one.version for one, _ in uses}, among[library])
        when = f"   when {'; '.join(use.guards[-CONDITIONS:])}" if use.guards else ""
        inside = f" {use.inside}" if use.inside else ""
        yield f"      {library} {span}    {use.where}{inside} ({surface.version}){when}"


def to_json(checked: Checked) -> dict[str, Any]:
    """Return the outcome as plain data."""
    return {
        "target": checked.target,
        "stands_for": checked.name,
        "version": checked.version,
        "releases": checked.releases,
        "gaps": [_gap(gap) for gap in checked.gaps],
        "fixes": [{"at": gap.at, "releases": n, "clean": clean} for gap, n, clean in checked.fixes()],
        "holds": checked.holds,
        "unknown": {why: _asked(asked) for why, asked in checked.unknown.items()},
        "remarks": {why: _asked(asked) for why, asked in checked.remarks.items()},
        "live": checked.live,
        "seconds": checked.seconds,
    }


def _gap(gap: Gap) -> dict[str, Any]:
    return {"severity": gap.severity, "at": gap.at, "why": gap.why, "asked": _asked(gap.asked)}


def _asked(asked: Iterable[Asked]) -> list[dict[str, Any]]:
    return [
        {"release": str(surface), "use": use.what, "where": use.where, "guards": [*use.guards]}
        for surface, use in asked
    ]
