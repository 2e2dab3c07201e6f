"""Under which conditions a line is reached, in words that are the same in every release."""

from __future__ import annotations

import ast
import re

#: A condition longer than this is told by its beginning.
LONGEST = 70
#: Exceptions under which a handler catches what a missing attribute or a wrong call raises.
WIDE = ("Exception", "BaseException", "AttributeError", "TypeError")


def conditions(test: ast.expr, holds: bool = True) -> tuple[str, ...]:
    """Return what is known where `test` is true (or false): each part of an `and` (of an `or`) is one condition."""
    match test:
        case ast.BoolOp(op=ast.And(), values=parts) if holds:
            return tuple(word for part in parts for word in conditions(part))
        case ast.BoolOp(op=ast.Or(), values=parts) if not holds:
            return tuple(word for part in parts for word in conditions(part, False))
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            return conditions(inner, not holds)
        case ast.NamedExpr(value=inner):
            return conditions(inner, holds)
    return (_word(test, holds),)


def _word(test: ast.expr, holds: bool) -> str:
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
        case ast.Call(func=ast.Name(id="callable"), args=[inner]):
            return _word(inner, holds)
        case ast.Call(func=ast.Name(id="getattr" | "hasattr"), args=[_, ast.Constant(value=str(name)), *_]):
            return f"{no}has {name}"
        case ast.Name(id="TYPE_CHECKING"):
            return f"{no}type checking"
    return f"{no}{_text(test)}"


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


def swallowed(guards: tuple[str, ...]) -> bool:
    """Whether a missing attribute or a wrong call does not reach the training: it is caught, or raised in a thread."""
    for guard in guards:
        if guard == "in a thread":
            return True
        if guard.startswith("caught: ") and set(guard[8:].split(", ")) & set(WIDE):
            return True
    return False
