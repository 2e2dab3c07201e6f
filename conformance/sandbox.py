"""A warm parent and one forked child per run: whatever a tracker does, it does it in a process of its own.

Importing TRL takes some fifteen seconds, a tiny training one. So one parent process imports TRL once, with the
tracker's environment already set and no run open, and forks a child for every live run, replay and read-back. Each
child has its own working directory, environment, session, time limit and captured output; a tracker that hangs, kills
the process or leaves daemons behind is a result (`Outcome`), not the end of the suite.

The pytest process talks to the parent over a pipe. Needs `os.fork` (Linux, macOS).
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, Literal

#: Seconds: for the parent to import TRL and the trackers that TRL imports; for a child, unless its job says otherwise.
#: A slow machine may need more for a child, a test of hanging trackers wants less: TRL_CONFORMANCE_LIMIT, in seconds.
START_LIMIT = 300.0
JOB_LIMIT = float(os.environ.get("TRL_CONFORMANCE_LIMIT") or 120)
#: Seconds that a child's own children get to finish (a tracker's service writing its last file) before they are killed.
GRACE = 10.0

#: Set in every parent. No network, no progress bars, one thread; the Hub's client never asks outside.
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_XET": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "TRL_EXPERIMENTAL_SILENCE": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "OMP_NUM_THREADS": "1",
    "PYTHONSAFEPATH": "1",
    "PYTHONHASHSEED": "0",
}


@dataclass(frozen=True)
class Outcome:
    """How one child ended.

    `state` is `ok` (with `value`), `raised` (with `error`), `hung` (over its time limit) or `died` (without an answer;
    `error` says by which signal or exit code). `output` is the end of what it printed, `seconds` its wall time,
    `folder` the job's own folder with its working directory `cwd`.
    """

    state: Literal["ok", "raised", "hung", "died"]
    value: Any = None
    error: str = ""
    trace: str = ""
    output: str = ""
    seconds: float = 0.0
    folder: Path | None = None


@dataclass(frozen=True)
class Job:
    """One call of `module:function(**arguments)` in a child of the warm parent."""

    function: str
    arguments: Mapping[str, Any]
    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)
    limit: float = JOB_LIMIT


class SandboxError(RuntimeError):
    """The warm parent itself could not start or went away: nothing can be tested."""


class Sandbox:
    """The pytest process's side: `Sandbox(env).run("module:function", …)`; a context manager.

    `env` stands before anything is imported, `preload` are functions `module:function` whose results are `self.facts`.
    """

    def __init__(self, env: Mapping[str, str], preload: str, folder: Path) -> None:
        self._folder = folder
        self._pipe, theirs = Pipe()
        self._number = 0
        for name in ("cwd", "tmp"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self._log = folder / "parent.log"
        started = time.monotonic()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"from conformance.sandbox import serve; serve({theirs.fileno()}, {preload!r})"],
                env={**os.environ, **ENVIRONMENT, "TMPDIR": str(folder / "tmp"), **env},
                cwd=folder / "cwd",  # empty: with -c the working directory is on the path of what is imported
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
            )
        theirs.close()
        self.facts = self._receive(START_LIMIT)
        self.seconds = time.monotonic() - started
        if isinstance(self.facts, Outcome):
            self.close()
            raise SandboxError(f"{self.facts.error}\n{self.facts.trace or self._tail()}")

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-4000:]

    def _receive(self, limit: float) -> Any:
        try:
            if self._pipe.poll(limit):
                return self._pipe.recv()
            error = f"the warm parent did not answer within {limit:.0f} s"
        except (EOFError, ConnectionError):
            error = f"the warm parent went away (exit code {self._process.wait(5)})"
        return Outcome("died", error=error)

    def run(
        self, function: str, *, env: Mapping[str, str] | None = None, limit: float = JOB_LIMIT, **arguments: Any
    ) -> Outcome:
        """Run `module:function(**arguments)` in a fresh child and return how it ended. Raises SandboxError."""
        self._number += 1
        folder = self._folder / f"{self._number:05d}"
        (folder / "cwd").mkdir(parents=True)
        try:
            self._pipe.send(Job(function, arguments, folder, env or {}, limit))
        except (BrokenPipeError, ConnectionError) as error:
            raise SandboxError(f"the warm parent is gone: {error}\n{self._tail()}") from error
        outcome = self._receive(limit + GRACE + 60)
        if not isinstance(outcome, Outcome):
            raise SandboxError(f"the warm parent answered {outcome!r:.200}")
        if outcome.state == "died" and self._process.poll() is not None:
            raise SandboxError(f"{outcome.error}\n{self._tail()}")
        return outcome

    def close(self) -> None:
        """Stop the parent; children are already gone."""
        self._pipe.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# ---- the warm parent -------------------------------------------------------------------------------------------------


def resolve(function: str) -> Any:
    """Return the object named `module:function`."""
    module, _, name = function.partition(":")
    return getattr(importlib.import_module(module), name)


def serve(descriptor: int, preload: str) -> None:
    """Be the warm parent: import, answer with the facts, then fork one child per job until the pipe closes."""
    pipe: Connection[Any, Any] = Connection(descriptor)
    try:
        facts = resolve(preload)()
    except BaseException as error:
        pipe.send(Outcome("raised", error=_text(error), trace=traceback.format_exc()))
        return
    pipe.send(facts)
    # A collection in a child would touch, and so copy, every page of what was imported here.
    gc.collect()
    gc.freeze()
    _keep_torch_libraries()
    # What trackers made at import belongs to this parent, but a child that ends takes it away (wandb registers the
    # removal of its temporary folder with atexit): it is put back for the next one.
    made = [path for path in Path(tempfile.gettempdir()).rglob("*") if path.is_dir()]
    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            return
        outcome = _isolated(job, pipe)
        for path in made:
            path.mkdir(parents=True, exist_ok=True)
        pipe.send(outcome)


def _keep_torch_libraries() -> None:
    """Spare children what torch does at exit: it takes its operators down one by one, 45 ms of a job that takes 100."""
    for finalizer in list(weakref.finalize._registry):  # type: ignore[attr-defined]
        alive = finalizer.peek()
        if alive and getattr(alive[1], "__module__", "").partition(".")[0] == "torch":
            finalizer.atexit = False


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:2000]


def _isolated(job: Job, pipe: Connection[Any, Any]) -> Outcome:
    """Fork, wait for the child and whatever it started, and return its outcome."""
    started = time.monotonic()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        pipe.close()
        _child(job)
    status = _wait(child, started + job.limit)
    if status is None:
        _kill_group(child)
        os.waitpid(child, 0)
    else:
        _wait_group(child, time.monotonic() + GRACE)
        _kill_group(child)
    seconds = time.monotonic() - started
    output = (job.folder / "output.txt").read_text(errors="replace")[-20000:]
    answer = job.folder / "answer.pickle"
    if status is None:
        stacks = f"did not end within {job.limit:.0f} s"
        return Outcome("hung", error=stacks, trace=output[-4000:], output=output, seconds=seconds, folder=job.folder)
    if not answer.exists():
        code = os.waitstatus_to_exitcode(status)
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code} without an answer"
        return Outcome("died", error=how, output=output, seconds=seconds, folder=job.folder)
    state, value, error, trace = pickle.loads(answer.read_bytes())
    return Outcome(state, value, error, trace, output, seconds, job.folder)


def _wait(child: int, deadline: float) -> int | None:
    """Return the child's wait status, None if it is still running at `deadline` (monotonic seconds)."""
    pause = 0.001
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status
        if time.monotonic() > deadline:
            return None
        time.sleep(pause)
        pause = min(pause * 1.5, 0.02)


