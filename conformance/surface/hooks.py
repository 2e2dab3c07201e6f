"""What a library calls on objects that trackers hand to it: a TrainerCallback, a GeneralTracker."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from conformance.surface.model import Hook, Shape

#: Class that trackers derive from -> the file that defines it; the caller is a class of the same library.
CALLBACK = ("TrainerCallback", "transformers/trainer_callback.py")
TRACKER = ("GeneralTracker", "accelerate/tracking.py")


def read(text: str, place: str) -> list[Hook]:
    """Return the hooks that a file defines, [] for any file but the two."""
    if place == CALLBACK[1]:
        return list(_callback(ast.parse(text), place))
    if place == TRACKER[1]:
        return list(_tracker(ast.parse(text), place))
    return []


def _methods(tree: ast.Module, name: str) -> dict[str, ast.FunctionDef]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}
    return {}


def _callback(tree: ast.Module, place: str) -> Iterator[Hook]:
    """Every event is called as `callback.on_x(args, state, control, model=…, …, **kwargs)` by one function.

    transformers/trainer_callback.py, CallbackHandler.call_event; `CallbackHandler.on_x` says what it adds.
    """
    handler = _methods(tree, "CallbackHandler")
    common = _common(handler.get("call_event"))
    for name, method in _methods(tree, "TrainerCallback").items():
        if name.startswith("on_"):
            added = _added(handler.get(name))
            words = tuple(sorted({*common, *(added or ())}))
            shape = Shape(3, words) if added is not None else None
            yield Hook("TrainerCallback", name, ast.unparse(method.args), shape, f"{place}:{method.lineno}")


def _common(function: ast.FunctionDef | None) -> list[str]:
    """Return the keywords of the call `getattr(callback, event)(…)`."""
    for node in ast.walk(function) if function else ():
        match node:
            case ast.Call(func=ast.Call(func=ast.Name(id="getattr")), keywords=keywords):
                return [word.arg for word in keywords if word.arg]
    return []


def _added(function: ast.FunctionDef | None) -> list[str] | None:
    """Return the keywords that `CallbackHandler.on_x` adds, None if there is no such method."""
    for node in ast.walk(function) if function else ():
        match node:
            case ast.Call(func=ast.Attribute(attr="call_event"), keywords=keywords):
                return [word.arg for word in keywords if word.arg]
    return None


def _tracker(tree: ast.Module, place: str) -> Iterator[Hook]:
    """Methods by which accelerate speaks to a tracker, and the attributes that its constructor demands.

    accelerate/tracking.py, GeneralTracker; what it is called with stands among the uses of `GeneralTracker`.
    """
    methods = _methods(tree, "GeneralTracker")
    for name, method in methods.items():
        if not name.startswith("_"):
            yield Hook("GeneralTracker", name, ast.unparse(method.args), None, f"{place}:{method.lineno}")
    demanded = methods.get("__init__")
    for node in ast.walk(demanded) if demanded else ():
        match node:
            case ast.Call(func=ast.Name(id="hasattr"), args=[_, ast.Constant(value=str(name))]):
                yield Hook("GeneralTracker", name, "attribute", None, f"{place}:{node.lineno}")
            case ast.Compare(left=ast.Constant(value=str(name)), ops=[ast.NotIn()], comparators=[ast.Call()]):
                yield Hook("GeneralTracker", name, "attribute", None, f"{place}:{node.lineno}")
