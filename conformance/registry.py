"""From a word on the command line to an adapter class. The only place that knows how trackers are named.

Three forms: `package.module:Class`, `path/to/file.py:Class`, or a name registered under the entry point group
`trl_conformance.trackers` (the adapters of this kit are registered there like everybody's).
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import importlib.util
import sys
import zlib
from pathlib import Path

from conformance.clauses import all_clauses
from conformance.tracker import Tracker

GROUP = "trl_conformance.trackers"


class UnknownTracker(ValueError):
    """A word after `--tracker` that names no usable adapter; the message says what to do."""


def registered() -> dict[str, str]:
    """Return name -> `module:Class` of every registered adapter."""
    return {point.name: point.value for point in importlib.metadata.entry_points(group=GROUP)}


def load(word: str) -> type[Tracker]:
    """Return the adapter class that `word` names. Raises UnknownTracker."""
    target = registered().get(word, word)
    place, _, name = target.rpartition(":")
    if not place:
        near = difflib.get_close_matches(word, registered(), n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        known = ", ".join(sorted(registered())) or "none"
        raise UnknownTracker(
            f"no tracker {word!r}.{guess} Registered: {known}. Or name a class: package.module:Class, file.py:Class"
        )
    try:
        module = _from_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except Exception as error:
        raise UnknownTracker(f"tracker {word!r}: cannot import {place!r}: {type(error).__name__}: {error}") from error
    cls = getattr(module, name, None)
    if cls is None:
        raise UnknownTracker(f"tracker {word!r}: {place!r} has no class {name!r}")
    if not (isinstance(cls, type) and issubclass(cls, Tracker)):
        raise UnknownTracker(f"tracker {word!r}: {name} must be a subclass of conformance.Tracker")
    for method in ("attach", "read"):
        if getattr(cls, method) is getattr(Tracker, method):
            raise UnknownTracker(f"tracker {word!r}: class {name} has no {method}(self, store, run); define it")
    refusable = {law.capability for law in all_clauses().values() if law.capability}
    if unknown := sorted(set(cls.lacks) - refusable):
        can = ", ".join(sorted(refusable))
        raise UnknownTracker(f"tracker {word!r}: lacks {unknown[0]!r} is no capability; what can be refused: {can}")
    return cls


def _from_file(path: Path) -> object:
    path = path.resolve()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path.name}")
    name = f"trl_conformance_file_{path.stem}_{zlib.crc32(str(path).encode())}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]  # half a module must not pass for the whole one when it is asked for again
        raise
    return module


def absolute(word: str) -> str:
    """Return `word` with a file's path made absolute: the sandbox works in other folders."""
    place, colon, name = word.rpartition(":")
    return f"{Path(place).resolve()}:{name}" if colon and place.endswith(".py") else word


def unusable(word: str) -> str:
    """Return a line that says why the tracker cannot be tested in this environment, "" if it can.

    Hugging Face's Trackio and this project's reference tracker share the import name and the distribution name, so that
    installers keep them apart; with another distribution beside them, or the other one of the two, a result would not
    say which was tested.
    """
    cls = load(word)
    owners = sorted(set(importlib.metadata.packages_distributions().get("trackio", [])))
    if len(owners) > 1:
        return (
            f"two distributions provide the module trackio: {', '.join(owners)}. Results would not say which one was "
            f"tested. Uninstall all but one: pip uninstall {' '.join(owners)}, then install the one to test"
        )
    if cls.distribution and not cls.version():
        how = "./trackio" if cls.__module__ == REFERENCE else cls.distribution
        return f"tracker {word!r}: the distribution {cls.distribution} is not installed: pip install {how}"
    if cls.__module__ in (REFERENCE, HUGGING_FACE):
        here = REFERENCE if "+reference" in cls.version() else HUGGING_FACE
        if here != cls.__module__:
            other = "reference" if here == REFERENCE else "trackio"
            return (
                f"tracker {word!r}: the trackio {cls.version()} that is installed is the tracker {other!r}. "
                f"Say --tracker {other}, or: pip uninstall trackio, then install the one to test"
            )
    return ""


#: The modules of the two adapters whose trackers are both installed as `trackio`.
REFERENCE, HUGGING_FACE = "conformance.trackers.reference", "conformance.trackers.trackio"
