"""Follow a use's path through a module that is at hand: what exists, what takes the call, and what nobody can tell.

Nothing of the tracker is called but what is safe: `get` of a ContextVar. What a function returns is known from a live
object that the caller hands over (`live`), from its annotation, or from being a class; a path that goes on behind
anything else is `Unknown`, which is told and is no gap.
"""

from __future__ import annotations

import contextlib
import contextvars
import importlib
import inspect
import re
import types
import typing
from collections.abc import Mapping
from typing import Any

from conformance.surface.model import Shape, Use


class Missing(Exception):
    """The module does not serve the use; `at` is the path up to what is not there, the message says what."""

    def __init__(self, at: str, message: str) -> None:
        super().__init__(message)
        self.at = at


class Unknown(Exception):
    """Whether the module serves the use cannot be told from here; the message says why."""


class _Instance:
    """Stands for an object of a class that is not at hand."""

    def __init__(self, cls: type) -> None:
        self.cls = cls


def serves(module: Any, use: Use, name: str, live: Mapping[str, Any] | None = None) -> str:
    """Return "" if `module` serves the use, or a remark; `name` is how the module is called in messages.

    `live` maps a path such as `init()` to the object that is there while a run is open. A remark is
    "takes step= by its ** alone" where the signature names no such parameter. Raises Missing or Unknown.
    """
    if use.kind == "import":
        return _importable(module, use, name)
    found: Any = module
    at = ""
    steps = re.findall(r"\(\)|\[\]|[^.()\[\]]+", use.path)
    for i, step in enumerate(steps):
        last = i == len(steps) - 1
        if step == "()":
            found = _returned(found, f"{at}()", name, live or {})
            at += "()"
        elif step == "[]":
            _has_item(found, at, name, "__getitem__")
            raise Unknown(f"what {name}.{at}[] is")
        else:
            before, at = at, f"{at}.{step}".lstrip(".")
            if last and use.kind == "set":
                _settable(found, step, at, name)
                return ""
            found = _attribute(found, step, before, at, name, live or {})
    if use.kind == "call" and use.shape is not None:
        return bind(found, use.shape, at, name)
    if use.kind in ("item", "setitem"):
        _has_item(found, at, name, "__setitem__" if use.kind == "setitem" else "__getitem__")
    if use.kind == "catch" and not (isinstance(found, type) and issubclass(found, BaseException)):
        raise Missing(at, f"{name}.{at} is no exception class, but callers catch it")
    return ""


def _importable(module: Any, use: Use, name: str) -> str:
    """Try `import name.path`, or `from name.front import last`."""
    found, at = module, ""
    for step in use.path.split("."):
        at = f"{at}.{step}".lstrip(".")
        found = _part(found, step, at, name)
    return ""


def _part(found: Any, step: str, at: str, name: str) -> Any:
    """Return a module's attribute or submodule."""
    try:
        return getattr(found, step)
    except AttributeError:
        pass
    except Exception as error:  # there is something, and it works only online, or while a run is open
        said = " ".join(str(error).split())
        raise Unknown(f"{name}.{at} raises {type(error).__name__} here: {said}") from error
    if isinstance(found, types.ModuleType):
        place = f"{found.__name__}.{step}"
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError as error:
            if error.name and not place.startswith(error.name):  # it is there, and wants something that is not
                raise Missing(at, f"import {name}.{at} fails: {error}") from error
        except Exception as error:
            raise Missing(at, f"import {name}.{at} fails: {type(error).__name__}: {error}") from error
        front = at.rpartition(".")[0]
        raise Missing(at, f"{name}{'.' if front else ''}{front} has no {step}")
    raise Missing(at, f"{name}.{at.rpartition('.')[0]} ({_name(found)}) has no {step}")


def _name(found: Any) -> str:
    return str(found.__name__ if isinstance(found, type) else type(found).__name__)


def _attribute(found: Any, step: str, before: str, at: str, name: str, live: Mapping[str, Any]) -> Any:
    if at in live:
        return live[at]
    owner = f"{name}.{before}" if before else name
    if isinstance(found, _Instance):
        return _of_instance(found.cls, step, at, owner)
    if isinstance(found, _Anything):
        raise Unknown(f"what {owner} is")
    if found is None and (before in live or (live and not before.endswith("()"))):
        raise Missing(before, f"{owner} is None, though a run is open")
    if found is None:
        raise Unknown(f"{owner} is None here: what it is while a run is open is not known")
    return _part(found, step, at, name)


def _of_instance(cls: type, step: str, at: str, owner: str) -> Any:
    """Return what an object of `cls` has under a name, from the class alone."""
    if hasattr(cls, step):
        value = inspect.getattr_static(cls, step)
        if isinstance(value, property):
            try:
                return _annotated(value.fget, f"{owner}.{step}")
            except Unknown:
                return _Anything(at)
        if isinstance(value, (staticmethod, classmethod)) or not callable(value):
            return getattr(cls, step)
        return Method(value)
    if step in _assigned(cls):
        return _Anything(at)
    if _open(cls):
        raise Unknown(f"{owner} ({cls.__name__}) makes up its attributes")
    raise Missing(at, f"{owner} ({cls.__name__}) has no {step}")


