"""Under which conditions a line is reached, in words that are the same in every release."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from types import MappingProxyType

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion

#: A condition longer than this is told by its beginning.
LONGEST = 70
#: Exceptions under which a handler catches what a missing attribute or a wrong call raises.
WIDE = ("Exception", "BaseException", "AttributeError", "TypeError")
#: How versions are compared, and what is known where the comparison is false.
_SIGNS: dict[type, str] = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
_OPPOSITE = {"<": ">=", ">=": "<", ">": "<=", "<=": ">", "==": "!=", "!=": "=="}


#: Name -> text of the constants that a file defines, by which it compares versions.
Constants = Mapping[str, str]


def constants(tree: ast.Module) -> dict[str, str]:
    """Return the texts that a file gives to names, at whatever level."""
    return {
        target.id: node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def conditions(test: ast.expr, holds: bool = True, known: Constants = MappingProxyType({})) -> tuple[str, ...]:
    """Return what is known where `test` is true (or false): each part of an `and` (of an `or`) is one condition."""
    match test:
        case ast.BoolOp(op=ast.And(), values=parts) if holds:
            return tuple(word for part in parts for word in conditions(part, True, known))
        case ast.BoolOp(op=ast.Or(), values=parts) if not holds:
            return tuple(word for part in parts for word in conditions(part, False, known))
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            return conditions(inner, not holds, known)
        case ast.NamedExpr(value=inner):
            return conditions(inner, holds, known)
    return (_word(test, holds, known),)


def _word(test: ast.expr, holds: bool, known: Constants) -> str:
    no = "" if holds else "not "
    match test:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=[]) if re.fullmatch(
            r"_?is_\w+_available", name
        ):
            return f"{no}available: {name.strip('_')[3:-10]}"
        case ast.Compare(left=ast.Constant(value=str(name)), ops=[ast.In()], comparators=[place]) if _reports(place):
            return f"{no}reported to: {name}"
        case ast.Compare(left=ast.Constant(value=str(name)), ops=[ast.NotIn()], comparators=[place]) if _reports(place):
            return f"{'not ' if holds else ''}reported to: {name}"
        case ast.Compare(left=left, ops=[ast.Is() | ast.IsNot() as op], comparators=[ast.Constant(value=None)]):
            is_none = isinstance(op, ast.Is) == holds
            return f"{_text(left)} is {'' if is_none else 'not '}None"
        case ast.Attribute(attr=name) if "main_process" in name or "world_process_zero" in name:
            return f"{no}main process"
        case ast.Call(func=ast.Attribute(attr=name), args=[]) if "main_process" in name or "process_zero" in name:
            return f"{no}main process"
        case ast.Compare(
            left=ast.Call(args=[ast.Attribute(value=owner, attr="__version__")]),
            ops=[op],
            comparators=[ast.Call(args=[bound])],
        ) if type(op) in _SIGNS and (version := _constant(bound, known)):
            sign = _SIGNS[type(op)] if holds else _OPPOSITE[_SIGNS[type(op)]]
            return f"version of {ast.unparse(owner).rpartition('.')[2].strip('_')} {sign} {version}"
        case ast.Call(func=ast.Name(id="callable"), args=[inner]):
            return _word(inner, holds, known)
        case ast.Call(func=ast.Name(id="getattr" | "hasattr"), args=[_, ast.Constant(value=str(name)), *_]):
            return f"{no}has {name}"
        case ast.Name(id="TYPE_CHECKING"):
            return f"{no}type checking"
    return f"{no}{_text(test)}"


def _constant(node: ast.expr, known: Constants) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return known.get(name, "")
    return ""


def _reports(place: ast.expr) -> bool:
    return any(word in ast.unparse(place) for word in ("report_to", "log_with"))


def _text(node: ast.expr) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def caught(node: ast.Try) -> tuple[str, ...]:
    """Return `caught: AttributeError, ImportError` for the body of a `try` whose handlers end no caller's training.

    A handler that raises again catches nothing.
    """
    names: list[str] = []
    for handler in node.handlers:
        if any(isinstance(inner, ast.Raise) for statement in handler.body for inner in ast.walk(statement)):
            continue
        match handler.type:
            case None:
                names.append("BaseException")
            case ast.Tuple(elts=kinds):
                names += [_text(kind) for kind in kinds]
            case kind:
                names.append(_text(kind))
    return (f"caught: {', '.join(sorted(names))}",) if names else ()


def ends(body: list[ast.stmt]) -> bool:
    """Whether nothing that follows this block is reached through it."""
    return bool(body) and isinstance(body[-1], (ast.Return, ast.Raise, ast.Continue, ast.Break))


def shut_out(guards: tuple[str, ...], module: str, version: str) -> bool:
    """Whether a use is not reached with this version of the module, since its caller asks for the version first."""
    for guard in guards:
        if (found := re.fullmatch(rf"version of {module} (\S+ \S+)", guard)) and version:
            try:
                if not SpecifierSet(found[1].replace(" ", "")).contains(version, prereleases=True):
                    return True
            except InvalidVersion:
                return False
    return False


def swallowed(guards: tuple[str, ...]) -> bool:
    """Whether a missing attribute or a wrong call does not reach the training: it is caught, or raised in a thread."""
    for guard in guards:
        if guard == "in a thread":
            return True
        if guard.startswith("caught: ") and set(guard[8:].split(", ")) & set(WIDE):
            return True
    return False
