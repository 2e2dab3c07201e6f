"""What one release asks of trackers that another does not, and since when each thing is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from conformance.surface.model import Fact, Hook, Surface, Use
from conformance.surface.names import MODULES
from conformance.surface.scan import LIBRARIES
from conformance.surface.store import ranges

#: Signs of a change: asked from now on, no longer asked, asked under other conditions or in other places.
SIGNS = {"added": "+", "gone": "-", "moved": "~"}


@dataclass(frozen=True)
class Change:
    """One change: `how` is a key of `SIGNS`, `what` the thing asked, `where` a place (the new one, if there is one)."""

    module: str
    how: str
    what: str
    where: str
    note: str = ""


def changes(old: Surface, new: Surface) -> list[Change]:
    """Return what changed for trackers, by module."""
    before, after = _asked(old), _asked(new)
    found = []
    for key in dict.fromkeys([*after, *before]):
        module, what = key
        if key not in before:
            found.append(Change(module, "added", what, after[key][0].where, _inside(after[key])))
        elif key not in after:
            found.append(Change(module, "gone", what, before[key][0].where, _inside(before[key])))
        else:
            found += _moved(module, what, before[key], after[key])
    order = {module: i for i, module in enumerate([*MODULES, "GeneralTracker", "TrainerCallback", "Accelerator"])}
    return sorted(found, key=lambda c: (order.get(c.module, len(order)), list(SIGNS).index(c.how), c.what))


def _asked(surface: Surface) -> dict[tuple[str, str], list[Any]]:
    """Return (module, thing asked in words) -> the uses, facts or hooks that ask it."""
    found: dict[tuple[str, str], list[Any]] = {}
    for use in surface.uses:
        found.setdefault((use.module, use.what), []).append(use)
    for fact in surface.variables:
        found.setdefault((fact.module, f"${fact.name} ({fact.how})"), []).append(fact)
    for fact in surface.lookups:
        found.setdefault((fact.module, f"{fact.how}({fact.name!r})"), []).append(fact)
    for hook in surface.hooks:
        found.setdefault((hook.owner, f"{hook.name}{hook.shape or f'({hook.parameters})'}"), []).append(hook)
    return found


def _inside(found: Sequence[Use | Fact | Hook]) -> str:
    return ", ".join(dict.fromkeys(getattr(one, "inside", "") for one in found if getattr(one, "inside", "")))


def _moved(module: str, what: str, before: list[Any], after: list[Any]) -> Iterator[Change]:
    """Yield who asks now and did not, who does no longer, and under which conditions that is new."""
    old, new = ({getattr(one, "inside", ""): one for one in found} for found in (before, after))
    for name in dict.fromkeys([*new, *old]):
        if not name:
            continue
        if name not in old:
            yield Change(module, "moved", what, new[name].where, f"now also {name}")
        elif name not in new:
            yield Change(module, "moved", what, old[name].where, f"no longer {name}")
        elif old[name].guards != new[name].guards:
            more = [g for g in new[name].guards if g not in old[name].guards]
            less = [g for g in old[name].guards if g not in new[name].guards]
            words = [*(f"only if {g}" for g in more), *(f"also if not {g}" for g in less)]
            if words:
                yield Change(module, "moved", what, new[name].where, f"{name}: {'; '.join(words)}")


def words(old: Surface, new: Surface, modules: Sequence[str] = ()) -> Iterator[str]:
    """Yield the difference of two releases in words; of some modules only, if any are named."""
    found = [change for change in changes(old, new) if not modules or change.module in modules]
    yield f"{old} -> {new}: {len(found)} changes for trackers"
    module = ""
    for change in found:
        if change.module != module:
            module = change.module
            yield module
        yield f"  {SIGNS[change.how]} {change.what:<52} {change.where}  {change.note}".rstrip()


def to_json(old: Surface, new: Surface, modules: Sequence[str] = ()) -> dict[str, Any]:
    """Return the difference as plain data."""
    found = [vars(change) for change in changes(old, new) if not modules or change.module in modules]
    return {"library": new.library, "old": old.version, "new": new.version, "changes": found}


def timeline(module: str, every: dict[str, list[Surface]]) -> str:
    """Return a Markdown page: each thing that is asked of a module, with the releases of each library that ask it."""
    among = {library: tuple(surface.version for surface in surfaces) for library, surfaces in every.items()}
    asked: dict[str, dict[str, list[tuple[str, str]]]] = {}
    for library, surfaces in every.items():
        for surface in surfaces:
            for (owner, what), found in _asked(surface).items():
                if owner == module:
                    asked.setdefault(what, {}).setdefault(library, []).append((surface.version, found[-1].where))
    head = [library for library in LIBRARIES if any(library in by for by in asked.values())]
    rows = []
    for what, by in sorted(asked.items()):
        cells = [
            ranges({version for version, _ in by[library]}, among[library]) if library in by else "" for library in head
        ]
        newest = " ".join(f"`{by[library][-1][1]}`" for library in head if library in by)
        rows.append(f"| `{what}` | {' | '.join(cells)} | {newest} |")
    return "\n".join(
        [
            f"# What is asked of `{module}`",
            "",
            "Made by `trl-conformance surface timeline`, from the sources of all scanned releases, not by hand.",
            f"{_extent(among)}. A place is that of the newest release that asks it.",
            "",
            f"| asked | {' | '.join(head)} | place |",
            f"|---|{'---|' * len(head)}---|",
            *rows,
            "",
            "## From release to release",
            "",
            "| release | asked from here on | no longer asked |",
            "|---|---|---|",
            *_steps(module, every),
            "",
        ]
    )


def _steps(module: str, every: dict[str, list[Surface]]) -> Iterator[str]:
    """Yield a row for each release that asks something else of a module than the one before it."""
    for library, surfaces in every.items():
        before: set[str] = set()
        for surface in surfaces:
            now = {what for owner, what in _asked(surface) if owner == module}
            if now != before:
                more, less = (", ".join(f"`{what}`" for what in sorted(part)) for part in (now - before, before - now))
                yield f"| {library} {surface.minor} | {more} | {less} |"
            before = now


def _extent(among: dict[str, tuple[str, ...]]) -> str:
    parts = [f"{library} {ranges(versions, versions)}" for library, versions in among.items() if versions]
    return f"Scanned: {', '.join(parts)}"