def _wait_group(group: int, deadline: float) -> None:
    """Let processes that the child left behind (its session) end by themselves until `deadline`."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(0.01)


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


# ---- the child -------------------------------------------------------------------------------------------------------


def _child(job: Job) -> None:
    """Do the job, write the answer, then end as a Python program ends (threads joined, atexit run)."""
    code = 1
    try:
        os.setsid()
        os.chdir(job.folder / "cwd")
        os.environ.update(job.env)
        tempfile.tempdir = None
        output = os.open(job.folder / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        _watch(job.limit)
        answer: tuple[str, Any, str, str]
        try:
            answer = ("ok", resolve(job.function)(**job.arguments), "", "")
        except BaseException as error:
            answer = ("raised", None, _text(error), traceback.format_exc())
        partial = job.folder / "answer.partial"
        partial.write_bytes(pickle.dumps(answer))
        with contextlib.suppress(BaseException):
            threading._shutdown()  # type: ignore[attr-defined]  # what Py_Finalize does first
        with contextlib.suppress(BaseException):
            atexit._run_exitfuncs()
        partial.rename(job.folder / "answer.pickle")
        code = 0
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _watch(limit: float) -> None:
    """Print every thread's stack shortly before the time limit, so that a hang says where."""
    import faulthandler

    faulthandler.dump_traceback_later(max(limit - 2, 0.5), file=2)  # type: ignore[arg-type]
