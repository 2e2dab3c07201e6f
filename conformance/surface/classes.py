"""Look at a class that a tracker hands to a library: a TrainerCallback of transformers, a GeneralTracker of accelerate.

The libraries are stood in for while the class is imported: it takes no time, and they need not be installed.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.machinery
import inspect
import sys
import types
from pathlib import Path
from typing import Any

from conformance.surface.model import Shape
from conformance.surface.resolve import Method, Missing, Unknown, bind

BASES = ("TrainerCallback", "GeneralTracker")


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Return what is wrong with the class `target`, for each release of `hooks`.

    `hooks` are lists of `[release, [[owner, name, shape or None], …]]`, `calls` is release -> `[[method, shape], …]`
    with which it calls a `GeneralTracker`.
    """
    try:
        cls = _load(question["target"], question["stand_ins"])
    except Exception as error:
        return {"error": f"{question['target']} cannot be imported: {type(error).__name__}: {error}"}
    bases = [base.__name__ for base in cls.__mro__ if base.__name__ in BASES] if isinstance(cls, type) else []
    if not bases:
        return {"error": f"{question['target']} is no class that derives from {' or '.join(BASES)}"}
    look = _callback if bases[0] == "TrainerCallback" else _tracker
    mine = {release: [hook for hook in hooks if hook[0] == bases[0]] for release, hooks in question["hooks"]}
    calls = question["calls"]
    results = {release: list(look(cls, hooks, calls.get(release, []))) for release, hooks in mine.items() if hooks}
    return {"owner": bases[0], "results": results}


def _load(target: str, stand_ins: bool) -> Any:
    from conformance.registry import _from_file

    place, _, name = target.rpartition(":")
    if stand_ins:
        sys.meta_path.insert(0, _StandIns())
    module = _from_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    return getattr(module, name)


#: Libraries that are stood in for, with those that they import for their part.
STOOD_IN = ("transformers", "accelerate", "trl", "torch")


class _StandIns:
    """Finds every module of these libraries: whatever is imported from one is an empty class."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.partition(".")[0] in STOOD_IN:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]
        return None

    def create_module(self, spec: Any) -> types.ModuleType:
        module = types.ModuleType(spec.name)

        def made(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            found = _stand_in(name)
            setattr(module, name, found)
            return found

        module.__getattr__ = made  # type: ignore[method-assign]
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing is to be run."""


@functools.cache
def _stand_in(name: str) -> Any:
    """Return a class of that name (reporting callbacks and trackers derive from the two bases), or a decorator."""
    if name[:1].islower():
        return _leave
    derived = {"Callback": "TrainerCallback", "Tracker": "GeneralTracker"}
    bases = tuple(_stand_in(base) for end, base in derived.items() if name.endswith(end) and name != base)
    return type(name, bases, {"__init__": lambda self, *a, **k: None, "__module__": "transformers.stand_in"})


def _leave(*given: Any, **more: Any) -> Any:
    """Stand for any function, above all for a decorator: what it is put on stays as it is."""
    return given[0] if len(given) == 1 and callable(given[0]) and not more else _leave


def _callback(cls: type, hooks: list[list[Any]], calls: list[list[str]]) -> Any:
    """Yield `[severity, at, why]` for each hook that is never called, or otherwise than it is defined."""
    known = {name: shape for _, name, shape in hooks}
    for name in sorted(dir(cls)):
        if not name.startswith("on_") or not callable(getattr(cls, name)) or not _own(cls, name):
            continue
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            guess = f" (did you mean {near[0]}?)" if near else ""
            yield ["silent", name, f"{cls.__name__}.{name} is never called{guess}"]
        elif known[name]:
            yield from _fits(cls, name, Shape.parse(known[name]))


def _own(cls: type, name: str) -> bool:
    """Whether a name is the class's word to transformers: no base that is none of its callbacks has it, too."""
    owners = [base for base in cls.__mro__ if name in vars(base)]
    library = ("transformers.", "accelerate.")
    if owners[0].__name__ in BASES or owners[0].__module__.startswith(library):
        return False
    return all(any(above.__name__ in BASES for above in base.__mro__) for base in owners)


def _tracker(cls: type, hooks: list[list[Any]], calls: list[list[str]]) -> Any:
    """Yield `[severity, at, why]` for what accelerate demands and the class has not, or does not take."""
    for _, name, kind in hooks:
        there = hasattr(cls, name) or f"self.{name} =" in _source(cls)
        if kind == "attribute" and not there:
            yield ["crash", name, f"{cls.__name__} has no {name}, which GeneralTracker demands"]
        elif name == "tracker" and inspect.isfunction(inspect.getattr_static(cls, name, None)):
            why = f"{cls.__name__}.tracker is a method: accelerate hands it out as it is; make it a property"
            yield ["silent", name, why]
    for name, shape in calls:
        if hasattr(cls, name):
            yield from _fits(cls, name, Shape.parse(shape))


def _source(cls: type) -> str:
    try:
        return inspect.getsource(cls)
    except (OSError, TypeError):
        return ""


def _fits(cls: type, name: str, shape: Shape) -> Any:
    value = inspect.getattr_static(cls, name)
    try:
        bind(Method(value) if inspect.isfunction(value) else getattr(cls, name), shape, name, cls.__name__)
    except Missing as error:
        yield ["crash", name, str(error)]
    except Unknown:
        pass