class Method:
    """A function of a class, seen as bound to an object that is not at hand."""

    def __init__(self, function: Any) -> None:
        self.function = function


class _Anything:
    """Something that is there, of which nothing else is known."""

    def __init__(self, at: str) -> None:
        self.at = at


def _open(cls: type) -> bool:
    return any("__getattr__" in vars(base) or "__getattribute__" in vars(base) for base in cls.__mro__[:-1])


def _assigned(cls: type) -> set[str]:
    """Return the names that the classes' own code gives to `self`, and those that they annotate."""
    found: set[str] = set()
    for base in cls.__mro__[:-1]:
        found |= set(vars(base).get("__annotations__", {}))
        slots = vars(base).get("__slots__", ())
        found |= {slots} if isinstance(slots, str) else set(slots)
        with contextlib.suppress(OSError, TypeError):
            found |= set(re.findall(r"\bself\.(\w+)(?:\s*:[^=\n]+)?\s*=[^=]", inspect.getsource(base)))
    return found


def _returned(found: Any, at: str, name: str, live: Mapping[str, Any]) -> Any:
    if at in live:
        return live[at]
    if _gets_context(found):
        try:
            return found()
        except LookupError as error:
            raise Unknown(f"{name}.{at} is not set here") from error
    if isinstance(found, type):
        return _Instance(found)
    function = found.function if isinstance(found, Method) else found
    if not callable(function):
        raise Missing(at.removesuffix("()"), f"{name}.{at.removesuffix('()')} cannot be called")
    return _annotated(function, f"{name}.{at}")


def _gets_context(found: Any) -> bool:
    """Whether this is the `get` of a ContextVar, which does nothing but look."""
    return isinstance(found, types.BuiltinMethodType) and isinstance(found.__self__, contextvars.ContextVar)


def _annotated(function: Any, what: str) -> Any:
    """Return an instance of what a function says it returns. Raises Unknown."""
    try:
        told = typing.get_type_hints(function).get("return")
    except Exception:  # an annotation may name what is imported for type checkers alone
        told = None
    if isinstance(told, type) and told.__module__ != "builtins":
        return _Instance(told)
    raise Unknown(f"what {what} is")


def _settable(found: Any, step: str, at: str, name: str) -> None:
    cls = found.cls if isinstance(found, _Instance) else type(found)
    there = inspect.getattr_static(cls, step, None)
    if isinstance(there, property) and there.fset is None:
        raise Missing(at, f"{name}.{at} cannot be set: {cls.__name__}.{step} is a property without a setter")


def _has_item(found: Any, at: str, name: str, method: str) -> None:
    if isinstance(found, _Anything) or found is None:
        raise Unknown(f"what {name}.{at} is while a run is open")
    cls = found.cls if isinstance(found, _Instance) else type(found)
    if not hasattr(cls, method) and not _open(cls):
        how = "assign an item of" if method == "__setitem__" else "take an item of"
        raise Missing(f"{at}[]", f"one cannot {how} {name}.{at} ({cls.__name__})")


def bind(found: Any, shape: Shape, at: str, name: str) -> str:
    """Return "" if a call of that shape fits, or the remark of `serves`. Raises Missing or Unknown."""
    if isinstance(found, _Anything):
        raise Unknown(f"what {name}.{at} takes")
    method = isinstance(found, Method)
    function = found.function if isinstance(found, Method) else found
    if not callable(function):
        raise Missing(at, f"{name}.{at} cannot be called: it is {_kind(function)}")
    if _gets_context(function) and shape.positional < 2 and not shape.keywords:
        return ""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise Unknown(f"what {name}.{at} takes: Python cannot tell its signature") from error
    parameters = list(signature.parameters.values())
    if parameters and parameters[0].name == "self" and not isinstance(function, type):
        # A method of an object that is not at hand; wandb.log before wandb.init shows the signature of Run.log.
        parameters = parameters[1:]
    elif method:
        parameters = parameters[1:]
    signature = signature.replace(parameters=parameters)
    keywords = [*shape.keywords, *shape.maybe]
    try:
        if shape.star or shape.stars:  # there may be more: only what cannot be taken away is a fault
            _partly(signature, shape)
        else:
            signature.bind(*[None] * shape.positional, **dict.fromkeys(shape.keywords))
            signature.bind(*[None] * shape.positional, **dict.fromkeys(keywords))
    except TypeError as error:
        raise Missing(f"{at}()", f"{name}.{at}{shape}: {error}") from error
    named = {parameter.name for parameter in parameters if parameter.kind != inspect.Parameter.VAR_KEYWORD}
    loose = sorted(set(keywords) - named)
    return f"{name}.{at} takes {', '.join(f'{word}=' for word in loose)} by its ** alone" if loose else ""


def _partly(signature: inspect.Signature, shape: Shape) -> None:
    """Bind what a call with `*` or `**` surely gives. Raises TypeError."""
    signature.bind_partial(*[None] * shape.positional, **dict.fromkeys([*shape.keywords, *shape.maybe]))


def _kind(value: Any) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"
