"""The surface of wandb, as TRL, transformers and accelerate call it, over the runs of this tracker.

    import trackio.wandb

    trackio.wandb.install()       # before TRL or transformers is imported
    trainer = transformers.Trainer(..., args=TrainingArguments(report_to="wandb"))

After `install`, `import wandb` means this module, here and in child processes; without it, use the module as
it is. Runs are kept in the folder `$TRACKIO_DIR` like all others, and nothing goes to a server. What callers
ask was read from TRL 0.24.0 - 1.16.0, transformers 4.57.1 - 5.23.0 (integrations/integration_utils.py,
`WandbCallback`) and accelerate 1.11.0 - 1.15.0 (tracking.py, `WandBTracker`), the meaning of it from wandb
0.31.0. What they do not ask for is an AttributeError.

One thing is on purpose not wandb's: a step is never counted. See `Run.log`.
"""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import Any

from . import session
from ._wandb_install import STAND_IN, install, uninstall
from ._wandb_run import Run, Summary, current, define_metric, shape, watch
from .artifact import Artifact
from .config import CONFIG as config
from .config import Config, _as_dict
from .rich import Histogram
from .rich import Image as _Image
from .rich import Table as _Table
from .run import warn_once

__all__ = [
    "STAND_IN",
    "Artifact",
    "CommError",
    "Config",
    "ConfigError",
    "Error",
    "Histogram",
    "Image",
    "Run",
    "Settings",
    "Summary",
    "Table",
    "UsageError",
    "agent",
    "config",
    "define_metric",
    "finish",
    "init",
    "install",
    "log",
    "log_artifact",
    "login",
    "setup",
    "summary",
    "sweep",
    "termwarn",
    "uninstall",
    "watch",
]

#: The release whose surface this is; the local part says that it is not wandb itself.
__version__ = "0.31.0+trackio"

#: What is not given to `init` comes from its `settings`, and then from the environment, under these names
#: (wandb 0.31.0, sdk/wandb_settings.py and env.py).
_ELSEWHERE = {
    "project": ("project", "WANDB_PROJECT"),
    "entity": ("entity", "WANDB_ENTITY"),
    "name": ("run_name", "WANDB_NAME"),
    "id": ("run_id", "WANDB_RUN_ID"),
    "resume": ("resume", "WANDB_RESUME"),
    "group": ("run_group", "WANDB_RUN_GROUP"),
    "job_type": ("run_job_type", "WANDB_JOB_TYPE"),
    "tags": ("run_tags", "WANDB_TAGS"),
    "notes": ("run_notes", "WANDB_NOTES"),
    "mode": ("mode", "WANDB_MODE"),
}

#: Modes in which nothing is pushed to a dataset (wandb 0.31.0, sdk/wandb_settings.py, `mode`).
_LOCAL = ("disabled", "offline", "dryrun")

#: Folders of runs in the mode `disabled`; they go when the process ends.
_disabled: list[Any] = []
_said: set[str] = set()


class Error(Exception):
    """The base of what this module raises by itself."""


class CommError(Error):
    """Never raised: there is no server to speak with."""


class UsageError(Error):
    """A call that cannot be served; the text says what to do."""


class ConfigError(Error):
    """Never raised: configuration values may always change. transformers imports it (5.23.0,
    `WandbCallback.setup`).
    """


class Settings(SimpleNamespace):
    """What `init(settings=...)` takes; only the attributes in its arguments' place mean something."""


class Table(_Table):
    """`trackio.Table` with wandb's further names."""

    @property
    def data(self) -> list[list[Any]]:
        """The rows, as lists of cells."""
        return self.rows

    def add_column(self, name: Any, data: Any) -> None:
        """Append a column. Raises ValueError if `data` has not one cell for each row."""
        cells = list(data)
        if not self.columns:
            self.rows = [[] for _ in cells]
        if len(cells) != len(self.rows):
            raise ValueError(f"column {name!r} has {len(cells)} cells, the table has {len(self.rows)} rows")
        self.columns.append(name)
        for row, cell in zip(self.rows, cells, strict=True):
            row.append(cell)


class Image(_Image):
    """`trackio.Image` with wandb's order of arguments; `mode` means nothing, pixels are kept as they are."""

    def __init__(self, data_or_path: Any, mode: Any = None, caption: Any = None, **ignored: Any) -> None:
        for keyword, value in ignored.items():
            if value is not None:
                warn_once(f"Image() does not keep {keyword!r}")
        super().__init__(data_or_path, caption)


#: Of the run that is open, else of the one that was finished last.
summary = Summary()


