"""What TRL told a tracker's module, beside what the tracker kept of it: tables, numbers, configuration."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from conformance import values
from conformance.delivered import Delivered
from conformance.surface.model import Use
from conformance.surface.scan import uses
from conformance.tape import Logged, Tape
from conformance.trainers import root
from conformance.truth import ABSENT, Difference, Stored, compare, differences
from conformance.verdict import NotApplicable, Unreachable

if TYPE_CHECKING:
    from conformance.court import Evidence

#: Modules that TRL calls itself.
MODULE_DOOR = ("trackio", "wandb", "mlflow")
#: What TRL may do with a module: last attributes of the call, and the word by which a trainer's source shows it.
TABLES = (("Table",), "Table(")
PROFILING = (("log", "log_metrics"), "profiling_")


@functools.cache
def _trainer_source(name: str) -> tuple[str, str]:
    """Return (path below site-packages, text) of the file that defines a trainer class, ("", "") if none does."""
    folder = root("trl")
    # trl/trainer first: trl/experimental may define another class of the same name.
    places = sorted(folder.rglob("*.py"), key=lambda p: (p.parent.name != "trainer", p)) if folder else []
    for path in places:
        text = path.read_text(encoding="utf-8")
        if f"class {name}(" in text:
            return f"trl/{path.relative_to(folder)}", text  # type: ignore[arg-type]
    return "", ""


def must_reach(evidence: Evidence, what: tuple[tuple[str, ...], str]) -> None:
    """Raise NotApplicable if the trainer does not use the module door, Unreachable if only under other names.

    Both are read from the source of the installed release.
    """
    attributes, word = what
    trainer = evidence.run.tape.header.get("trainer", "") if evidence.run else ""
    path, text = _trainer_source(trainer)
    calls = [
        use
        for use in uses(MODULE_DOOR)
        if use.kind == "call" and use.names[-1] in attributes and _belongs(use, path, what)
    ]
    if word not in text or not calls:
        raise NotApplicable(f"{evidence.subject} does not use the module door for this in this release")
    served = set(evidence.bench.adapter.module)
    if not served & {use.module for use in calls}:
        names = ", ".join(sorted({use.module for use in calls}))
        raise Unreachable(
            f"TRL hands this to {names} only ({calls[0].where})",
            differences=(
                Difference("missing", None, calls[0].names[-1], names, ABSENT, blame="trl", note=calls[0].where),
            ),
        )


def _belongs(use: Use, path: str, what: tuple[tuple[str, ...], str]) -> bool:
    return use.where.startswith("trl/extras/profiling.py:" if what is PROFILING else f"{path}:")


def _module_logs(tape: Tape) -> Iterator[tuple[int, int | None, str, Any]]:
    """Yield (call, explicit step or None, key, encoded value) of every `log` that TRL made on the module."""
    for i, call in enumerate(tape.of("call", door="module")):
        if call["path"].rpartition(".")[2] not in PROFILING[0]:
            continue
        arguments = [*call["args"], *call["kwargs"].values()]
        payload = next((a for a in arguments if isinstance(a, dict) and values.TAG not in a), {})
        for key, value in payload.items():
            yield i, call["kwargs"].get("step"), key, value


def tables(tape: Tape) -> list[tuple[str, dict[str, Any]]]:
    """Return (key, encoded table) of every table that TRL logged through the module, in order."""
    return [(k, v) for _, _, k, v in _module_logs(tape) if isinstance(v, dict) and v.get(values.TAG) == "table"]


def table_differences(logged: list[tuple[str, dict[str, Any]]], kept: list[Any]) -> list[Difference]:
    """Return where the tables read back (`[key, encoded table]`) are not those logged: columns, rows, cells."""
    found = []
    for i, (key, table) in enumerate(logged):
        other = kept[i][1] if i < len(kept) else None
        if other is None:
            found.append(Difference("table", None, key, table, ABSENT, event=i))
        elif other["columns"] != table["columns"] or len(other["rows"]) != len(table["rows"]):
            found.append(Difference("table", None, key, table, other, event=i))
        else:
            found += _cells(key, table, other, i)
    return found


def _cells(key: str, table: dict[str, Any], other: dict[str, Any], event: int) -> Iterator[Difference]:
    for row, (ours, theirs) in enumerate(zip(table["rows"], other["rows"], strict=True)):
        for column, a, b in zip(table["columns"], ours, theirs, strict=True):
            if compare(a, values.plain(b)) is not None:
                name = f"{key}[{row}][{column}]"
                yield Difference("table", None, name, values.plain(a), values.plain(b), event=event)


def numbers(tape: Tape) -> list[Logged]:
    """Return every number that TRL logged through the module, at the step that it gave."""
    return [
        Logged(i, step, key, value)  # type: ignore[arg-type]
        for i, step, key, value in _module_logs(tape)
        if isinstance(values.plain(value), (int, float))
    ]


def number_differences(logged: list[Logged], stored: list[Stored]) -> list[Difference]:
    """Return what was not kept. Where TRL gave no step, none is asked for."""
    stepless = {p.key for p in logged if p.step is None}
    stored = [Stored(None, s.key, s.value) if s.key in stepless else s for s in stored]
    return differences(logged, stored, lambda key: key)


def config_differences(tape: Tape, kept: Any) -> list[Difference]:
    """Return the training arguments that are not in the stored configuration, or with another value.

    Only plain arguments (number, text, bool, None) are asked for. They are found by their own name, at whatever depth;
    a tracker that keeps texts only (MLflow's params) may have them as `str(value)`.
    """
    flat: dict[str, list[Any]] = {}
    for key, value in _flat(values.plain(kept)):
        flat.setdefault(key, []).append(value)
    found = []
    # At the accelerate door the witness itself was told, immediately before the tracker.
    told = [item for event in tape.of("told") for item in _flat(values.plain(event["config"]))]
    delivered = None if told else Delivered.of(tape)
    for key, value in [*tape.end["config"].items(), *told]:
        asked = values.plain(value)
        if isinstance(asked, (dict, list, values.Unreadable)) or key in SECRET:
            continue
        here = flat.get(key, [])
        if not any(compare(value, v) is None or v == str(asked) for v in here):
            difference = Difference("config", None, key, asked, here[0] if here else ABSENT)
            found.append(delivered.judge_config(difference) if delivered else difference)
    return found


#: Told as a placeholder or not at all, on purpose.
SECRET = {"hub_token", "push_to_hub_token"}


def _flat(config: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(config, Mapping):
        for key, value in config.items():
            yield str(key).replace(".", "/").rpartition("/")[2], value
            yield from _flat(value)
