"""Which run is current: in this context, in this process; `init`, and what a fork does to it all.

The context comes first, the process second. TRL logs from daemon threads under a copied context (1.16.0,
experimental/async_grpo/async_grpo_trainer.py), whose values belong to the run that was current when it was
copied; a thread without a copied context knows no run and means the process's.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from . import config as configuration
from . import context_vars, hooks
from .flush import FLUSHER
from .paths import root
from .run import Run

RESUME = {"allow": "allow", "auto": "allow", True: "allow", "must": "must", "never": "never", False: "never"}

_lock = threading.RLock()
_runs: dict[str, Run] = {}
_current: Run | None = None
_last: Run | None = None
_provisional: Run | None = None
#: Whose configuration `trackio.config` shows.
_shown: Run | None = None


def forget(run: Run) -> None:
    """Make `run`, which has finished, the last one instead of the current one."""
    global _current, _last
    with _lock:
        if _current is run:
            _current = None
        _last = run
    if context_vars.current_run.get() is run:
        context_vars.current_run.set(None)


def _become(run: Run) -> None:
    global _current
    _current = run
    context_vars.current_run.set(run)
    context_vars.current_project.set(run.project)
    context_vars.current_space_id.set(None)


def current() -> Run:
    """Return the run that `log` writes to: this context's, else the process's, else the last finished, else
    a new one.
    """
    global _current, _provisional
    run = context_vars.current_run.get() or _current
    if run is not None:
        return run._successor or run
    with _lock:
        if _last is not None:
            _current = _last  # so that `finish` finds it
            return _last
        if _provisional is None:
            # TRL profiles and logs tables without asking for a run (1.16.0, extras/profiling.py,
            # `_log_metrics`), also before the callback's init. What comes early is kept here, and moves to
            # the run that init makes.
            _provisional = start(None, generated_name(), "never")
        return _provisional


def active() -> Run | None:
    """Return the run of this context, or else of the process; None between `finish` and `init`."""
    return context_vars.current_run.get() or _current


def last() -> Run | None:
    """Return the run that was finished last and that `log` would continue."""
    return _last


def generated_name() -> str:
    """Return a name that no other run has: the time (UTC) and six random hex digits."""
    return f"run-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.urandom(3).hex()}"


def _text(name: Any) -> str:
    if isinstance(name, str):
        return str.__str__(name)
    return os.fsdecode(name) if isinstance(name, (bytes, os.PathLike)) else str(name)


def _named(name: Any) -> str:
    # The name that `TrackioConfig` says: the origin's callers set it and call `init` without any.
    return (os.environ.get("EXPERIMENT_NAME") or generated_name()) if name is None else _text(name)


def project_name(project: Any) -> str:
    """Return a project's name as text; for None the default one's."""
    return _text((os.environ.get("TRACKIO_PROJECT") or "huggingface") if project is None else project)


def start(project: Any, name: Any, resume: Any, *, top: str | None = None, run_id: str | None = None) -> Run:
    """Return the run of that identity, current and open; the module's `init` says what the arguments mean.

    `top` is the root folder, by default `$TRACKIO_DIR`; `run_id` the id of a run of that name to continue.
    """
    global _provisional, _last
    if resume is not None and resume not in RESUME:
        raise ValueError(f"resume is {resume!r}; it may be 'allow', 'must' or 'never'")
    top = top or root()
    with _lock:
        how = RESUME[resume] if resume is not None else ("allow" if name is not None else "never")
        how, project = run_id or how, project_name(project)
        early, previous = _provisional, active()
        if previous is not None and previous is not early:
            previous.finish()
        again = _last if name is None and how != "never" else None
        if again is not None and (again._top, again.project) == (top, project):
            run = again
        else:
            run = _find(top, project, _named(name), how)
        if early is not None:
            _provisional = None
            run._adopt(early)
            if early._journal is not None:
                early.finish()
        _configure(run)
        _become(run)
        _last = None
        hooks.install()
        try:
            run._open()
            run._late = False
        except OSError as error:
            run._fail(error, dropped=0)
        return run


def _find(top: str, project: str, name: str, how: str) -> Run:
    """Return this process's run of that identity, or a new one. Raises ValueError for `must`."""
    run = Run(top, project, name, how)
    try:
        there = run._begin()
    except OSError as error:
        run._fail(error, dropped=0)
        return run
    folder = str(run._folder)
    if not there:
        _runs[folder] = run
    # One writer per process and run: two would be two files and two ideas of the last step.
    return _runs.setdefault(folder, run)


def _configure(run: Run) -> None:
    """Point `trackio.config` at `run`; the run it showed before keeps its own."""
    global _shown
    if _shown is run:
        return
    early: dict[Any, Any] = {}
    if _shown is None:
        early = configuration.CONFIG.as_dict()
    else:
        _shown.config = configuration.Config(_shown._settings, _shown._write_config)
    configuration.bind(run._settings, run._write_config)
    run.config = configuration.CONFIG
    _shown = run
    if early:
        run.config.update(early)


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()
    FLUSHER.reset()
    hooks.OPEN.clear()
    for run in {*_runs.values(), *filter(None, (_current, _last, _provisional))}:
        run._forked()
    hooks.after_fork()


os.register_at_fork(before=hooks.before_fork, after_in_parent=hooks.after_fork, after_in_child=_after_fork)
