"""A run: its identity, the step rule, `log` and `finish`.

`log` encodes and writes, nothing else; whatever goes wrong in it is counted in `health()` and does not
reach the training, unless `TRACKIO_STRICT=1`. A finished run is not dead: `log` on it goes on writing,
because transformers 4.54 - 5.14 log evaluations after `finish`, and 5.15 and later `init(name=None,
resume="allow")` again (`TrackioCallback.on_train_end`).
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson

from . import hooks, system
from .config import CONFIG, Config
from .flush import FLUSHER
from .journal import Journal, latest
from .paths import RUN_FILE, claim, make_folder, store_file, write_once
from .values import Decoder, decode_mapping, encode_mapping

if TYPE_CHECKING:
    from .artifact import Artifact
    from .hub.background import Background

_warned: set[str] = set()


def warn_once(text: str) -> None:
    """Warn, once per text and process; never raise, even where warnings are errors."""
    if text not in _warned:
        _warned.add(text)
        try:
            warnings.warn(f"trackio: {text}", UserWarning, stacklevel=4)
        except UserWarning as warning:
            print(warning, file=sys.stderr)


def _strict() -> bool:
    return os.environ.get("TRACKIO_STRICT", "") not in ("", "0")


class Run:
    """One run. Made by `init`; `str(run)` is its id. Every method may be called from any thread."""

    #: The Hugging Face Space that shows this run; TRL reads it (1.16.0, trainer/utils.py,
    #: `get_trackio_space_url`).
    _space_id: str | None = None

    def __init__(self, top: str, project: str, name: str, resume: str) -> None:
        self.project = project
        self.name = name
        self._top, self._resume = top, resume
        self._lock = threading.RLock()
        self._folder: str | None = None
        self._journal: Journal | None = None
        self._parent: int | None = None
        self._successor: Run | None = None
        self._step: Any = None
        self._written = self._dropped = self._unsampled = 0
        self._last_error: str | None = None
        self._outcome = "finished"
        self._finished = False
        self._late = False
        #: What pushes this run to a dataset; None where nobody asked for that.
        self._pushing: Background | None = None
        #: The configuration: `trackio.config` while this is the latest run, then an object of its own.
        self.config: Config = CONFIG
        self._settings: dict[Any, Any] = {}
        #: What `run.json` says.
        self._identity = b""

    # -- identity
    # ----------------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The run's id: the name of its folder. Empty if no folder could be made so far."""
        return os.path.basename(self._folder or "")

    @property
    def folder(self) -> str | None:
        """Where the run is kept; None if no folder could be made so far."""
        return self._folder

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"<trackio.Run {self.name!r} of project {self.project!r}>"

    def _begin(self) -> bool:
        """Find or make the folder, take up what a continued run has, and tell whether it was there.

        Raises OSError; ValueError for `must`.
        """
        self._folder, there = claim(self._top, self.project, self.name, self._resume)
        with open(os.path.join(self._folder, RUN_FILE), "rb") as file:
            self._identity = file.read()
        if there:
            decode = Decoder()
            changes, self._step = latest(self._folder)
            for body in changes:
                self._settings.update(decode_mapping(body, decode))
        return there

    def _found(self) -> None:
        """Make the folder and its `run.json`, unless they are there: somebody may delete them at any time.
        Raises OSError.
        """
        assert self._folder is not None
        make_folder(self._folder)
        path = os.path.join(self._folder, RUN_FILE)
        if not os.path.exists(path):
            with suppress(FileExistsError):
                write_once(path, self._identity)

    def _open(self) -> Journal:
        """Return the journal, opened, in a folder that is there. Raises OSError."""
        with self._lock:
            if self._folder is None:
                self._begin()
                assert self._folder is not None
            journal = self._journal
            if journal is not None and self._finished and not os.path.exists(journal.path):
                self._journal = None  # somebody deleted the folder of a finished run
            if self._journal is None:
                self._journal = Journal(self._folder, FLUSHER.touch, self._parent, self._found)
                hooks.OPEN.add(self)
            elif self._finished:
                # Nobody may finish it a second time, so what comes late is brought to the disk at once, and
                # no thread is started for it.
                self._late = True
                self._journal.append(b"status", b"null", b'"running"', sync=True)
                hooks.OPEN.add(self)
                if self._pushing is not None:
                    self._pushing.start()
            self._finished = False
            return self._journal

    # -- logging
    # -----------------------------------------------------------------------------------------------------

    def log(self, metrics: Any, step: Any = None, **ignored: Any) -> None:
        """Keep `metrics`, a dict of anything, at `step`.

        The step is `step`; else `train/global_step` or `global_step` of `metrics`; else the last one known
        to this run; else None. It never counts by itself. Equal and falling steps are kept as they come.
        Nothing of `metrics` is changed, or referred to after the return. Raises nothing, unless
        `TRACKIO_STRICT=1`: then OSError, TypeError.
        """
        try:
            if ignored:
                for name in ignored:
                    warn_once(f"log() does not know the keyword {name!r}")
            # A copy: another thread may change the dict while it is being encoded.
            values = dict(metrics)
            if step is None:
                step = values.get("train/global_step")
                if step is None:
                    step = values.get("global_step")
            if type(step) is not int or not -(2**63) <= step < 2**63:
                step = self._step if step is None else self._known(step)
            self._step = step
            journal = self._journal
            if journal is None or self._finished:
                journal = self._open()
            body = encode_mapping(values, self._store)
            journal.append(b"log", b"null" if step is None else b"%d" % step, body, self._late)
            self._written += 1
        except Exception as error:
            self._fail(error)

    def log_artifact(
        self,
        artifact_or_path: Any,
        name: Any = None,
        type: Any = None,
        aliases: Any = None,
        metadata: Any = None,
        *,
        link: bool | None = None,
        progress: Callable[[int, int], object] | None = None,
        **ignored: Any,
    ) -> Artifact:
        """Keep an `Artifact`, a file, a folder, or a dict (as `config.json`), and return the artifact.

        It is stored on return: what was given may be deleted. Its contents are kept once, by digest, and the
        record follows when all of them are on the disk. Each call makes the next version of `name` (by
        default that of the file or folder) in this run. `aliases` is a text or several; `latest` needs not
        be given. `metadata` is added to the artifact's own.

        Contents are copied, as a reflink where the file system can. `link`: True makes hard links, which
        take neither time nor space; but whoever later rewrites such a file in place changes what is stored,
        which `verify` finds and nothing can undo. None does so for files of 1 MiB and more below a folder
        `checkpoint-<step>`, which transformers writes once (5.23.0, trainer.py, `_save_checkpoint`); False
        for none.

        `progress(done_bytes, total_bytes)` is called if it takes more than two seconds. Raises nothing,
        unless `TRACKIO_STRICT=1`: then OSError, TypeError, ValueError. Not kept, the artifact has no
        `version`, and `health` counts it.
        """
        from .artifact_log import log_artifact

        for keyword in ignored:
            warn_once(f"log_artifact() does not know the keyword {keyword!r}")
        return log_artifact(
            self, artifact_or_path, name, type, aliases, metadata, link=link, progress=progress
        )

    def log_checkpoint(
        self,
        path: Any,
        step: Any = None,
        metadata: Any = None,
        *,
        progress: Callable[[int, int], object] | None = None,
    ) -> Artifact:
        """Keep a checkpoint, a folder or a file, as the next version of the artifact `checkpoint`, of type
        `model`, with the alias `step-<step>`.

        The step is `step`; else the one in a folder's name `checkpoint-<step>`; else the last known one. See
        `log_artifact`.
        """
        from .artifact_log import log_checkpoint

        return log_checkpoint(self, path, step, metadata, progress)

    def log_system(self, metrics: Any = None) -> None:
        """Keep `metrics`, a dict, as a reading of the system, which has no step; by default one taken now.

        `system.sample` says what that holds. Raises nothing, unless `TRACKIO_STRICT=1`: then OSError,
        TypeError.
        """
        try:
            values = system.sample() if metrics is None else dict(metrics)
            if self._journal is None or self._finished:
                self._open()
            self._log_system(values)
            self._written += 1
        except Exception as error:
            self._fail(error)

    def _log_system(self, values: dict[Any, Any]) -> None:
        """Keep a reading, if the run is open. Raises OSError."""
        journal = self._journal
        if journal is not None and not self._finished:
            journal.append(b"sys", b"null", encode_mapping(values, self._store), self._late)

    def _known(self, step: Any) -> int | None:
        """Return `step` as an int; the last known one if it is none: transformers and TRL pass ints, others
        tensors.
        """
        try:
            number = int(step)
            if number == step and -(2**63) <= number < 2**63:
                return number
        except Exception:  # whatever an object does when it is asked for a number
            pass
        warn_once(
            f"a step of type {type(step).__name__} is no 64-bit whole number; the last known step is used"
        )
        return self._step  # type: ignore[no-any-return]

    def _store(self, data: bytes) -> str:
        assert self._folder is not None
        return store_file(self._folder, data)

    def _write_config(self, changes: dict[Any, Any] | Exception) -> None:
        try:
            if isinstance(changes, Exception):
                raise changes
            journal = self._open()
            journal.append(b"cfg", b"null", encode_mapping(changes, self._store), self._late)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception, dropped: int = 1) -> None:
        self._dropped += dropped
        self._last_error = f"{type(error).__name__}: {error}"
        if _strict():
            raise error

    def health(self) -> dict[str, Any]:
        """Return `written` and `dropped` (calls that were kept and that were not), `unsynced` (records a
        power failure could take) and `last_error` (text or None), of this process; `unsampled` (readings
        of the system that lack a GPU) if there are any; `push_error`, why the latest push to a dataset
        failed, if it did.
        """
        unsynced = self._journal.unsynced if self._journal else 0
        error = self._last_error or FLUSHER.last_error
        lacking: dict[str, Any] = {"unsampled": self._unsampled} if self._unsampled else {}
        if self._pushing is not None and self._pushing.last_error is not None:
            lacking["push_error"] = self._pushing.last_error
        kept = {"written": self._written, "dropped": self._dropped, "unsynced": unsynced}
        return {**kept, **lacking, "last_error": error}

    # -- the end
    # -----------------------------------------------------------------------------------------------------

    def finish(self, status: str | None = None) -> None:
        """Write the status, `finished` unless the process is failing, and bring everything to the disk.

        Again is harmless, and `log` may follow. Raises nothing, unless `TRACKIO_STRICT=1`: then OSError.
        """
        from . import session

        system.stop(self)
        with self._lock:
            journal, was = self._journal, self._finished
            self._finished = True
            hooks.OPEN.discard(self)
            try:
                if journal is not None and not was:
                    journal.append(b"status", b"null", orjson.dumps(status or "finished"))
                    journal.close()
            except Exception as error:
                self._fail(error)
            finally:
                if not hooks.OPEN:
                    FLUSHER.stop()
                session.forget(self)
                if self._dropped and not was:
                    self._report()
        if self._pushing is not None and not was:
            self._pushing.stop()

    def _report(self) -> None:
        text = f"trackio: {self._dropped} of {self._dropped + self._written} calls were not kept"
        print(f"{text} (run {self.name!r:.100}; last error: {self._last_error})", file=sys.stderr)

    def _mark(self, status: str) -> None:
        """Write `status` at once, from a hook; the process may be at its end, or may go on."""
        self._outcome = status
        if self._journal is not None and not self._journal.closed:
            self._journal.append(b"status", b"null", orjson.dumps(status), sync=True)

    def _forked(self) -> None:
        """In a forked child: let go of the parent's journal; the first `log` opens one of the child's own."""
        self._lock = threading.RLock()
        if self._journal is not None:
            self._journal.abandon()
            self._journal = None
        self._parent, self._pushing = os.getppid(), None  # the parent pushes what this process writes, too
        self._written = self._dropped = self._unsampled = 0
        self._last_error = None
        self._finished = False

    def _adopt(self, other: Run) -> None:
        """Take over the journal of a run that `log` made before any `init`; if that fails, it stays a run
        of its own.
        """
        with other._lock, self._lock:
            journal, folder = other._journal, other._folder
            if journal is None or folder is None or self._folder is None:
                return
            if other._finished or other._top != self._top:
                return
            try:
                files = os.path.join(folder, "files")
                if os.path.isdir(files):
                    make_folder(os.path.join(self._folder, "files"))
                    for name in os.listdir(files):
                        os.rename(os.path.join(files, name), os.path.join(self._folder, "files", name))
                    os.rmdir(files)
                journal.move(self._folder)
                journal.found = self._found
            except OSError:
                return
            hooks.OPEN.discard(other)
            hooks.OPEN.add(self)
            other._journal, self._journal = None, journal
            # Contexts that were copied meanwhile still hold the other.
            other._successor = self
            self._settings.update(other._settings)
            self._step, self._last_error = other._step, other._last_error
            self._written += other._written
            self._dropped += other._dropped
            with suppress(OSError):  # the project's folder may well hold other runs
                os.unlink(os.path.join(folder, RUN_FILE))
                os.rmdir(folder)
                os.rmdir(os.path.dirname(folder))
