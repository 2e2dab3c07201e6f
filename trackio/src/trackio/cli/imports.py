"""`trackio import`: runs of other trackers, into this store; a second time it takes what is new."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from .common import store
from .importer import Found, Outcome, alone, bring
from .text import clean, plural, progress


def import_runs(args: argparse.Namespace) -> int:
    """`trackio import tensorboard|trackio`."""
    api = store(args)
    sources: Iterable[tuple[str, Iterable[Found]]]
    if args.source == "tensorboard":
        from . import from_tensorboard

        sources = [(args.project, from_tensorboard.runs(args.folder))]
    else:
        from . import from_trackio

        found = from_trackio.databases(args.folder, args.project)
        sources = [(project, from_trackio.runs(path)) for project, path in found]
    for project, runs in sources:
        with alone(api.root):
            outcomes = [bring(api, project, args.source, run) for run in progress(runs, "runs")]
        _report(project, outcomes)
    return 0


def _report(project: str, outcomes: list[Outcome]) -> None:
    for name, points, there in outcomes:
        if there:
            what = f"was there; {plural(points, 'new point')}" if points else "was there already; nothing new"
        else:
            what = plural(points, "point")
        print(clean(f"{project} / {name}: {what}"))
