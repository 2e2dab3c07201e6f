"""A tracker that keeps runs in a folder: exact, durable, append-only; `import trackio` as TRL, transformers
and accelerate use it.

    import trackio

    trackio.init("project", "run", config={"lr": 1e-4})
    trackio.log({"loss": 0.5}, step=1)
    trackio.finish()

    for step, key, value in trackio.Api().run("project", "run").points(): ...

Environment, read at use: `TRACKIO_DIR` (where runs are kept), `TRACKIO_PROJECT` (the project when none is
given), `TRACKIO_STRICT=1` (raise instead of counting), `TRACKIO_FSYNC=always` (sync every record),
`TRACKIO_SYSTEM` (`0` never, `1` always read GPU, processor and memory), `TRACKIO_SYSTEM_INTERVAL` (seconds).
"""

from __future__ import annotations

import os as _os
from typing import TYPE_CHECKING, Any

from . import context_vars
from . import session as _session
from . import system as _system
from .api import Api
from .arrays import Array
from .config import CONFIG as config
from .config import Config
from .journal import JournalDamaged
from .rich import Histogram, Image, Table, Trace
from .run import Run
from .run import warn_once as _warn_once
from .settings import TrackioConfig
from .values import Marker

if TYPE_CHECKING:
    from .artifact import Artifact
    from .monitor import (
        SmolLM3Monitor,
        get_monitor,
        log_checkpoint,
        log_evaluation_results,
        set_monitor,
    )

__all__ = [
    "Api",
    "Array",
    "Artifact",
    "Config",
    "Histogram",
    "Image",
    "JournalDamaged",
    "Marker",
    "Run",
    "SmolLM3Monitor",
    "Table",
    "Trace",
    "TrackioConfig",
    "config",
    "context_vars",
    "finish",
    "freeze",
    "get_experiment_url",
    "get_monitor",
    "init",
    "is_available",
    "log",
    "log_artifact",
    "log_checkpoint",
    "log_config",
    "log_evaluation_results",
    "log_system",
    "set_monitor",
    "sync",
]

#: What few programs use, by its module: imported when it is asked for.
_LATE = {
    "Artifact": "artifact",
    "SmolLM3Monitor": "monitor",
    "get_monitor": "monitor",
    "log_checkpoint": "monitor",
    "log_evaluation_results": "monitor",
    "set_monitor": "monitor",
}


def init(
    project: Any = None,
    name: Any = None,
    *,
    project_name: Any = None,
    experiment_name: Any = None,
    space_id: str | None = None,
    dataset_id: str | None = None,
    resume: str | bool | None = None,
    private: bool | None = None,
    bucket_id: str | None = None,
    config: Any = None,
    auto_log_gpu: bool | None = None,
    gpu_log_interval: float | None = None,
    **ignored: Any,
) -> Run:
    """Begin or continue a run, make it current, and return it. A run that was current is finished.

    `project` (or `project_name`) defaults to `$TRACKIO_PROJECT`, else `huggingface`; `name` (or
    `experiment_name`) may be any text and defaults to a new one. `resume="allow"` continues the latest run
    of that name or begins it; without a name it continues the run that this process finished last, if that
    was in the same project (transformers 5.15 and later ask so for `evaluate()` after `train()`). `"never"`
    always begins a run, `"must"` raises ValueError where there is none. The default is `"allow"` with a
    name and `"never"` without.

    `dataset_id` (else `$TRACKIO_DATASET_REPO`, else `space_id`, as transformers passes it: 5.23.0,
    integrations/integration_utils.py, `TrackioCallback.setup`) names a dataset on the Hugging Face Hub to
    which the run is pushed in the background as well, see `hub`. It is made private unless `private` is
    False. The token is that of the environment or of `hf auth login`. There are no buckets (`bucket_id`).

    `auto_log_gpu` and `gpu_log_interval` (seconds, 10 by default) are for the readings of the machine: by
    default they are taken where NVML shows a GPU. Unknown keywords warn once.

    Raises ValueError for a `resume` that is none of these; OSError only with `TRACKIO_STRICT=1`.
    """
    for keyword in ignored:
        _warn_once(f"init() does not know the keyword {keyword!r}")
    if bucket_id is not None:
        _warn_once("init(): there are no buckets here; `dataset_id` names a dataset to push to")
    project = project_name if project is None else project
    run = _session.start(project, experiment_name if name is None else name, resume)
    if config is not None:
        run.config.update(config)
    _system.start(run, auto_log_gpu, gpu_log_interval)
    if dataset_id or space_id or _os.environ.get("TRACKIO_DATASET_REPO"):
        from . import hub

        if (repo := hub.named(dataset_id, space_id)) is not None:
            hub.attach(run, repo, private)
    return run


