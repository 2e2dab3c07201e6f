"""What the commands share: finding runs, reading their entries, missing extras, errors of one line."""

from __future__ import annotations

import argparse
import difflib
import importlib
import sys
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from ..api import Api, StoredRun
from ..values import MARK

#: (time in nanoseconds since 1970, step, key, value as the journal has it)
Entry = tuple[int, "int | None", str, Any]


class UsageError(Exception):
    """What the user can put right; `main` prints the text and returns 2."""


def need(module: str, extra: str) -> Any:
    """Import and return `module`. Raises UsageError that names the extra of trackio which brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise UsageError(f"this needs {package}: pip install 'trackio[{extra}]' ({error})") from error


def tell(text: str) -> None:
    """Print a line for people, on stderr."""
    from .text import clean

    print(f"trackio: {clean(text)}", file=sys.stderr)


def store(args: argparse.Namespace) -> Api:
    """Return the store that `--root` and `--lenient` ask for."""
    return Api(args.root, strict=not getattr(args, "lenient", False))


def _choices(names: Iterable[str], wanted: str, what: str) -> str:
    names = list(dict.fromkeys(names))
    text = ""
    if close := difflib.get_close_matches(wanted, names, n=3, cutoff=0.5):
        text += f"; did you mean {' or '.join(map(repr, close))}?"
    shown = ", ".join(repr(name) for name in names[:10])
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"{text}{'' if text.endswith('?') else ';'} {what}: {shown}{more}"


def project_runs(api: Api, project: str) -> list[StoredRun]:
    """Return the runs of a project, oldest first. Raises UsageError if there is no such project."""
    if runs := api.runs(project):
        return runs
    names = api.projects()
    if not names:
        raise UsageError(f"no runs in {api.root} (--root or $TRACKIO_DIR names another folder)")
    raise UsageError(f"no project {project!r} in {api.root}{_choices(names, project, 'there are')}")


def chosen(runs: list[StoredRun], names: list[str]) -> list[StoredRun]:
    """Return the runs of these names or ids, in order; the latest one of each name. Raises UsageError."""
    found = []
    for name in names:
        match = [run for run in runs if run.name == name] or [run for run in runs if run.id == name]
        if not match:
            project = runs[0].project
            here = _choices((run.name for run in reversed(runs)), name, "it has")
            raise UsageError(f"project {project!r} has no run {name!r}{here}")
        found.append(match[-1])
    return found


def labels(runs: list[StoredRun]) -> list[str]:
    """Return what to call each run: its name, or its id where another of these has the same name."""
    names = [run.name for run in runs]
    return [run.name if names.count(run.name) == 1 else run.id for run in runs]


def matches(key: str, globs: list[str] | None) -> bool:
    """Tell whether a key is asked for: by no glob, every key is."""
    return not globs or any(fnmatchcase(key, glob) for glob in globs)


def mapping(run: StoredRun, body: Any) -> Iterator[tuple[str, Any]]:
    """Yield the keys of a record's body, as texts, and the values as they are in the journal."""
    if type(body) is dict:
        yield from body.items()
        return
    for key, raw in body:
        name = plain(run, key)
        yield name if isinstance(name, str) else str(name), raw


def entries(
    run: StoredRun, kind: str = "log", globs: list[str] | None = None, records: Any = None
) -> Iterator[Entry]:
    """Yield what was logged, by time. Raises JournalDamaged if the store is strict."""
    for _, moment, its, step, body in run.records() if records is None else records:
        if its == kind:
            for key, raw in mapping(run, body):
                if globs is None or matches(key, globs):
                    yield moment, step, key, raw


def plain(run: StoredRun, raw: Any) -> Any:
    """Return the value that was logged; what is plain in the journal is the value itself."""
    return run._value(raw) if type(raw) in (dict, list) else raw


def is_rich_record(raw: Any) -> bool:
    """Tell whether the journal has a table, an image, a trace, a histogram, or a list of these."""
    if type(raw) is list:
        return bool(raw) and all(is_rich_record(item) for item in raw)
    return type(raw) is dict and raw.get(MARK) in RICH


#: Kinds of records that are looked at and not plotted; see `rich.py`.
RICH = {"table", "image", "trace", "histogram", "video", "audio", "html", "markdown"}


def warn_damage(run: StoredRun) -> None:
    """Say what a lenient reading passed over."""
    for path, offset, reason in run.damage.lines:
        tell(f"passed over a damaged record: {path}, byte {offset}: {reason}")
