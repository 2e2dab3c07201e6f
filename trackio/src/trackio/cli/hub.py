"""`trackio push` and `trackio pull`: runs to a dataset on the Hub, and back."""

from __future__ import annotations

import argparse
import time

from ..api import Api
from .common import UsageError, project_runs, store, tell
from .text import plural

#: Seconds for which a push is repeated while the Hub does not answer.
PATIENCE = 120.0


def push_runs(args: argparse.Namespace) -> int:
    """`trackio push [PROJECT] [--repo REPO]`: 0 if everything is there."""
    from ..hub.push import Pusher
    from ..hub.remote import Backoff, HubError, Remote

    api = store(args)
    total = 0
    for repo, folders in _targets(api, args).items():
        private = False if args.public else None
        pusher = Pusher(
            Remote(repo, private), folders, patience=PATIENCE, create=True, large=args.large, tell=tell
        )
        try:
            pusher.all(Backoff(), _wait, time.monotonic() + PATIENCE)
        except HubError as error:
            raise UsageError(f"{error} ({plural(pusher.records, 'record')} sent before that)") from None
        if pusher.busy:
            raise UsageError(
                f"another process is pushing {', '.join(pusher.busy)}; try again when it is done"
            )
        total += pusher.records
        sent, commits = plural(pusher.records, "record"), plural(pusher.commits, "commit")
        print(f"{pusher.remote.repo}: {plural(len(folders), 'run')}, {sent} sent in {commits}")
    return 0


def _targets(api: Api, args: argparse.Namespace) -> dict[str, list[str]]:
    """Return which folders go to which dataset. Raises UsageError where nothing says so."""
    from ..hub import named
    from ..hub.spool import Ledger

    projects = [args.project] if args.project is not None else api.projects()
    runs = [run for project in projects for run in project_runs(api, project)]
    if not runs:
        raise UsageError(f"no runs in {api.root} (--root or $TRACKIO_DIR names another folder)")
    targets: dict[str, list[str]] = {}
    if repo := named(args.repo):
        targets[repo] = [run.folder for run in runs]
        return targets
    for run in runs:
        for repo in Ledger(run.folder).repos:
            targets.setdefault(repo, []).append(run.folder)
    if not targets:
        raise UsageError("no run says which dataset it goes to: --repo USER/NAME or $TRACKIO_DATASET_REPO")
    return targets


def _wait(seconds: float) -> bool:
    if seconds > 1:
        tell(f"the Hub does not take it; again in {seconds:.0f} s")
    time.sleep(seconds)
    return False


def pull_runs(args: argparse.Namespace) -> int:
    """`trackio pull REPO [PROJECT]`: 0 if everything is here."""
    from ..hub.pull import pull
    from ..hub.remote import HubError, Remote

    api = store(args)
    try:
        found = pull(Remote(args.repo), api.root, args.project, tell)
    except HubError as error:
        raise UsageError(str(error)) from None
    if not found:
        what = "no runs" if args.project is None else f"no runs of project {args.project!r}"
        raise UsageError(f"the dataset {args.repo!r} has {what}")
    for run in found:
        came = f"{plural(run.records, 'record')} and {plural(run.files, 'file')} came in"
        print(f"{run.project} / {run.name}: {came}")
    return 0
