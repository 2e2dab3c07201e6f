"""Which of the sites that a scan found the trainings reach, and whether they use a module where no scan saw it.

This is the kit's own measure of honesty: what no training reaches is not tested, so each such site has its reason in
`fixtures/surface/unreached.toml`; a reason that fits no site any more is an error.
"""

from __future__ import annotations

import fnmatch
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conformance import fixtures
from conformance.surface.model import Surface, Use
from conformance.surface.names import MODULES
from conformance.surface.store import minor

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class Reason:
    """Why no training reaches some sites: those that fit every pattern that is given (`*` as in file names)."""

    why: str
    where: str = "*"
    inside: str = "*"
    what: str = "*"
    guard: str = "*"

    def fits(self, use: Use) -> bool:
        """Whether this is the reason for a site."""
        named = ((use.where, self.where), (use.inside, self.inside), (str(use), self.what))
        return all(fnmatch.fnmatchcase(*pair) for pair in named) and (
            self.guard == "*" or any(fnmatch.fnmatchcase(guard, self.guard) for guard in use.guards)
        )


@dataclass
class Covered:
    """One release: its `sites`, those `reached`, the others by `reason`, those without one, and what no scan saw."""

    release: str
    sites: list[Use]
    reached: list[Use] = field(default_factory=list)
    reasoned: list[tuple[Use, Reason]] = field(default_factory=list)
    unexplained: list[Use] = field(default_factory=list)
    unseen: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Reached sites among those for which there is no reason not to be."""
        reachable = len(self.reached) + len(self.unexplained)
        return len(self.reached) / reachable if reachable else 1.0


def reasons(path: Path | None = None) -> list[Reason]:
    """Return the reasons there are."""
    told = tomllib.loads((path or fixtures() / "surface" / "unreached.toml").read_text(encoding="utf-8"))
    return [Reason(**one) for one in told.get("reason", [])]


def cover(surface: Surface, asked: Sequence[Sequence[str]], known: Sequence[Reason]) -> Covered:
    """Compare the sites of one release with what its trainings `asked`: (module, path, where)."""
    # What is caught, or derived from, is looked up only when something fails, or under a name that an import bound.
    sites = [
        use
        for use in surface.uses
        if use.module in MODULES and use.kind not in ("catch", "base") and "type checking" not in use.guards
    ]
    mine = {tuple(one) for one in asked if one[2].startswith(f"{surface.library}/")}
    found = Covered(str(surface), list({(use.module, use.path, use.where): use for use in sites}.values()))
    # One expression may be either of two things (a run that was there, or the one that `init` made): one site.
    there_was = {_site(use) for use in sites if (use.module, use.path, use.where) in mine}
    for use in found.sites:
        reason = next((one for one in known if one.fits(use)), None)
        if _site(use) in there_was:
            found.reached.append(use)
        elif reason:
            found.reasoned.append((use, reason))
        else:
            found.unexplained.append(use)
    there: dict[tuple[str, str], list[str]] = {}
    for use in surface.uses:
        there.setdefault((use.module, use.where), []).append(use.path)
    for module, path, where in sorted(mine):
        if not any(_leads(path, longer) for longer in there.get((module, where), [])):
            found.unseen.append((module, path, where))
    return found


def _site(use: Use) -> tuple[object, ...]:
    return use.module, use.where, use.kind, use.shape, use.names[-1:] or use.path


def _leads(path: str, longer: str) -> bool:
    """Whether `path` is `longer` or the front part of it: on the way to `run.url` one looks up `run`."""
    return longer == path or longer.startswith((f"{path}.", f"{path}()", f"{path}[]"))


def read(path: Path) -> dict[str, Any]:
    """Return what `reach.write` wrote, `surfaces` by library. Raises ValueError for anything else."""
    told = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(told, dict) or not {"surfaces", "ended", "asked"} <= told.keys():
        raise ValueError(f"{path} was not written by `trl-conformance surface reach`")
    told["surfaces"] = {one["library"]: Surface.of(one) for one in told["surfaces"]}
    return told


def stale(covered: Sequence[Covered], known: Sequence[Reason]) -> list[Reason]:
    """Return the reasons that fit no site."""
    return [one for one in known if not any(reason is one for release in covered for _, reason in release.reasoned)]


def page(covered: Sequence[Covered], ended: dict[str, dict[str, str]], old: Sequence[Reason]) -> str:
    """Return the Markdown page: a row a release, then every site that is not reached, and what no scan saw."""
    reached, reasoned, open_ = (
        sum(len(getattr(one, part)) for one in covered) for part in ("reached", "reasoned", "unexplained")
    )
    share = 100 * reached / max(reached + open_, 1)
    lines = [
        "# Which sites the trainings reach",
        "",
        "Made by `trl-conformance surface coverage`; not written by hand. A site is a line of a release that uses a",
        "tracker's module. Trainings run with stand-ins in the place of every tracker, which note who asks for what.",
        "",
        f"**{reached} of {reached + open_} reachable sites are reached ({share:.1f} %).**",
        f"{reasoned} more cannot be, each for a reason below; {sum(len(one.unseen) for one in covered)} uses were met",
        "that no scan had seen.",
        "",
        "| release | sites | reached | with a reason | not reached | not scanned |",
        "|---|---|---|---|---|---|",
    ]
    for one in covered:
        parts = (one.sites, one.reached, one.reasoned, one.unexplained, one.unseen)
        lines.append(f"| {one.release} | {' | '.join(str(len(part)) for part in parts)} |")
    lines += ["", "## Why some cannot be reached", "", "| reason | sites | for instance |", "|---|---|---|"]
    lines += _reasons(covered)
    lines += [f"\nA reason that fits no site any more: {one.why}" for one in old]
    lines += ["", "## Not reached, without a reason", ""]
    lines += list(_list((str(use), use.where, use.inside, one.release) for one in covered for use in one.unexplained))
    lines += ["", "## Used, though no scan saw it", ""]
    lines += list(_list((f"{m}.{p}", where, "", one.release) for one in covered for m, p, where in one.unseen))
    lines += ["", "## Trainings that did not end", ""]
    failed: dict[str, list[str]] = {}
    for release, told in ended.items():
        for name, error in told.items():
            if error:
                failed.setdefault(f"{name}: {error.strip().splitlines()[0][:150]}", []).append(release)
    lines += [f"* {line} ({', '.join(releases)})" for line, releases in failed.items()] or ["None."]
    return "\n".join(lines) + "\n"


def _reasons(covered: Sequence[Covered]) -> Iterator[str]:
    by_reason: dict[str, list[tuple[str, Use]]] = {}
    for one in covered:
        for use, reason in one.reasoned:
            by_reason.setdefault(reason.why, []).append((one.release, use))
    for why, uses in sorted(by_reason.items(), key=lambda item: -len(item[1])):
        release, use = uses[-1]
        yield f"| {why} | {len(uses)} | `{use}` {use.where} ({release}) |"


def _list(rows: Iterator[tuple[str, str, str, str]]) -> Iterator[str]:
    """Yield a line per use and place, with the releases that have it."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for what, where, inside, release in rows:
        found.setdefault((what, where.rpartition(":")[0], inside), []).append(
            f"{minor(release.split()[1])} :{where.rpartition(':')[2]}"
        )
    if not found:
        yield "None."
    for (what, file, inside), places in sorted(found.items()):
        yield f"* `{what}` {file} {inside} ({', '.join(places)})"
