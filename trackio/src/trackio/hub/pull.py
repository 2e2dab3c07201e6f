"""A dataset's runs back into a folder, as they were: the same journals, byte for byte, and the same files.

A run that is here already gets the records it lacks; nothing that is here is changed or deleted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, NamedTuple
from zlib import crc32

import orjson

from ..api import Api, _alive
from ..content import is_digest, settle, take
from ..journal import ends
from ..lines import lines, parse
from ..paths import claim, write_all
from ..values import Decoder
from ..verify import _references
from .remote import Listing, Remote
from .shards import Shard, read, records, shard_of
from .spool import Ledger, Mark

Tell = Callable[[str], None]


class Pulled(NamedTuple):
    """What became of a run: `project`, `name`, its `folder`, and how many `records` and `files` came in."""

    project: str
    name: str
    folder: str
    records: int
    files: int


def pull(remote: Remote, root: str, project: str | None = None, tell: Tell = print) -> list[Pulled]:
    """Bring the runs of a dataset, or of one of its projects, into the folder `root`.

    Raises HubError, OSError; ValueError for a shard that is none. What came in until then stays.
    """
    base = remote.look(create=False)
    shards = [shard for path in base.paths if (shard := shard_of(path)) is not None]
    top = _fetch(remote, base, [shard.path for shard in shards if shard.table == "runs"])
    runs: dict[str, list[Shard]] = {}
    for shard in sorted(shards):
        runs.setdefault(shard.run, []).append(shard)
    found = []
    for run, its in runs.items():
        info = _info(top, its)
        if info is None:
            tell(f"nothing in the dataset says what run {run} is; it is left out")
        elif project is None or info["project"] == project:
            found.append(_run(remote, base, root, info, its, tell))
    return found


def _fetch(remote: Remote, base: Listing, paths: Iterable[str]) -> str:
    return remote.download(base, sorted(paths))


def _info(top: str, shards: list[Shard]) -> dict[str, Any] | None:
    for shard in shards:
        if shard.table == "runs":
            for row in read("runs", os.path.join(top, shard.path)):
                info = Decoder()(orjson.loads(row["run"]))
                if isinstance(info, dict) and {"project", "name"} <= info.keys():
                    return info
    return None


def _run(
    remote: Remote, base: Listing, root: str, info: dict[str, Any], shards: list[Shard], tell: Tell
) -> Pulled:
    top = _fetch(remote, base, (shard.path for shard in shards))
    folder = _folder(root, info)
    ledger, count, wanted = Ledger(folder), 0, set()
    for writer in dict.fromkeys(shard.writer for shard in shards):
        if "/" in writer or writer.startswith("."):
            tell(f"{writer!r} is no writer's name; it is left out")
            continue
        parts = [
            (shard.table, read(shard.table, os.path.join(top, shard.path)))
            for shard in shards
            if shard.writer == writer
        ]
        there: dict[int, bytes] = {}
        for sequence, moment, kind, step, body in records(parts):
            there[sequence] = _line(sequence, moment, kind, step, body)
            wanted.update(_digests(kind, orjson.loads(body)))
        path = os.path.join(folder, f"w-{writer}.jsonl")
        came = _merge(path, there)
        count += came
        if came:
            end = os.stat(path).st_size
            # How much of it is in the tables, a push finds out.
            ledger.entry(remote.repo)["writers"][writer] = list(Mark(end, max(there) + 1, 0))
    files = _files(remote, base, folder, wanted)
    ledger.entry(remote.repo)
    ledger.save()
    return Pulled(info["project"], info["name"], folder, count, files)


def _folder(root: str, info: dict[str, Any]) -> str:
    for run in Api(root).runs(info["project"]):
        if (run.name, run.created) == (info["name"], info.get("created", 0)):
            return run.folder
    return claim(root, info["project"], info["name"], "never", info.get("created"))[0]


def _line(sequence: int, moment: int, kind: str, step: int | None, body: bytes) -> bytes:
    line = b'[%d,%d,"%b",%b,%b' % (
        sequence, moment, kind.encode(), b"null" if step is None else b"%d" % step, body
    )  # fmt: skip
    return line + b",%d]\n" % crc32(line)


def _merge(path: str, there: dict[int, bytes]) -> int:
    """Write the journal `path` with the records that it lacks; return how many. Raises OSError."""
    here: dict[int, bytes] = {}
    if os.path.exists(path):
        for line in lines(path):
            with suppress(ValueError):
                here[parse(line)[0][0]] = line
    lacking = there.keys() - here.keys()
    if not lacking or (here and _alive(ends(path)[0], path)):
        return 0  # its writer is at work, and has all there is
    merged = {**there, **here}
    draft = f"{path}.{os.getpid()}-{time.time_ns():x}"
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            write_all(fd, b"".join(merged[sequence] for sequence in sorted(merged)))
            os.fsync(fd)
        finally:
            os.close(fd)
        # How long a writer has been silent is read from its journal; see `api.py`.
        moment = parse(merged[max(merged)])[0][1]
        os.utime(draft, ns=(moment, moment))
        os.replace(draft, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(draft)
    return len(lacking)


def _digests(kind: str, body: Any) -> set[str]:
    found = {str(digest) for digest in _references(body)}
    if kind == "file":
        with suppress(LookupError, TypeError):
            found.update(str(file["sha256"]) for file in body["files"])
    return set(filter(is_digest, found))


def _files(remote: Remote, base: Listing, folder: str, wanted: set[str]) -> int:
    place = os.path.join(folder, "files")
    lacking = {digest for digest in wanted if not os.path.exists(os.path.join(place, digest))}
    coming = sorted(digest for digest in lacking if f"files/{digest}" in base.paths)
    if not coming:
        return 0
    top = _fetch(remote, base, (f"files/{digest}" for digest in coming))
    for digest in coming:
        take(os.path.join(top, "files", digest), os.path.join(place, digest), digest)
    settle(folder)
    return len(coming)
