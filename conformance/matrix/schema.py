"""The schema of a tape: which keys, types, events, tables and module calls a trainer has, without any value.

A release's schemas stand in `fixtures/schemas/trl-<minor>.json`, recorded by `trl-conformance record --schema`. Names
that a user gives (reward functions) are `*` in them.
"""

from __future__ import annotations

import functools
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from conformance import fixtures
from conformance.doors import ledger
from conformance.tape import Tape
from conformance.values import TAG

#: What TRL itself names below `rewards/` (trl/trainer/dpo_trainer.py and its kin); every other name is a function's.
_OWN = "chosen|rejected|margins|accuracies"
_REWARD = re.compile(rf"(^|[/_])rewards/(?!(?:{_OWN})(?:/|$))([^/]+)")
#: `Time taken: GRPOTrainer.length`: what TRL calls the time of a function (trl/extras/profiling.py).
_TIMED = re.compile(r"^(.*Time taken: \w+\.)(.+)$")
#: Of a header's versions, those that decide a schema.
DECIDING = ("trl", "transformers", "accelerate")


class NoSchema(LookupError):
    """There is no schema of a release; the message is one line and says which there are."""


def kind(encoded: Any) -> str:
    """Return the type of an encoded value in a word: `float`, `numpy.float64`, `torch.int64[]`, `NoneType`."""
    if not isinstance(encoded, dict):
        return type(encoded).__name__
    tag = encoded.get(TAG)
    if tag in ("numpy", "torch"):
        return f"{tag}.{encoded['dtype']}" + ("[]" if isinstance(encoded["v"], list) else "")
    return str(encoded.get("type", tag)) if tag else "dict"


def _kinds(pairs: Iterable[tuple[str, Any]]) -> dict[str, str]:
    """Return key -> the types of its values, joined by `|`."""
    found: dict[str, set[str]] = {}
    for key, value in pairs:
        found.setdefault(key, set()).add(kind(value))
    return {key: "|".join(sorted(kinds)) for key, kinds in sorted(found.items())}


def _functions(tape: Tape) -> set[str]:
    """Return the names of reward functions that a tape's keys show."""
    return {found[2] for p in tape.logged() for found in _REWARD.finditer(p.key)}


def normal(key: str, functions: Iterable[str] = ()) -> str:
    """Return a metric's key with `*` for what the user named."""
    timed = _TIMED.match(key)
    if timed and timed[2] in functions:
        return f"{timed[1]}*"
    return _REWARD.sub(r"\1rewards/*", key)


def _column(name: str, functions: Iterable[str]) -> str:
    """Return a table's column with `*` for a function's; `reward` is a column of TRL's own as well."""
    return "*" if name in functions and name != "reward" else name


def schema(tape: Tape) -> dict[str, Any]:
    """Return the schema of a whole tape.

    `events` are the trainer's in their order, `name:step`, equal neighbours once; `metrics` and `config` key -> type;
    `tables` key -> columns; `logged` what TRL logs through a module itself, key -> type; `calls` the module calls with
    their keywords -> where in TRL they stand.
    """
    events = [f"{e['event'][3:]}:{e['step']}" for e in tape.events if e["event"].startswith("on_")]
    events = [word for i, word in enumerate(events) if i == 0 or word != events[i - 1]]
    functions = _functions(tape)
    calls: dict[str, set[str]] = {}
    for call in tape.of("call", door="module"):
        calls.setdefault(f"{call['path']}({', '.join(sorted(call['kwargs']))})", set()).add(call["where"])
    return {
        "events": " ".join(events),
        "metrics": _kinds((normal(p.key, functions), p.value) for p in tape.logged()),
        "config": _kinds(item for told in (tape.end, *tape.of("told")) for item in told.get("config", {}).items()),
        "tables": {
            key: list(dict.fromkeys(_column(c, functions) for c in table["columns"]))
            for key, table in ledger.tables(tape)
        },
        "logged": _kinds((normal(p.key, functions), p.value) for p in ledger.numbers(tape)),
        "calls": {call: sorted(where) for call, where in sorted(calls.items())},
    }


# ---- a release's file ------------------------------------------------------------------------------------------------


def dump(versions: Mapping[str, str], trainers: Mapping[str, dict[str, Any]]) -> str:
    """Return the text of a release's file: a line per trainer, what most of them share once.

    `trainers` is id -> schema with `class` and `module`, or these with `untestable`, the reason; `varies` is there and
    true where metrics come and go from run to run.
    """
    told = [entry for entry in trainers.values() if "config" in entry]
    shared = Counter(pair for entry in told for pair in entry["config"].items())
    common = {key: kind for (key, kind), n in sorted(shared.items()) if 2 * n > len(told)}
    lines = []
    for id, entry in sorted(trainers.items()):
        if "config" in entry:
            own = {k: v for k, v in entry["config"].items() if common.get(k) != v}
            entry = {**entry, "config": {**dict.fromkeys(common.keys() - entry["config"].keys()), **own}}
        lines.append(f"{json.dumps(id)}: {_compact(entry)}")
    deciding = {name: versions[name] for name in DECIDING if name in versions}
    body = ",\n".join(lines)
    return f'{{"versions": {_compact(deciding)},\n"config": {_compact(common)},\n"trainers": {{\n{body}\n}}}}\n'


def _compact(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def load(text: str) -> dict[str, Any]:
    """Return what `dump` wrote: `versions` and `trainers`, each with its whole configuration."""
    found: dict[str, Any] = json.loads(text)
    common = found.pop("config")
    for entry in found["trainers"].values():
        if "config" in entry:
            whole = {**common, **entry["config"]}
            entry["config"] = {key: kind for key, kind in sorted(whole.items()) if kind is not None}
    return found


def golden(minor: str, folder: Path | None = None) -> dict[str, Any]:
    """Return the recorded schemas of a TRL minor. Raises NoSchema."""
    folder = folder or fixtures() / "schemas"
    path = folder / f"trl-{minor}.json"
    if not path.is_file():
        known = sorted((p.stem[4:] for p in folder.glob("trl-*.json")), key=lambda m: [int(n) for n in m.split(".")])
        raise NoSchema(
            f"no schema of TRL {minor} in {folder.name}/; there are {', '.join(known) or 'none'}. "
            f"Record it where that TRL is installed: trl-conformance record --schema {folder.name}"
        )
    return load(path.read_text(encoding="utf-8"))


@functools.cache
def _golden(minor: str) -> dict[str, Any] | None:
    try:
        return golden(minor)
    except NoSchema:
        return None


def drift(minor: str, trainer: str, tape: Tape) -> list[str] | None:
    """Return a line for everything in which a run without tracker is not as recorded; None if nothing can be compared.

    Only what a run without tracker has is compared: no module calls.
    """
    from conformance.matrix import diff

    recorded = _golden(minor)
    entry = (recorded or {"trainers": {}})["trainers"].get(trainer)
    if entry is None or "untestable" in entry or entry.get("varies"):
        return None
    mine = schema(tape)
    if "init_end:0" not in mine["events"]:
        # Iterative SFT takes no callbacks: one that is added later does not see it.
        entry = {**entry, "events": entry["events"].removeprefix("init_end:0 ")}
    if tape.end.get("door") == "accelerate":
        # Up to 0.11, PPO makes other types of the same numbers for a tracker that it knows by name.
        mine["metrics"] = {key: entry["metrics"].get(key, word) for key, word in mine["metrics"].items()}
    found = diff.of_trainer(trainer, entry, {**mine, **{part: entry[part] for part in ("tables", "logged", "calls")}})
    return [f"{trainer}: {change.words()}" for change in found]
