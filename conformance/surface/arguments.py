"""The arguments of a call, with those that come by `**settings` where the source shows what is in `settings`."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from conformance.surface.model import Shape


@dataclass
class _Known:
    """Keys of one dictionary: `sure` are always there, `maybe` at times; `open` if there may be others."""

    sure: set[str] = field(default_factory=set)
    maybe: set[str] = field(default_factory=set)
    open: bool = False


class Dictionaries:
    """What the local names of the function that is being read hold: dictionaries whose keys are constants."""

    def __init__(self) -> None:
        self._functions: list[dict[str, _Known]] = [{}]

    def enter(self) -> None:
        """Begin a function."""
        self._functions.append({})

    def leave(self) -> None:
        """End it."""
        self._functions.pop()

    def assign(self, name: str, source: ast.expr | None) -> None:
        """Note `name = source`."""
        new = self._keys(source)
        old = self._functions[-1].get(name)
        if old is not None:
            every = old.sure | old.maybe | new.sure | new.maybe
            sure = old.sure & new.sure
            new = _Known(sure, every - sure, old.open or new.open)
        self._functions[-1][name] = new

    def set_item(self, whole: ast.expr, key: ast.expr) -> None:
        """Note `whole[key] = …`; when it is reached is not told."""
        if isinstance(whole, ast.Name) and (known := self._functions[-1].get(whole.id)):
            match key:
                case ast.Constant(value=str(word)):
                    known.maybe |= {word} - known.sure
                case _:
                    known.open = True

    def call(self, node: ast.Call) -> None:
        """Note `name.update(…)`, `name.setdefault("key", …)`, `name.pop("key")`."""
        match node.func:
            case ast.Attribute(value=ast.Name(id=name), attr=how) if known := self._functions[-1].get(name):
                if how == "update":
                    for part in [
                        *node.args,
                        *([ast.Call(ast.Name("dict"), [], node.keywords)] if node.keywords else []),
                    ]:
                        new = self._keys(part)
                        known.maybe |= (new.sure | new.maybe) - known.sure
                        known.open |= new.open
                elif how in ("setdefault", "pop") and node.args:
                    match node.args[0]:
                        case ast.Constant(value=str(word)):
                            known.sure.discard(word)
                            known.maybe.add(word)
                        case _:
                            known.open = True

    def _keys(self, source: ast.expr | None) -> _Known:
        match source:
            case ast.Dict(keys=keys, values=values):
                known = _Known()
                for key, value in zip(keys, values, strict=True):
                    match key:
                        case ast.Constant(value=str(word)):
                            known.sure.add(word)
                        case None:
                            inner = self._keys(value)
                            known.sure |= inner.sure
                            known.maybe |= inner.maybe
                            known.open |= inner.open
                        case _:
                            known.open = True
                return known
            case ast.Call(func=ast.Name(id="dict"), args=[], keywords=keywords):
                return _Known(
                    {word.arg for word in keywords if word.arg}, open=any(word.arg is None for word in keywords)
                )
            case ast.Name(id=name) if name in self._functions[-1]:
                found = self._functions[-1][name]
                return _Known(set(found.sure), set(found.maybe), found.open)
            case ast.IfExp(body=body, orelse=orelse):
                one, other = self._keys(body), self._keys(orelse)
                sure = one.sure & other.sure
                every = one.sure | one.maybe | other.sure | other.maybe
                return _Known(sure, every - sure, one.open or other.open)
        return _Known(open=True)

    def keys(self, source: ast.expr) -> tuple[set[str], set[str], bool]:
        """Return (always there, at times, whether there may be others) of what a call gets by `**source`."""
        known = self._keys(source)
        return known.sure, known.maybe - known.sure, known.open


def shape(call: ast.Call, known: Dictionaries) -> Shape:
    """Return the shape of a call's arguments."""
    sure = {word.arg for word in call.keywords if word.arg}
    maybe: set[str] = set()
    stars = False
    for word in call.keywords:
        if word.arg is None:
            there, at_times, more = known.keys(word.value)
            sure |= there
            maybe |= at_times
            stars |= more
    starred = any(isinstance(part, ast.Starred) for part in call.args)
    positional = sum(not isinstance(part, ast.Starred) for part in call.args)
    return Shape(positional, tuple(sorted(sure)), tuple(sorted(maybe - sure)), starred, stars)
