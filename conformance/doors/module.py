"""The module door: TRL calls `wandb.Table(...)` or `trackio.log(...)` itself, past every callback.

The witness here is `Recorder`, a transparent stand-in for the tracker's module: each call, each assignment goes to the
real module unchanged and to the tape, with the caller's file and line. It takes the place of the module

* in the globals of TRL's own modules (`stand`), which is the door `module`;
* in the reporting callback of transformers (`stand_inside`), between the callback door and the tracker. What that
  callback leaves out never reached the tracker, and is not the tracker's fault.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.machinery
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from conformance import values
from conformance.tape import Writer

#: Attributes whose objects are recorded too: `wandb.run.summary[k] = v`, `trackio.config.update(...)`.
DEEPER = {"run", "summary", "config", "context_vars", "current_run"}
_OWN = ("_real", "_path", "_door", "_writer", "_tables")
_PACKAGE = str(Path(__file__).parent.parent)


class Recorder:
    """Stands for `real` (a module, or an object below it) and writes what is done with it to the tape."""

    def __init__(self, real: Any, path: str, door: str, writer: Writer, tables: dict[int, Any] | None = None) -> None:
        for name, value in zip(_OWN, (real, path, door, writer, {} if tables is None else tables), strict=True):
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._real, name)
        if name.startswith("__") or value is None:
            return value
        path = f"{self._path}.{name}"
        if isinstance(value, type) and issubclass(value, BaseException):
            return value
        if callable(value) and not isinstance(value, ModuleType) and name not in DEEPER:
            return _Call(value, path, self)
        if name in DEEPER:
            return Recorder(value, path, self._door, self._writer, self._tables)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        self._note(f"{self._path}.{name} =", (name, value), {})
        setattr(self._real, name, value)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._note(f"{self._path}[]", (key, value), {})
        self._real[key] = value

    def __getitem__(self, key: Any) -> Any:
        return self._real[key]

    def __contains__(self, key: Any) -> bool:
        return key in self._real

    def __iter__(self) -> Iterator[Any]:
        return iter(self._real)

    def __len__(self) -> int:
        return len(self._real)

    def __bool__(self) -> bool:
        return bool(self._real)

    def __repr__(self) -> str:
        return repr(self._real)

    def _note(self, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._writer.write(
            {
                "event": "call",
                "door": self._door,
                "path": path,
                "step": self._writer.step,
                "args": [self._encode(a) for a in args],
                "kwargs": {k: self._encode(v) for k, v in kwargs.items()},
                "where": caller(),
            }
        )

    def _encode(self, value: Any) -> Any:
        """Encode, with the tables that were built through this recorder in their own form."""
        if id(value) in self._tables:
            return self._tables[id(value)][1]
        if type(value) is dict and any(id(v) in self._tables for v in value.values()):
            return {k: self._encode(v) for k, v in value.items()}
        return values.encode(value)


class _Call:
    """A callable of the module: records the call, unwraps recorders among its arguments, returns the real result."""

    def __init__(self, real: Any, path: str, recorder: Recorder) -> None:
        self._call, self._path, self._recorder = real, path, recorder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._recorder._note(self._path, args, kwargs)
        result = self._call(*(_real(a) for a in args), **{k: _real(v) for k, v in kwargs.items()})
        if self._path.endswith(".Table"):
            # The object is kept beside its contents: its id must not be given to another one.
            self._recorder._tables[id(result)] = (result, table_of(args, kwargs))
        return result


def _real(value: Any) -> Any:
    return value._real if isinstance(value, Recorder) else value


def table_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the encoded table that a call of `Table` describes.

    Forms that TRL used: `columns=, rows=` (0.7), `columns=, data=` (0.14), `dataframe=` (0.9 on).
    """
    frame = kwargs.get("dataframe", args[0] if args and hasattr(args[0], "columns") else None)
    if frame is not None:
        return values.encode_table(list(frame.columns), [list(row) for row in frame.itertuples(index=False)])
    rows = kwargs.get("data", kwargs.get("rows")) or []
    return values.encode_table(list(kwargs.get("columns") or []), [list(row) for row in rows])


def caller(*but: str) -> str:
    """Return `package/file.py:line` of the nearest frame outside this kit and the packages in `but`, "" if none."""
    frame: Any = sys._getframe(1)
    while frame is not None and (
        frame.f_code.co_filename.startswith(_PACKAGE)
        or _below_packages(frame.f_code.co_filename).partition("/")[0] in but
    ):
        frame = frame.f_back
    if frame is None:
        return ""
    return f"{_below_packages(frame.f_code.co_filename)}:{frame.f_lineno}"


@functools.cache
def _below_packages(file: str) -> str:
    """Return a source file's path below site-packages; below its package's folder, if that was installed from a clone.

    Its last two parts, if it belongs to no package.
    """
    path = Path(file)
    packages = [i for i, part in enumerate(path.parts) if part in ("site-packages", "dist-packages")]
    if packages:
        return "/".join(path.parts[packages[-1] + 1 :])
    depth = 1
    while (path.parents[depth - 1] / "__init__.py").is_file():
        depth += 1
    return "/".join(path.parts[-max(depth, 2) :])


def stand_in(names: tuple[str, ...], modules: list[ModuleType]) -> None:
    """Let every import of `names` find the stand-in that a tracker brought along."""
    for module in modules:
        for name in names:
            if module.__spec__ is None:  # transformers and accelerate look for a spec, not for the module
                module.__spec__ = importlib.machinery.ModuleSpec(name, None)
            sys.modules[name] = module


@contextlib.contextmanager
def stand(names: tuple[str, ...], modules: list[ModuleType], writer: Writer) -> Iterator[None]:
    """While the context lasts, TRL's modules reach the tracker's module `names` through a recorder.

    `modules` are stand-ins that the tracker brought along; they serve every name.
    """
    stand_in(names, modules)
    changed: list[tuple[ModuleType, str, Any]] = []
    for name in names:
        real = modules[0] if modules else sys.modules.get(name)
        if real is None:
            continue
        recorder = Recorder(real, name, "module", writer)
        for module_name, module in list(sys.modules.items()):
            if module_name.split(".")[0] != "trl" or not isinstance(module, ModuleType):
                continue
            if modules or name in vars(module):
                changed.append((module, name, vars(module).get(name)))
                setattr(module, name, recorder)
    try:
        yield
    finally:
        for module, name, original in changed:
            if original is None:
                delattr(module, name)
            else:
                setattr(module, name, original)


def stand_inside(callback: Any, writer: Writer) -> list[str]:
    """Put a recorder between a reporting callback of transformers and each module or writer class that it holds.

    Returns the callback's class name in a list, [] if it is none of transformers' or holds nothing to record.
    """
    if not type(callback).__module__.startswith("transformers."):
        return []
    before = dict(vars(callback))
    for name, value in list(vars(callback).items()):
        if isinstance(value, ModuleType):
            setattr(callback, name, Recorder(value, value.__name__, "integration", writer))
        elif name == "_SummaryWriter" and value is not None:
            setattr(
                callback, name, lambda *a, _real=value, **k: Recorder(_real(*a, **k), "writer", "integration", writer)
            )
    return [type(callback).__name__] if vars(callback) != before else []
