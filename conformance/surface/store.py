"""The scanned releases: `fixtures/surface/<library>-<version>.json`, and how many releases are told in few words."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path

from packaging.version import Version

from conformance import fixtures
from conformance.surface.model import Surface
from conformance.surface.scan import LIBRARIES


class NoSurface(ValueError):
    """A release that was not scanned; the message says how to scan it."""


def folder() -> Path:
    """Return where the scanned releases lie."""
    return fixtures() / "surface"


def path(library: str, version: str, place: Path | None = None) -> Path:
    """Return the file of a release."""
    return (place or folder()) / f"{library}-{version}.json"


@functools.cache
def versions(library: str, place: Path | None = None) -> tuple[str, ...]:
    """Return the scanned versions of a library, oldest first."""
    names = (file.stem.removeprefix(f"{library}-") for file in (place or folder()).glob(f"{library}-*.json"))
    return tuple(sorted(names, key=Version))


@functools.cache
def load(library: str, version: str, place: Path | None = None) -> Surface:
    """Return a scanned release; `version` is `1.16.0` or the minor `1.16`. Raises NoSurface."""
    known = versions(library, place)
    for one in known:
        if one == version or one.startswith(f"{version}."):
            return Surface.parse(path(library, one, place).read_text(encoding="utf-8"))
    if library not in LIBRARIES:
        raise NoSurface(f"{library} asks nothing of trackers; scanned are {', '.join(LIBRARIES)}")
    there = f"{known[0]} to {known[-1]}" if known else "none"
    raise NoSurface(
        f"{library} {version} was not scanned (there are {there}): trl-conformance surface scan {library}=={version}"
    )


def every(library: str, place: Path | None = None) -> list[Surface]:
    """Return all scanned releases of a library, oldest first."""
    return [load(library, version, place) for version in versions(library, place)]


def minor(version: str) -> str:
    """Return `1.16` for `1.16.0`."""
    return ".".join(version.split(".")[:2])


def ranges(some: Iterable[str], among: Sequence[str]) -> str:
    """Return versions in few words, as ranges of those there are: `0.25 - 0.29, 1.16`."""
    at = sorted(among.index(version) for version in set(some))
    parts: list[list[int]] = []
    for i in at:
        if parts and parts[-1][-1] == i - 1:
            parts[-1].append(i)
        else:
            parts.append([i])
    words = [(minor(among[part[0]]), minor(among[part[-1]])) for part in parts]
    return ", ".join(first if first == last else f"{first} - {last}" for first, last in words)
