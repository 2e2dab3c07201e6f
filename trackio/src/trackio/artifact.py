"""Artifacts: named, versioned sets of files: models, checkpoints, data, configurations.

Here is the object that callers fill and readers get; `artifact_log.py` stores it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

import orjson

from .content import Progress, Ticker, take
from .paths import key
from .values import Encoder

#: The alias that always means the highest version.
LATEST = "latest"


class ArtifactFile:
    """One file of a stored artifact: `path` (within the artifact), `sha256` (hex), `size` (bytes)."""

    __slots__ = ("_stored", "path", "sha256", "size")

    def __init__(self, path: str, sha256: str, size: int, stored: str) -> None:
        self.path, self.sha256, self.size, self._stored = path, sha256, size, stored

    def read(self) -> bytes:
        """Return the content. Raises OSError; ValueError if it is damaged."""
        from hashlib import sha256

        with open(self._stored, "rb") as file:
            data = file.read()
        if sha256(data).hexdigest() != self.sha256:
            raise ValueError(f"the stored content of {self.path!r} is damaged: it does not hash to its name")
        return data

    def download(self, path: str | os.PathLike[str], tick: Ticker | None = None) -> str:
        """Copy the file to `path` and return it. Raises OSError; ValueError if the content is damaged."""
        take(self._stored, os.fspath(path), self.sha256, tick)
        return os.fspath(path)

    def __repr__(self) -> str:
        return f"<trackio.ArtifactFile {self.path!r}, {self.size} bytes>"


class Artifact:
    """A set of files under a name; what `log_artifact` keeps and `StoredRun.artifacts` gives back.

    The shape is wandb's, as transformers uses it (5.23.0, integrations/integration_utils.py,
    `WandbCallback`). `type` is any text, such as `model` or `dataset`; `metadata` a dict of anything. Adding
    checks and reads nothing: it is done in the middle of a training, and what cannot be read is counted when
    the artifact is logged. A path added twice means the later one.

    Once stored, `version` is `v0`, `v1`, …, and `digest` the SHA-256 (hex) over paths and contents; before,
    both are None. `aliases` of an artifact that was read are the ones that point to it now.
    """

    def __init__(
        self,
        name: Any,
        type: Any = "unspecified",
        description: str | None = None,
        metadata: Any = None,
        **ignored: Any,
    ) -> None:
        self.name, self.type, self.description = str(name), str(type), description
        self.metadata: Any = {} if metadata is None else metadata
        self.aliases: list[str] = []
        self.version: str | None = None
        self.digest: str | None = None
        self._sources: list[tuple[str, Any, Any]] = []
        self._staging: Any = None
        self._staged: dict[Any, str] = {}
        self._error: OSError | None = None
        self._files: dict[str, ArtifactFile] = {}
        self._folders: list[str] = []
        #: What a stored folder had that was not kept: path within → why.
        self.left_out: dict[str, str] = {}

    # -- adding
    # ------------------------------------------------------------------------------------------------------

    def add_file(self, local_path: Any, name: Any = None, **ignored: Any) -> None:
        """Add a file as `name`, by default its own; it is read when the artifact is logged."""
        path = os.path.abspath(os.fsdecode(local_path))
        self._sources.append(("file", os.path.basename(path) if name is None else name, path))

    def add_dir(self, local_path: Any, name: Any = None, **ignored: Any) -> None:
        """Add all that a folder holds when the artifact is logged, below the folder `name` of the artifact
        or, by default, at its top.

        Links are followed inside the folder only; what is left out is told once and in the record.
        """
        self._sources.append(("dir", name, os.path.abspath(os.fsdecode(local_path))))

    def add(self, value: Any, name: Any, **ignored: Any) -> None:
        """Add a value as the file `name`: bytes as they are, text as UTF-8, anything else as JSON.

        Plain dicts and lists are plain JSON; what JSON has no words for is marked as in the journal.
        """
        if isinstance(value, str):
            value = value.encode("utf-8", "surrogatepass")
        elif not isinstance(value, (bytes, bytearray, memoryview)):
            value = orjson.dumps(Encoder()(value), option=orjson.OPT_INDENT_2)
        self._sources.append(("data", name, bytes(value)))

    @contextmanager
    def new_file(
        self, name: Any, mode: str = "x", encoding: str | None = None, **ignored: Any
    ) -> Iterator[IO[Any]]:
        """Yield a new file, opened with `mode`, that belongs to the artifact as `name` once it is closed.

        It lies in the system's temporary folder as long as the artifact lives. Where that is full or cannot
        be written, what is written goes nowhere and the artifact counts as an error when it is logged.
        """
        path = ""
        try:
            path = self._stage(name)
            file = open(path, mode, encoding=encoding)  # noqa: SIM115 - closed below
        except OSError as error:
            self._error = error
            file = open(os.devnull, "wb" if "b" in mode else "w", encoding=encoding)  # noqa: SIM115
        try:
            with file:
                yield file
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self._error = error
        if self._error is None:
            self._sources.append(("file", name, path))

    def _stage(self, name: Any) -> str:
        import tempfile

        if self._staging is None:
            self._staging = tempfile.TemporaryDirectory(prefix="trackio-")
        # By number: any text is a name, and one may stand below another.
        return self._staged.setdefault(name, os.path.join(self._staging.name, str(len(self._staged))))

    # -- reading
    # -----------------------------------------------------------------------------------------------------

    def files(self) -> list[ArtifactFile]:
        """Return the files, by path. Raises ValueError if the artifact is not stored."""
        self._must_be_stored()
        return list(self._files.values())

    def file(self, name: str) -> ArtifactFile:
        """Return the file of that path. Raises KeyError, which names those there are; ValueError if the
        artifact is not stored.
        """
        self._must_be_stored()
        if name not in self._files:
            raise KeyError(f"artifact {self.name!r} has no file {name!r}; it has {list(self._files)[:50]}")
        return self._files[name]

    def download(self, root: str | os.PathLike[str] | None = None, progress: Progress | None = None) -> str:
        """Copy all files to the folder `root`, by default `artifacts/<name>-<version>` of the working
        directory, and return it.

        Each file is checked against its digest and appears whole or not at all; other files in the folder
        stay. `progress(done_bytes, total_bytes)` is called during work of more than two seconds. Raises
        OSError; ValueError if stored content is damaged or the artifact is not stored.
        """
        self._must_be_stored()
        own = os.path.join("artifacts", f"{key(self.name)}-{self.version}")
        top = own if root is None else os.fspath(root)
        os.makedirs(top, exist_ok=True)
        tick = Ticker(progress, sum(file.size for file in self._files.values()))
        for folder in self._folders:
            os.makedirs(os.path.join(top, folder), exist_ok=True)
        for file in self._files.values():
            file.download(os.path.join(top, file.path), tick)
        tick.end()
        return top

    def wait(self, timeout: float | None = None) -> Artifact:
        """Return the artifact; wandb's callers wait for an upload, and here nothing is left to do."""
        return self

    def _must_be_stored(self) -> None:
        if self.version is None:
            raise ValueError(f"artifact {self.name!r} is not stored; log it first (see run.health())")

    def _show(self, manifest: Mapping[str, Any], folder: str) -> None:
        """Become what a record says, decoded; `folder` is the run's. Raises what a wrong record makes it."""
        files = {}
        for entry in manifest["files"]:
            path, digest, size = within(entry["path"]), str(entry["sha256"]), int(entry["size"])
            stored = os.path.join(folder, "files", os.path.basename(digest))
            files[path] = ArtifactFile(path, digest, size, stored)
        self._folders = [within(path) for path in manifest["folders"]]
        self._files, self.digest = files, str(manifest["digest"])
        self.aliases = [alias for alias in manifest["aliases"] if alias != LATEST] + [LATEST]
        self.left_out = {path: reason for path, reason in manifest["left_out"]}
        self.version = f"v{number(manifest['version'])}"

    def __repr__(self) -> str:
        return f"<trackio.Artifact {self.name!r} {self.version or 'not stored'}, type {self.type!r}>"