def init(
    *,
    project: Any = None,
    entity: str | None = None,
    name: Any = None,
    id: str | None = None,
    config: Any = None,
    dir: Any = None,
    resume: bool | str | None = None,
    reinit: bool | str | None = None,
    group: str | None = None,
    job_type: str | None = None,
    tags: Any = None,
    notes: str | None = None,
    mode: str | None = None,
    settings: Any = None,
    config_exclude_keys: Any = None,
    config_include_keys: Any = None,
    **ignored: Any,
) -> Run:
    """Begin a run, or return the one that is open, and make it `run`.

    As in wandb, a name is no identity: without `resume` a new run begins, also under a name that is there.
    `id` is the id of a run, or any text of the caller's that then is one (the run is then kept under it, and
    `name` is only shown). `resume="allow"` continues the run of that id, or without one of that name, or
    begins it; `"must"` raises UsageError if there is none. While a run is open it is returned as it is;
    `reinit=True` finishes it first. `mode="disabled"` keeps the run in a folder that goes with the process;
    other modes are the same here. The run is pushed to the dataset `$TRACKIO_DATASET_REPO`, as `trackio.init`
    does it, except in the modes `offline` and `disabled`. `config` is a dict or has attributes, from which
    the keys in `config_exclude_keys` are left out. `group`, `job_type`, `tags`, `notes` and `entity` are kept
    in the configuration, as `_wandb`. What is None is taken from `settings`, then from the environment
    (`WANDB_PROJECT`, `WANDB_NAME`, …). `dir` is accepted: runs are kept in `$TRACKIO_DIR`. Unknown keywords
    warn once.
    """
    for keyword in ignored:
        warn_once(f"wandb.init() does not know the keyword {keyword!r}")
    if dir is not None:
        warn_once("wandb.init() does not use dir: runs are kept in the folder that TRACKIO_DIR names")
    if (opened := current()) is not None:
        # A notebook's cell is run again without a finish (wandb 0.31.0, sdk/wandb_init.py, `reinit`).
        if reinit not in (True, "finish_previous") and not (reinit is None and "ipykernel" in sys.modules):
            termwarn("init() returns the run that is open; finish() it, or say reinit=True, for another one")
            return shape(opened)
        opened.finish()
    given = {
        "project": project,
        "entity": entity,
        "name": name,
        "id": id,
        "resume": resume,
        "group": group,
        "job_type": job_type,
        "tags": tags,
        "notes": notes,
        "mode": mode,
    }
    asked = {key: _elsewhere(key, settings) if value is None else value for key, value in given.items()}
    kept = _start(asked)
    if os.environ.get("TRACKIO_DATASET_REPO") and asked["mode"] not in _LOCAL:
        from . import hub

        if (repo := hub.named()) is not None:
            hub.attach(kept, repo)
    run = shape(kept)
    run._tell(asked)
    if config is not None:
        values = _as_dict(config)
        keys = (values.keys() & set(config_include_keys or values)) - set(config_exclude_keys or ())
        run.config.update({key: value for key, value in values.items() if key in keys})
    return run


def _elsewhere(argument: str, settings: Any) -> Any:
    attribute, variable = _ELSEWHERE[argument]
    known = settings if isinstance(settings, dict) else vars(settings) if settings is not None else {}
    return known.get(attribute) or os.environ.get(variable) or None


def _start(asked: dict[str, Any]) -> Any:
    top = None
    if asked["mode"] == "disabled":
        import tempfile

        _disabled.append(tempfile.TemporaryDirectory(prefix="trackio-disabled-", ignore_cleanup_errors=True))
        top = _disabled[-1].name
    name, run_id = asked["name"], None
    if asked["id"] is not None:
        from .api import Api  # not above: wandb's own Api is another one, and asked for by that name

        runs = Api(top).runs(session.project_name(asked["project"]))
        found = [run for run in runs if run.id == asked["id"]]
        name, run_id = (found[0].name, found[0].id) if found else (asked["id"], None)
    try:
        return session.start(asked["project"], name, asked["resume"] or "never", top=top, run_id=run_id)
    except ValueError as error:
        raise UsageError(str(error)) from None


def log(data: Any, step: Any = None, commit: bool | None = None, sync: bool | None = None) -> None:
    """Keep `data` at `step` in the current run; see `Run.log`. Before any `init` the values are kept too, and
    belong to the run that the first `init` begins.
    """
    session.current().log(data, step)


def finish(exit_code: int | None = None, quiet: bool | None = None) -> None:
    """Finish the open run; without one, do nothing. An exit code other than 0 makes its status `failed`."""
    if (opened := current()) is not None:
        shape(opened).finish(exit_code)


def log_artifact(artifact: Any, name: str | None = None, type: str | None = None, aliases: Any = None) -> Any:
    """Keep an artifact in the current run and return it; see `Run.log_artifact`."""
    return shape(session.current()).log_artifact(artifact, name, type, aliases)


def login(*args: Any, **kwargs: Any) -> bool:
    """Return True: a folder asks for no account."""
    return True


def setup(settings: Any = None) -> None:
    """Return: there is no service to start."""


def sweep(sweep: Any, entity: Any = None, project: Any = None, prior_runs: Any = None) -> str:
    """Raise UsageError: wandb's server chooses what a sweep tries next, and there is none."""
    raise UsageError(
        "sweeps need wandb's server. Use another search (in transformers hyperparameter_search("
        "backend='optuna')), or wandb itself, without trackio.wandb.install()"
    )


def agent(
    sweep_id: Any, function: Any = None, entity: Any = None, project: Any = None, count: Any = None
) -> None:
    """Raise UsageError, as `sweep` does."""
    sweep(sweep_id)


def termwarn(string: str, newline: bool = True, repeat: bool = True) -> None:
    """Write a warning to stderr; with `repeat=False` once in a process."""
    if repeat or string not in _said:
        _said.add(string)
        print(f"trackio: {string}", file=sys.stderr)


def __getattr__(name: str) -> Any:
    if name == "run":
        # What `init` returned, until it is finished; callers compare it with None.
        opened = current()
        return None if opened is None else shape(opened)
    raise AttributeError(
        f"trackio.wandb has no {name!r}: it serves what TRL, transformers and accelerate call. For the rest "
        "use trackio's own functions, or wandb itself, without trackio.wandb.install()"
    )
