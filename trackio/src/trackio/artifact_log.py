"""Storing artifacts: contents first, by digest, and then one record that says what they are.

The contents go to `files/<sha256>` of the run's folder. When all of them are in place and on the disk, a
`file` record in the journal says `{name, type, version, digest, aliases, metadata, description, files,
folders, left_out}`, with `{path, sha256, size}` for each file. A process that dies before that leaves
contents that nothing refers to, never half an artifact. The versions of a name are v0, v1, … within its
run; each call makes one, even for equal contents, which then share their files and their digest.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import orjson

from .artifact import LATEST, Artifact, number, within
from .content import Progress, Put, Ticker, put, settle, walk
from .journal import journals
from .lines import parse
from .run import warn_once
from .values import Decoder, Encoder

if TYPE_CHECKING:
    from .run import Run

#: transformers' checkpoint folders (5.23.0, trainer_utils.py, `PREFIX_CHECKPOINT_DIR` and `_re_checkpoint`).
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")

#: Below a checkpoint folder files of so many bytes and more are linked: for small ones a copy costs nothing,
#: and they are the ones that people edit.
LINK_FROM = 1 << 20

#: How many files of an artifact are written at the same time.
THREADS = 8

#: Seconds to wait for other processes that are giving out a version number.
PATIENCE = 10.0


class _Plan:
    """What is to be stored: `files` (path within → path on the disk or bytes), `folders`, `left_out`."""

    def __init__(self, artifact: Artifact) -> None:
        self.files: dict[str, str | bytes] = {}
        self.folders: set[str] = set()
        self.left_out: list[tuple[str, str]] = []
        if artifact._error is not None:
            raise artifact._error
        for kind, name, source in artifact._sources:
            if kind == "folder":
                self.folders.add(within(name))
            elif kind == "dir":
                self._folder("" if not name else within(name) + "/", source)
            else:
                self.files[within(name)] = source if kind == "data" else os.path.realpath(source)
        for path in self.files:
            parent = path
            while parent := parent.rpartition("/")[0]:
                if parent in self.files:
                    raise ValueError(f"{parent!r} is a file, and a folder with {path!r} too")

    def _folder(self, prefix: str, source: str) -> None:
        tree = walk(source)
        self.files.update((prefix + path, file) for path, file in tree.files)
        self.folders.update(prefix + path for path in tree.folders)
        if prefix and not tree.files:
            self.folders.add(prefix.rstrip("/"))
        self.left_out += [(prefix + path, reason) for path, reason in tree.left_out]

    def size(self) -> int:
        sources = self.files.values()
        return sum(len(x) if isinstance(x, bytes) else os.stat(x).st_size for x in sources)


def _links(source: str | bytes, link: bool | None) -> bool:
    if link is not None or isinstance(source, bytes):
        return bool(link)
    parts = os.path.dirname(source).split("/")
    return any(map(_CHECKPOINT.fullmatch, parts)) and os.stat(source).st_size >= LINK_FROM


def _artifact(given: Any, name: Any, type: Any) -> Artifact:
    if isinstance(given, Artifact):
        given.name, given.type = str(name or given.name), str(type or given.type)
        return given
    if isinstance(given, Mapping):
        artifact = Artifact(name or "config", type or "config")
        artifact.add(dict(given), "config.json")
        return artifact
    path = os.path.abspath(os.fsdecode(given))
    artifact = Artifact(name or os.path.basename(path), type or "unspecified")
    if os.path.isdir(path):
        artifact.add_dir(path)
    else:
        artifact.add_file(path)
    return artifact


def log_artifact(
    run: Run,
    given: Any,
    name: Any = None,
    type: Any = None,
    aliases: Any = None,
    metadata: Any = None,
    *,
    step: Any = None,
    link: bool | None = None,
    progress: Progress | None = None,
) -> Artifact:
    """Keep an artifact in `run`; `Run.log_artifact` says what the arguments mean."""
    run = run._successor or run
    artifact = Artifact(name or "artifact", type or "unspecified")
    try:
        artifact = _artifact(given, name, type)
        if metadata is not None:
            artifact.metadata = {**artifact.metadata, **metadata}
        if aliases is not None:
            artifact.aliases = [aliases] if isinstance(aliases, str) else list(map(str, aliases))
        plan = _Plan(artifact)
        if plan.left_out:
            path, reason = plan.left_out[0]
            warn_once(f"{artifact.name!r}: {len(plan.left_out)} left out, the first is {path!r}: {reason}")
        folder = run.folder or os.path.dirname(run._open().path)
        tick = Ticker(progress, plan.size() if progress else 0)
        kept = _put_all(folder, plan, link, tick)
        settle(folder)
        _record(run, folder, artifact, _manifest(run, artifact, plan, kept), step)
        tick.end()
    except Exception as error:
        run._fail(error)
    return artifact


def log_checkpoint(
    run: Run, path: Any, step: Any = None, metadata: Any = None, progress: Progress | None = None
) -> Artifact:
    """Keep a checkpoint in `run`; `Run.log_checkpoint` says what the arguments mean."""
    if step is None and isinstance(path, (str, bytes, os.PathLike)):
        match = _CHECKPOINT.fullmatch(os.path.basename(os.path.abspath(os.fsdecode(path))))
        step = int(match[1]) if match else None
    step = run._step if step is None else run._known(step)
    aliases = [] if step is None else [f"step-{step}"]
    told = {"step": step} if metadata is None else {"step": step, **metadata}
    return log_artifact(run, path, "checkpoint", "model", aliases, told, step=step, progress=progress)


def _put_all(folder: str, plan: _Plan, link: bool | None, tick: Ticker) -> dict[str, Put]:
    """Keep all files, several at a time: a disk brings eight small files to rest in the time of one."""

    def one(path: str) -> Put:
        return put(folder, plan.files[path], _links(plan.files[path], link), tick)

    paths = sorted(plan.files)
    if len(paths) < 2:
        return {path: one(path) for path in paths}
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(THREADS, len(paths)), "trackio-artifact") as pool:
        results: Iterator[Put]
        try:
            results = pool.map(one, paths)
        except RuntimeError:  # no thread starts while the interpreter is going down
            results = map(one, paths)
        return dict(zip(paths, results, strict=True))


def _manifest(run: Run, artifact: Artifact, plan: _Plan, kept: dict[str, Put]) -> dict[str, Any]:
    encode = Encoder()
    files: list[dict[str, Any]] = []
    for path, (sha256, size, link) in kept.items():
        files.append({"path": encode(path), "sha256": sha256, "size": size})
        if link is not None:
            files[-1]["link"] = {"mtime_ns": link[0], "inode": link[1]}
    folders = [encode(path) for path in sorted(plan.folders)]
    contents = [[file["path"], file["sha256"], file["size"]] for file in files]
    return {
        "name": encode(artifact.name),
        "type": encode(artifact.type),
        "version": "",
        "digest": _sha256(orjson.dumps([contents, folders])),
        "aliases": [encode(alias) for alias in dict.fromkeys(artifact.aliases) if alias != LATEST],
        "metadata": Encoder(run._store)(artifact.metadata),
        "description": encode(artifact.description),
        "files": files,
        "folders": folders,
        "left_out": [[encode(path), encode(reason)] for path, reason in plan.left_out],
    }


def _sha256(data: bytes) -> str:
    from hashlib import sha256

    return sha256(data).hexdigest()


def _record(run: Run, folder: str, artifact: Artifact, manifest: dict[str, Any], step: Any) -> None:
    step = run._step if step is None else step
    with _alone(folder):
        manifest["version"] = f"v{_next(folder, manifest['name'])}"
        journal = run._journal
        if journal is None or run._finished:
            journal = run._open()
        if os.path.dirname(journal.path) != folder:
            raise OSError(f"the run moved from {folder} meanwhile; log the artifact again")
        body = orjson.dumps(manifest)
        journal.append(b"file", b"null" if step is None else b"%d" % step, body, run._late)
    run._written += 1
    artifact._show(Decoder()({**manifest, "metadata": None}), folder)


def _next(folder: str, name: Any) -> int:
    """Return the number of the next version of `name`, as it is written."""
    highest = -1
    for path in journals(folder):
        with open(path, "rb") as file:
            for line in file:
                # Only these lines matter, and before the kind there are only digits.
                if line.startswith(b',"file",', line.find(b',"')):
                    try:
                        manifest = parse(line)[0][4]
                        if manifest["name"] == name:
                            highest = max(highest, number(manifest["version"]))
                    except (ValueError, LookupError, TypeError):
                        continue  # reading the run reports it
    return highest + 1


@contextmanager
def _alone(folder: str) -> Iterator[None]:
    """Let one process or thread at a time give out a version number of this run.

    Where there are no locks, or their holder has stopped, it goes on: two artifacts of one version are
    better than a training that waits.
    """
    import fcntl

    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    break
                time.sleep(0.005)
            except OSError:
                break
        yield
    finally:
        with suppress(OSError):
            # A child that was forked meanwhile has the descriptor too, and closing ours would not free it.
            fcntl.flock(fd, fcntl.LOCK_UN)
        os.close(fd)