def within(path: str | bytes | os.PathLike[str]) -> str:
    """Return a path within an artifact in its plain form. Raises ValueError if it would lead outside."""
    text = os.fsdecode(path)
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if not parts or ".." in parts or "\0" in text:
        raise ValueError(f"{path!r} is no path within an artifact")
    return "/".join(parts)


def number(version: Any) -> int:
    """Return the number in a version such as `v3`. Raises ValueError if it is none."""
    if not isinstance(version, str) or version[:1] != "v":
        raise ValueError(f"{version!r} is no version")
    return int(version[1:])


def stored(folder: str, manifests: Iterable[Any], strict: bool = True) -> list[Artifact]:
    """Return the artifacts that a run's decoded `file` records tell of, in order.

    An alias belongs to the last one that was logged with it, `latest` to the highest version. A record that
    makes no sense raises what it makes it (KeyError, TypeError, ValueError) if strict, else is passed over.
    """
    found: list[Artifact] = []
    owners: dict[tuple[str, str], Artifact] = {}
    for manifest in manifests:
        try:
            artifact = Artifact(*(manifest[part] for part in ("name", "type", "description", "metadata")))
            artifact._show(manifest, folder)
        except (KeyError, TypeError, ValueError, AttributeError):
            if strict:
                raise
            continue
        # So it can be logged again, in another run.
        artifact._sources = [("file", file.path, file._stored) for file in artifact.files()]
        artifact._sources += [("folder", path, None) for path in artifact._folders]
        found.append(artifact)
        for alias in artifact.aliases:
            before = owners.get((artifact.name, alias))
            if alias != LATEST or before is None or number(artifact.version) >= number(before.version):
                owners[artifact.name, alias] = artifact
    for artifact in found:
        artifact.aliases = [alias for alias in artifact.aliases if owners[artifact.name, alias] is artifact]
    return found


def find(artifacts: list[Artifact], name: str) -> Artifact:
    """Return the one that `name` means: `model`, `model:latest`, `model:v2`, `model:<alias>`.

    Raises KeyError, which names what there is.
    """
    base, _, which = name.rpartition(":")
    if any(artifact.name == name for artifact in artifacts):
        base, which = name, LATEST
    named = [artifact for artifact in artifacts if artifact.name == base]
    by_version = [artifact for artifact in named if artifact.version == which]
    match = by_version or [artifact for artifact in named if which in artifact.aliases]
    if not match:
        there = [f"{x.name}:{x.version} ({', '.join(x.aliases)})" for x in named or artifacts]
        raise KeyError(f"no artifact {name!r}; there are {there[-50:] or 'none'}")
    return match[-1]
