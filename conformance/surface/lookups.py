"""Environment variables and distributions that a source looks up on behalf of a tracker."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping

from conformance.surface.model import Fact
from conformance.surface.names import distribution_of, variable_of

#: Calls that decide whether a module or distribution is there.
DECIDE = {"find_spec", "metadata", "version", "distribution", "import_module", "_is_package_available", "hasattr"}
Make = Callable[[str, str, str, ast.AST], Fact]


def environment(node: ast.AST, how: str, make: Make, found: list[Fact]) -> None:
    """Add what `node` does with an environment variable of a tracker, if it does anything."""
    match node:
        case ast.Call(func=function, args=[ast.Constant(value=str(name)), *_]) if word := _getter(function):
            how = word
        case ast.Subscript(value=place, slice=ast.Constant(value=str(name))) if _is_environ(place):
            pass
        case ast.Compare(left=ast.Constant(value=str(name)), comparators=[place]) if _is_environ(place):
            pass
        case _:
            return
    if module := variable_of(name):
        found.append(make(module, name, how, node))


def _getter(function: ast.expr) -> str:
    match function:
        case ast.Name(id="getenv") | ast.Attribute(attr="getenv"):
            return "read"
        case ast.Attribute(value=place, attr="get" | "pop" | "setdefault" as how) if _is_environ(place):
            return "read" if how == "get" else how
    return ""


def _is_environ(place: ast.expr) -> bool:
    return ast.unparse(place) in ("os.environ", "environ")


def distribution(
    node: ast.Call, make: Make, found: list[Fact], functions: Mapping[str, ast.FunctionDef | ast.AsyncFunctionDef]
) -> None:
    """Add the look-up of a tracker's distribution or module that `node` is, if it is one.

    `how` is `_is_package_available > find_spec, metadata` where the file has that function and it asks these in turn.
    """
    match node:
        case ast.Call(func=ast.Name(id=how) | ast.Attribute(attr=how), args=[ast.Constant(value=str(name)), *_]):
            if how in DECIDE - {"hasattr"} and (module := distribution_of(name)):
                asked = sorted(_deciding(functions[how])) if how in functions else []
                found.append(make(module, name, f"{how} > {', '.join(asked)}" if asked else how, node))


def _deciding(function: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(function):
        match node:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in DECIDE:
                found.add(name)
    return found
