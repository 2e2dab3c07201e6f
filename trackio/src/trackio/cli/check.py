"""`trackio verify`: what `trackio.verify` finds, a line for each problem."""

from __future__ import annotations

import argparse

import orjson

from ..values import Encoder
from .common import UsageError, chosen, project_runs, store, tell
from .text import byte_progress, clean


def verify_runs(args: argparse.Namespace) -> int:
    """`trackio verify [PROJECT [RUN]]`: 0 if all is whole, else 1. Notes are what a killed process leaves."""
    from ..verify import verify

    api = store(args)
    try:
        with byte_progress("checking") as progress:
            report = verify(api.root, args.project, args.run, progress)
    except FileNotFoundError as error:
        raise UsageError(f"no runs in {api.root} (--root or $TRACKIO_DIR names another folder)") from error
    except KeyError as error:
        # Ours names what is close.
        chosen(project_runs(api, args.project), [] if args.run is None else [args.run])
        raise UsageError(str(error.args[0])) from error
    if args.json:
        found = {
            "ok": report.ok,
            "root": api.root,
            "counts": dict(report.counts),
            "problems": [problem._asdict() for problem in report.problems],
            "notes": [note._asdict() for note in report.notes],
        }
        print(orjson.dumps(Encoder()(found), option=orjson.OPT_INDENT_2).decode())
        return 0 if report.ok else 1
    for problem in report.problems:
        print(clean(f"problem: {problem}"))
    for note in report.notes:
        print(clean(f"note: {note}"))
    counts = report.counts
    checked = ", ".join(
        f"{counts[name]} {name}" for name in ("runs", "journals", "records", "artifacts", "files")
    )
    print(f"{'whole' if report.ok else f'{len(report.problems)} problems'}: {checked}")
    if not report.ok:
        tell("what is damaged can be read with --lenient; nothing was changed")
    return 0 if report.ok else 1
