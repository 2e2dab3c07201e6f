"""Where things lie: the root folder, the folder keys of projects and runs, and `run.json`.

Names never become paths: a project or a run may be called `../x`, `CON`, an emoji, or 4 kB of text. A key
is a readable slug and eight hex digits of the name's SHA-256; the name itself is in `run.json`, which is
created once and never changed.
"""

from __future__ import annotations

import errno
import os
import re
import time
from contextlib import suppress
from typing import Any

import orjson

from .values import Decoder, Encoder

RUN_FILE = "run.json"


def root() -> str:
    """Return the absolute root folder: `$TRACKIO_DIR`, or `trackio-reference` in Hugging Face's cache. Read
    at each use.
    """
    folder = os.environ.get("TRACKIO_DIR")
    if not folder:
        cache = os.environ.get("HF_HOME") or os.path.join("~", ".cache", "huggingface")
        folder = os.path.join(cache, "trackio-reference")
    return os.path.abspath(os.path.expanduser(folder))


def key(name: str) -> str:
    """Return the folder key of a name."""
    from hashlib import sha256  # 5 ms, and not every import of trackio makes a run

    slug = re.sub(r"[^a-z0-9]+", "-", name[:200].lower()).strip("-")[:40].rstrip("-")
    digest = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{slug or 'x'}-{digest}"


def make_folder(path: str) -> None:
    """Create `path` and its parents, readable by their owner alone. Raises OSError."""
    if not os.path.isdir(path):
        parent = os.path.dirname(path)
        if parent != path:
            make_folder(parent)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            if not os.path.isdir(path):
                raise


def write_once(path: str, data: bytes) -> None:
    """Create the file `path` with all of `data`, or not at all. Raises FileExistsError if it is there."""
    draft = f"{path}.{os.getpid()}-{time.time_ns():x}"
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        # A link is as exclusive as O_EXCL, and nobody ever sees half a file.
        os.link(draft, path)
    finally:
        os.unlink(draft)


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def read_info(folder: str) -> dict[str, Any] | None:
    """Return what `run.json` says (`project`, `name`, `id`, `created` in nanoseconds since 1970), None
    without one.
    """
    try:
        with open(os.path.join(folder, RUN_FILE), "rb") as file:
            info = Decoder()(orjson.loads(file.read()))
    except (FileNotFoundError, NotADirectoryError, orjson.JSONDecodeError):
        return None
    return info if isinstance(info, dict) and {"project", "name", "id"} <= info.keys() else None


def _numbered(folder: str, base: str) -> list[tuple[int, str]]:
    """Return the run folders of one key, `base`, `base-2`, `base-3`, … with their numbers, in order."""
    found = []
    for entry in os.listdir(folder):
        if entry == base:
            found.append((1, entry))
        elif entry.startswith(base + "-") and entry[len(base) + 1 :].isdigit():
            found.append((int(entry[len(base) + 1 :]), entry))
    return sorted(found)


def claim(top: str, project: str, name: str, resume: str, created: int | None = None) -> tuple[str, bool]:
    """Return the folder of the run `name` of `project` below `top`, and whether the run was there before.

    `resume` is `allow` (continue the latest run of that name, else begin it), `must` (raises ValueError if
    there is none), `never` (always begin a new one, in a folder of its own), or the id of a run that is there
    (continue that one). Several processes may ask at the same time: with `allow` they meet in one folder,
    with `never` in none. `created` is in nanoseconds since 1970, by default now. Raises OSError.
    """
    parent = os.path.join(top, key(project))
    base = key(name)
    present = _numbered(parent, base) if os.path.isdir(parent) else []
    if resume != "never":
        for _, entry in reversed(present):
            mine = resume in ("allow", "must", entry)
            if mine and _is(read_info(os.path.join(parent, entry)), project, name):
                return os.path.join(parent, entry), True
        if resume == "must":
            raise ValueError(f"resume='must', but project {project!r} has no run {name!r}")
    number = 1
    while True:
        run_id = base if number == 1 else f"{base}-{number}"
        folder = os.path.join(parent, run_id)
        if os.path.exists(os.path.join(folder, RUN_FILE)):
            if resume != "never" and _is(read_info(folder), project, name):
                return folder, True  # another process was first
            number += 1
            continue
        make_folder(folder)
        info = {"project": project, "name": name, "id": run_id, "created": created or time.time_ns()}
        try:
            write_once(os.path.join(folder, RUN_FILE), orjson.dumps(Encoder()(info)))
        except FileExistsError:
            continue
        return folder, False


def _is(info: dict[str, Any] | None, project: str, name: str) -> bool:
    # Eight digits may collide; the names decide.
    return info is not None and info["project"] == project and info["name"] == name


def store_file(folder: str, data: bytes) -> str:
    """Keep `data` as `files/<sha256>` in a run's folder, once, and return the digest. Raises OSError."""
    from hashlib import sha256

    digest = sha256(data).hexdigest()
    path = os.path.join(folder, "files", digest)
    if not os.path.exists(path):
        make_folder(os.path.dirname(path))
        with suppress(FileExistsError):
            write_once(path, data)
    return digest


def load_file(folder: str, digest: str) -> bytes:
    """Return what `store_file` kept. Raises OSError if it is gone or damaged."""
    from hashlib import sha256

    with open(os.path.join(folder, "files", os.path.basename(digest)), "rb") as file:
        data = file.read()
    if sha256(data).hexdigest() != digest:
        raise OSError(errno.EIO, "the contents are not those its name says", file.name)
    return data