def log(metrics: Any, step: Any = None, **ignored: Any) -> None:
    """Keep `metrics` at `step` in the current run; see `Run.log`. After `finish` the finished run goes on.

    Before any `init` the values are kept too, and belong to the run that the first `init` begins.
    """
    _session.current().log(metrics, step, **ignored)


def finish() -> None:
    """Finish the current run; without one, do nothing. See `Run.finish`."""
    if (run := _session.active()) is not None:
        run.finish()


def log_config(values: Any = None, **more: Any) -> None:
    """Set keys of the configuration: `config.update`."""
    config.update(values, **more)


def log_system(metrics: Any = None) -> None:
    """Keep a reading of the machine in the current run: `metrics`, or one taken now; see `Run.log_system`."""
    _session.current().log_system(metrics)


def log_artifact(artifact: Any, name: str | None = None, type: str | None = None, **more: Any) -> Any:
    """Keep files in the current run; see `Run.log_artifact`."""
    return _session.current().log_artifact(artifact, name, type, **more)


def get_experiment_url() -> str | None:
    """Return the `file:` address of the folder of the current or last run, None if there is none."""
    import pathlib

    run = _session.active() or _session.last()
    return None if run is None or run.folder is None else pathlib.Path(run.folder).as_uri()


def is_available() -> bool:
    """Tell that runs can be tracked: always true, a folder is all it takes."""
    return True


def sync(
    project: Any = None,
    *,
    space_id: str | None = None,
    dataset_id: str | None = None,
    private: bool | None = None,
    sdk: str | None = None,
    **ignored: Any,
) -> str | None:
    """Push the project's runs to a dataset now, and return its id; None, after one warning, where that does
    not work.

    The dataset is that of the run, else `dataset_id`, `$TRACKIO_DATASET_REPO`, or the one called `space_id`.
    With `sdk="static"` a static Space of the same name points to it, because transformers links to that
    (5.23.0, integrations/integration_utils.py, `on_push_begin`). See `hub.sync`.
    """
    from . import hub

    return hub.sync(project, hub.named(dataset_id, space_id), private, space=sdk == "static")


def freeze(
    space_id: str | None = None,
    project: Any = None,
    new_space_id: str | None = None,
    private: bool | None = None,
    **ignored: Any,
) -> str | None:
    """Do what `sync` does with a Space, to the dataset `new_space_id`, else `space_id`.

    transformers calls it so (5.23.0, integrations/integration_utils.py, `_freeze_space`).
    """
    from . import hub

    repo = hub.named(None, new_space_id or space_id)
    return hub.sync(project, repo, private, space=True, what="freeze")


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if (module := _LATE.get(name)) is not None:
        return getattr(import_module(f"{__name__}.{module}"), name)
    if name == "wandb":  # `trackio.wandb.install()` after a bare `import trackio`
        return import_module(f"{__name__}.wandb")
    # transformers compares it with 0.21.1 (5.23.0, `_freeze_space`). Looked up late: importlib.metadata is
    # slow to import.
    if name == "__version__":
        from importlib.metadata import version

        return version("trackio")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
