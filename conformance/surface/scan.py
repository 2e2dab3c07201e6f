"""Scan a release: from a wheel, a folder or an installed package, without importing any of it."""

from __future__ import annotations

import functools
import importlib.metadata
import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from conformance.surface import hooks, reader
from conformance.surface.model import Surface, Use
from conformance.surface.names import mentions
from conformance.trainers import release, root

LIBRARIES = ("trl", "transformers", "accelerate")
#: Folders without a line that runs in a training: transformers' thousand model files, and tests.
ASIDE = re.compile(r"^transformers/(models|kernels)/|/test_utils/|(^|/)testing_utils\.py$|/commands/")


class NotScannable(ValueError):
    """There is nothing to scan where it was said to be; the message is one line."""


def scan(library: str, version: str, files: Iterable[tuple[str, str]]) -> Surface:
    """Return the surface of a release; `files` are (path below site-packages, text)."""
    uses, variables, lookups, found, unread = [], [], [], [], []
    for place, text in sorted(files):
        found += hooks.read(text, place)
        if not mentions(text):
            continue
        try:
            used, varied, looked = reader.read(text, place)
        except SyntaxError as error:
            unread.append(f"{place}: {error.msg} (line {error.lineno})")
            continue
        uses += sorted(used, key=lambda use: (use.line, use.module, use.path, use.kind))
        variables += sorted(varied, key=lambda fact: (int(fact.where.rpartition(":")[2]), fact.name))
        lookups += sorted(looked, key=lambda fact: (int(fact.where.rpartition(":")[2]), fact.name))
    # A default that is evaluated where it stands and where it is learnt, is one use.
    return Surface(
        library,
        version,
        tuple(dict.fromkeys(uses)),
        tuple(dict.fromkeys(variables)),
        tuple(dict.fromkeys(lookups)),
        tuple(found),
        tuple(unread),
    )


def of_wheel(path: Path) -> Surface:
    """Scan a wheel. Raises NotScannable if it is none of a library that asks something of trackers."""
    try:
        with zipfile.ZipFile(path) as archive:
            library, version = _wheel_name(archive, path)
            return scan(
                library, version, ((name, _text(archive.read(name))) for name in _own(archive.namelist(), library))
            )
    except (OSError, zipfile.BadZipFile) as error:
        raise NotScannable(f"{path} is no wheel: {error}") from error


def _wheel_name(archive: zipfile.ZipFile, path: Path) -> tuple[str, str]:
    for name in archive.namelist():
        if found := re.fullmatch(r"([^/]+)-([^/-]+)\.dist-info/METADATA", name):
            library = found[1].lower().replace("-", "_")
            if library in LIBRARIES:
                return library, found[2]
            raise NotScannable(f"{path} is a wheel of {library}; scanned are {', '.join(LIBRARIES)}")
    raise NotScannable(f"{path} is no wheel: it has no METADATA")


def of_folder(library: str, version: str, folder: Path) -> Surface:
    """Scan the package in `folder` (the one that has its `__init__.py`)."""
    paths = (f"{library}/{path.relative_to(folder).as_posix()}" for path in folder.rglob("*.py"))
    places = _own(paths, library)
    return scan(library, version, ((place, _text((folder.parent / place).read_bytes())) for place in places))


@functools.cache
def of_installed(library: str) -> Surface:
    """Scan the installed package. Raises NotScannable if it is not installed."""
    folder = root(library)
    if folder is None:
        raise NotScannable(f"{library} is not installed here")
    try:
        version = importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError as error:
        raise NotScannable(f"{folder} belongs to no installed distribution") from error
    return of_folder(library, version, folder)


def uses(modules: tuple[str, ...]) -> tuple[Use, ...]:
    """Return what the installed TRL and transformers use of `modules`, in the order of files and lines."""
    return tuple(
        use
        for library in ("trl", "transformers")
        if release(library)
        for use in of_installed(library).uses
        if use.module in modules
    )


def _own(paths: Iterable[str], library: str) -> Iterator[str]:
    return (
        path for path in paths if path.startswith(f"{library}/") and path.endswith(".py") and not ASIDE.search(path)
    )


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", errors="replace")
