"""Modules that stand for every tracker at once and take whatever is asked of them, noting who asked for what.

With these in the place of wandb, trackio, mlflow and the others, a training shows which of the sites that a scan found
it reaches, and whether it uses a module where no scan saw it. Paths are those of `conformance.surface.model.Use`.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.metadata
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from conformance.doors.module import caller
from conformance.surface.names import OF_TEXT, ROOTS, module_of
from conformance.surface.scan import LIBRARIES

#: (module, path, `trl/extras/profiling.py:131`) of everything that was asked in this process.
ASKED: set[tuple[str, str, str]] = set()
#: Of which version they are; accelerate wants an Aim below 4.
VERSIONS = {"aim": "3.29"}
VERSION = "9999.0"


@dataclass
class World:
    """How the stand-ins behave in this process, beside taking everything.

    `old`: they are of version 0.0.1. `fresh`: what `BEGUN` names is None until a run was begun, and nothing that is
    searched for is found. `absent` are paths whose call returns None throughout.
    """

    old: bool = False
    fresh: bool = False
    absent: tuple[str, ...] = ()


WORLD = World()
#: What there is once something was called.
BEGUN = {
    ("wandb", "run"): "init",
    ("mlflow", "active_run"): "start_run",
    ("mlflow", "is_tracking_uri_set"): "set_tracking_uri",
    ("clearml", "Task.current_task"): "Task.init",
    ("swanlab", "get_run"): "init",
    ("swanlab", "run"): "init",
    ("comet_ml", "get_running_experiment"): "start",
}
_called: set[tuple[str, str]] = set()


def _is_there(module: str, path: str) -> bool:
    begun = BEGUN.get((module, path)) if WORLD.fresh else None
    return path not in WORLD.absent and (begun is None or (module, begun) in _called)


def stand() -> None:
    """Take the place of every tracker's module, and of its distribution, for the rest of this process."""
    sys.meta_path.insert(0, _Finder())


def _note(module: str, path: str) -> None:
    where = caller()
    if where.partition("/")[0] in LIBRARIES:
        ASKED.add((module, path, where))


class Thing:
    """Anything below a module: an object, a function, a class, an item."""

    def __init__(self, module: str, path: str) -> None:
        self.__dict__.update(_module=module, _path=path)

    def __getattr__(self, name: str) -> Any:
        if _special(name):
            raise AttributeError(name)
        if name in OF_TEXT:  # it is taken for a text: what is asked of the tracker is the thing itself
            _note(self._module, self._path)
            return getattr(str(self), name)
        return _attribute(self._module, f"{self._path}.{name}", name)

    def __setattr__(self, name: str, value: Any) -> None:
        _note(self._module, f"{self._path}.{name}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        _note(self._module, self._path)
        _called.add((self._module, self._path))
        if self._path.endswith("_as_dict"):
            return {}
        return Thing(self._module, f"{self._path}()") if _is_there(self._module, self._path) else None

    def __getitem__(self, key: Any) -> Any:
        _note(self._module, self._path)
        return Thing(self._module, f"{self._path}[]")

    def __setitem__(self, key: Any, value: Any) -> None:
        _note(self._module, self._path)

    def __contains__(self, key: Any) -> bool:
        return True

    def keys(self) -> tuple[str, ...]:
        # `dict(wandb.summary)` looks for this name itself.
        return ()

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0 if WORLD.fresh else 1

    def __bool__(self) -> bool:
        return True

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __add__(self, other: Any) -> str:
        return f"{self}{other}"

    def __radd__(self, other: Any) -> str:
        return f"{other}{self}"

    def __fspath__(self) -> str:
        return str(self)

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Thing, (self._module, self._path)

    def __str__(self) -> str:
        return f"{self._module}.{self._path}"


def _special(name: str) -> bool:
    """Whether Python itself looks for a name: it is to find none. Comet has names of this kind of its own."""
    return name.startswith("__") and name != "__version__" and not name.startswith("__internal_api__")


def _attribute(module: str, path: str, name: str) -> Any:
    """Return what is found under a name: an exception class, a number for a constant, a class, or a thing."""
    path = path.lstrip(".")
    _note(module, path)
    if name == "__version__":
        return _version(module)
    if name == "run" and not _is_there(module, path):
        return None
    if name.endswith(("Error", "Exception")):
        return type(name, (Exception,), {})
    if name.isupper():
        return 100
    if name in TRUE_CLASSES:
        return _class(module, path, name)
    return Thing(module, path)


def _version(module: str) -> str:
    return "0.0.1" if WORLD.old else VERSIONS.get(module, VERSION)


#: Names that callers derive from, or test with `isinstance`.
TRUE_CLASSES = {"PythonModel", "Callback", "Live", "Run", "Metric"}


class _Meta(type):
    """A class whose attributes and calls are noted as those of a thing."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return _attribute(cls._module, f"{cls._path}.{name}", name)  # type: ignore[attr-defined]

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        _note(cls._module, cls._path)  # type: ignore[attr-defined]
        made: Any = cls.__new__(cls)  # type: ignore[call-overload]
        Thing.__init__(made, cls._module, f"{cls._path}()")  # type: ignore[arg-type, attr-defined]
        return made


def _class(module: str, path: str, name: str) -> type:
    key = (module, path)
    if key not in _classes:
        _classes[key] = _Meta(name, (Thing,), {"_module": module, "_path": path})
    return _classes[key]


_classes: dict[tuple[str, str], type] = {}


class _Module(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if _special(name):
            raise AttributeError(name)
        module, path = self.__dict__["_stands_for"]
        return _attribute(module, f"{path}.{name}", name)

    def __setattr__(self, name: str, value: Any) -> None:
        # Importing `a.b` sets `b` on `a`; whatever is a module is found as one.
        if isinstance(value, ModuleType) or name.startswith("__"):
            super().__setattr__(name, value)
        else:
            module, path = self.__dict__["_stands_for"]
            _note(module, f"{path}.{name}".lstrip("."))


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules, and their distributions."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> Any:
        if any(name == root or name.startswith(f"{root}.") for root in ROOTS):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        ref = module_of(spec.name)
        assert ref is not None
        made = _Module(spec.name)
        made.__dict__["_stands_for"] = (ref.module, ref.path)
        return made

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is to be run."""

    def find_distributions(self, context: Any = None) -> Iterator[importlib.metadata.Distribution]:
        name = getattr(context, "name", None)
        if name and name.replace("-", "_") in {root.partition(".")[0] for root in ROOTS} - {"torch"}:
            yield _Distribution(name)


class _Distribution(importlib.metadata.Distribution):
    def __init__(self, name: str) -> None:
        self._name = name

    def read_text(self, filename: str) -> str | None:
        return (
            f"Metadata-Version: 2.1\nName: {self._name}\nVersion: {_version(self._name)}\n"
            if filename == "METADATA"
            else None
        )

    def locate_file(self, path: Any) -> Path:
        return Path(path)
