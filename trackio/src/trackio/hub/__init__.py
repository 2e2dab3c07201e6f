"""A dataset on the Hugging Face Hub as the shared store. `init` names it; a background thread pushes.

    metrics|tables|system/<run>/<writer>-<first>-<last>.parquet   logged values, a row each; see `shards.py`
    runs/<run>/<writer>-<first>-<last>.parquet                    who wrote, configuration, status, artifacts
    pending/<run>/<writer>-<first>-<last>.b85                     records that are not yet in these tables
    experiments/<run>/run.parquet                                 the origin's ten columns, a row per run
    files/<sha256>                                                contents too large for a cell
    README.md                                                     the card, whose `configs` make them tables

Nothing of this is imported before a dataset is named. huggingface_hub and pyarrow come with `trackio[hub]`.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from .. import ranks, session, settings
from ..paths import key
from ..run import warn_once
from . import card
from .background import TIMEOUT, Background, seconds
from .push import Pusher
from .remote import Backoff, HubError, Refused, Remote, token
from .spool import Ledger

if TYPE_CHECKING:
    from ..run import Run

#: What `sync` has warned of.
_failed: set[str] = set()

#: Datasets that have a Space of their name by now.
_pointed: set[str] = set()

KEPT = "everything is kept in the local folder"


def named(dataset_id: str | None = None, space_id: str | None = None) -> str | None:
    """Return the dataset that is meant: `dataset_id`, else `$TRACKIO_DATASET_REPO` unless `$MONITORING_MODE`
    says otherwise, else the one of the name of a Space.
    """
    mode = os.environ.get("MONITORING_MODE") or "both"
    wanted = settings.read("dataset_repo") if mode in ("both", "dataset") else None
    return dataset_id or wanted or space_id or None


def attach(run: Run, repo: str, private: bool | None = None, hf_token: str | None = None) -> None:
    """Push `run` to the dataset `repo` from now on, in the background; on the first rank alone.

    `private`: False for a public one if it is made; by default it is private. What cannot work is told once.
    """
    if not ranks.is_main() or run.folder is None:
        return
    pushing = run._pushing
    if pushing is not None and repo in (pushing.repo, pushing.repo.partition("/")[2]):
        pushing.start()
        return
    try:
        ledger = Ledger(run.folder)
        # What was asked for stays known: `trackio push` sends the run there.
        ledger.entry(repo)["private"] = private
        ledger.save()
        if not hf_token and token() is None:
            raise Refused("there is no token: log in with `hf auth login`, or set $HF_TOKEN")
    except (HubError, OSError) as error:
        warn_once(f"nothing is sent to the dataset {repo!r}: {error}; {KEPT}, `trackio push` sends it")
        return
    remote = Remote(repo, private, hf_token)
    run._pushing = Background(Pusher(remote, [run.folder], tell=warn_once, pause=_give_way))
    run._pushing.start()


def _give_way() -> None:
    # Long enough for the other thread to take the interpreter, which it is handed only on request otherwise,
    # 5 ms later (sys.getswitchinterval).
    time.sleep(0.0005)


def sync(
    project: Any, repo: str | None, private: bool | None, *, space: bool = False, what: str = "sync"
) -> str | None:
    """Push all runs of a project now, and return the dataset's id; None, after one warning, where that does
    not work.

    The dataset is that of the current run if it is of this project, else `repo`, else one that is called
    after the project. `space`: make a static Space of the same name too, which points to it, because that is
    what the caller will link to. Nothing is raised. It waits as long as `finish` does.
    """
    from ..api import Api

    run = session.active() or session.last()
    project = session.project_name(run.project if project is None and run is not None else project)
    hf_token = None
    if run is not None and run.project == project and run._pushing is not None:
        repo, hf_token = run._pushing.repo, run._pushing.hf_token
    repo = repo or f"trackio-{key(project)}"
    remote = Remote(repo, private, hf_token)
    folders = [stored.folder for stored in Api().runs(project)]
    timeout = seconds("TRACKIO_PUSH_TIMEOUT", TIMEOUT)
    try:
        if remote.secret is None:
            raise Refused("there is no token: log in with `hf auth login`, or set $HF_TOKEN")
        if not folders:
            raise Refused(f"there are no runs of project {project!r}")
        pusher = Pusher(remote, folders, patience=timeout, create=True, tell=warn_once)
        pusher.all(Backoff(), _sleep, time.monotonic() + timeout)
    except (HubError, OSError) as error:
        # transformers names another dataset in each call: that alone is no news.
        news = str(error).replace(remote.repo, "")
        if news not in _failed:
            _failed.add(news)
            warn_once(f"{what}(): nothing is sent to the dataset {remote.repo!r}: {error}; {KEPT}")
        return None
    if space and remote.repo not in _pointed:
        try:
            remote.point(card.pointer(remote.repo))
            _pointed.add(remote.repo)
        except HubError as error:
            warn_once(f"{what}(): {error}; the runs are in the dataset")
    return remote.repo


def _sleep(wait: float) -> bool:
    time.sleep(wait)
    return False
