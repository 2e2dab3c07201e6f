"""What changed for trackers between two TRL releases: a pure function of their recorded schemas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

#: Part of a schema -> its heading, in the order in which a tracker's author wants to know.
PARTS = {
    "trainers": "trainers",
    "metrics": "metrics",
    "tables": "table columns",
    "logged": "values logged through a module",
    "calls": "module calls",
    "events": "events",
    "config": "configuration keys",
}


#: Stands where something has no type.
YES = "yes"


@dataclass(frozen=True)
class Change:
    """One thing that changed for one trainer.

    `part` is a key of PARTS, `name` what changed, `before` and `after` its type or place ("": it was or is not there).
    """

    trainer: str
    part: str
    name: str
    before: str
    after: str

    @property
    def how(self) -> str:
        """`new`, `gone` or `now` (it was there, and is something else)."""
        return ("now" if self.after else "gone") if self.before else "new"

    def what(self) -> str:
        """Return the name with what it is or was; a number or a place says nothing more than the name."""
        if self.before and self.after:
            return f"{self.name}: {self.before} → {self.after}"
        said = self.before or self.after
        return self.name if said in (YES, "float") else f"{self.name} ({said})"

    def words(self) -> str:
        """Return the change as one line, without the trainer."""
        return f"{PARTS[self.part]}: {self.how} {self.what()}"


def diff(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Return every change from one release's schemas to another's; trainers first, then trainer by trainer."""
    before, after = old["trainers"], new["trainers"]
    gone, added = [i for i in before if i not in after], [i for i in after if i not in before]
    moved: dict[str, str] = {}
    for id in gone:
        places = [i for i in added if after[i]["class"] == before[id]["class"] and i not in moved.values()]
        if places:
            moved[id] = places[0]
    found = [Change(there, "trainers", after[there]["class"], id, there) for id, there in moved.items()]
    found += [Change(i, "trainers", i, before[i]["class"], "") for i in gone if i not in moved]
    found += [Change(i, "trainers", i, "", after[i]["class"]) for i in added if i not in moved.values()]
    for id in before:
        there = moved.get(id, id)
        if there in after:
            found += of_trainer(there, before[id], after[there])
    return found


def of_trainer(id: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Return every change of one trainer between two schemas."""
    if "untestable" in old or "untestable" in new:
        reasons = [side.get("untestable", "trained").splitlines()[0] for side in (old, new)]
        trained = "trained" in reasons
        return [Change(id, "trainers", id, *reasons)] if trained else []
    return [
        *_keys(id, "metrics", old["metrics"], new["metrics"]),
        *_keys(id, "tables", _columns(old["tables"]), _columns(new["tables"])),
        *_keys(id, "logged", old["logged"], new["logged"]),
        *_keys(id, "calls", _calls(old["calls"]), _calls(new["calls"])),
        *_events(id, old["events"], new["events"]),
        *_keys(id, "config", old["config"], new["config"]),
    ]


def _keys(id: str, part: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Change]:
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            yield Change(id, part, name, old.get(name, ""), new.get(name, ""))


def _columns(tables: Mapping[str, list[str]]) -> dict[str, str]:
    return {f"{table}[{column}]": YES for table, columns in tables.items() for column in columns}


def _calls(calls: Mapping[str, list[str]]) -> dict[str, str]:
    """Return call -> the files that make it: lines change with every release."""
    return {call: ", ".join(sorted({w.rpartition(":")[0] for w in where})) for call, where in calls.items()}


def _events(id: str, old: str, new: str) -> Iterator[Change]:
    """Yield how often each kind of event came, or at which steps, if the events are not the same."""
    if old == new:
        return
    names = list(dict.fromkeys(word.partition(":")[0] for word in [*old.split(), *new.split()]))
    same = True
    for name in names:
        a, b = (_steps(events, name) for events in (old, new))
        if a != b:
            same = False
            yield Change(id, "events", name, a, b)
    if same:
        yield Change(id, "events", "order", old, new)


def _steps(events: str, name: str) -> str:
    steps = Counter(word.partition(":")[2] for word in events.split() if word.partition(":")[0] == name)
    return "at step " + " ".join(step for step, n in steps.items() for _ in range(n)) if steps else ""


# ---- in words --------------------------------------------------------------------------------------------------------


def words(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Return all changes as text: a heading per part, below it the trainers that share some changes, and these."""
    found = diff(old, new)
    compared = {change.trainer for change in found if change.part != "trainers"} | _unchanged(old, new)
    lines = [_title(old, new)]
    for part, heading in PARTS.items():
        mine = [change for change in found if change.part == part]
        if mine:
            lines += ["", heading, *(f"  {line}" for line in _grouped(mine, compared))]
    varying = {id for side in (old, new) for id, entry in side["trainers"].items() if entry.get("varies")}
    if told := sorted(varying & {change.trainer for change in found if change.part != "trainers"}):
        lines += ["", f"Trained asynchronously, metrics come and go from run to run: {', '.join(told)}"]
    if not found:
        lines.append("nothing changed for trackers")
    return "\n".join(lines)


def _unchanged(old: Mapping[str, Any], new: Mapping[str, Any]) -> set[str]:
    """Return the trainers that both releases trained, under one name."""
    before, after = ({id for id, entry in side["trainers"].items() if "config" in entry} for side in (old, new))
    return before & after


def _title(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Return the versions of both sides, TRL's first."""
    first = sorted({**old["versions"], **new["versions"]}, key=lambda name: (name != "trl", name))
    told = ([f"{name} {side['versions'][name]}" for name in first if name in side["versions"]] for side in (old, new))
    return "  →  ".join(" · ".join(side) for side in told)


def _grouped(changes: Iterable[Change], compared: set[str]) -> Iterator[str]:
    """Yield lines: trainers with the same changes share them."""
    trainers: dict[tuple[str, str], list[str]] = {}
    for change in changes:
        if change.part == "trainers":
            yield f"{change.how:<5} {change.what()}"
        else:
            trainers.setdefault((change.how, change.what()), []).append(change.trainer)
    shared: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for (how, what), mine in trainers.items():
        shared.setdefault(tuple(mine), {}).setdefault(how, []).append(what)
    for those, found in sorted(shared.items(), key=lambda item: -len(item[0])):
        yield "every trainer" if len(compared) > 1 and compared <= set(those) else ", ".join(those)
        for how in ("new", "gone", "now"):
            if how in found:
                yield f"  {how:<5} {', '.join(found[how])}"


def to_json(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return versions and changes as plain data."""
    return {"old": old["versions"], "new": new["versions"], "changes": [asdict(change) for change in diff(old, new)]}
