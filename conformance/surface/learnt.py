"""What is known of a file that is being read: what its names, attributes and functions may be."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from conformance.surface.names import HELD, Ref


class Value(NamedTuple):
    """What an expression may be, and what its items may be (a list of modules, the trackers of an accelerator)."""

    refs: frozenset[Ref] = frozenset()
    items: frozenset[Ref] = frozenset()

    def __or__(self, other: Value) -> Value:  # type: ignore[override]
        return Value(self.refs | other.refs, self.items | other.items)


NOTHING = Value()


class Known:
    """Everything that a file shows of itself; `count` grows with each new thing."""

    def __init__(self) -> None:
        self.count = 0
        #: Function's dotted name -> its definition; class's dotted name -> the last names of its bases.
        self.functions: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = {}
        self.bases: dict[str, list[str]] = {}
        #: (scope, name) -> what it may be; a scope is a function's or class's dotted name, "" the module, `Class.self`
        #: the attributes of an object.
        self._names: dict[tuple[str, str], Value] = {}
        self._results: dict[str, Value] = {}
        self._threads: set[str] = set()

    def learn(self, key: tuple[str, str], value: Value) -> None:
        """Note that a name may be `value`, too."""
        old = self._names.get(key, NOTHING)
        if (new := old | value) != old or key not in self._names:
            self._names[key] = new
            self.count += 1

    def returns(self, function: str, value: Value) -> None:
        """Note that a function may return `value`, too."""
        old = self._results.get(function, NOTHING)
        if (new := old | value) != old:
            self._results[function] = new
            self.count += 1

    def begin_thread(self, function: str) -> None:
        """Note that a function runs in a thread of its own."""
        if function not in self._threads:
            self._threads.add(function)
            self.count += 1

    def in_thread(self, function: str) -> bool:
        """Whether a function, or one around it, runs in a thread of its own."""
        return any(function == name or function.startswith(f"{name}.") for name in self._threads)

    def name(self, name: str, scopes: Sequence[str]) -> Value:
        """Return what a name may be in the innermost of the scopes that has it."""
        for scope in reversed(scopes):
            if (scope, name) in self._names:
                return self._names[scope, name]
        return NOTHING

    def held(self, cls: str, name: str, seen: tuple[str, ...] = ()) -> Value:
        """Return what `self.<name>` may be in a class: assigned there or in a base class, or a property's result."""
        value = self._names.get((f"{cls}.self", name), NOTHING) | self._names.get((cls, name), NOTHING)
        function = self.functions.get(f"{cls}.{name}")
        if function and any("property" in ast.unparse(mark) for mark in function.decorator_list):
            value |= self.result(f"{cls}.{name}")
        for base in self.bases.get(cls, []):
            if name in HELD.get(base, {}):
                value |= Value(frozenset({Ref(HELD[base][name])}))
            if base in self.bases and base not in seen:
                value |= self.held(base, name, (*seen, base))
        return value

    def result(self, function: str) -> Value:
        """Return what a function may return."""
        return self._results.get(function, NOTHING)

    def defined(self, places: Iterable[str]) -> list[str]:
        """Return those of some dotted names that are functions of the file."""
        return [place for place in places if place in self.functions]

    def methods(self, cls: str, name: str) -> list[str]:
        """Return the functions that `self.<name>` may be in a class."""
        return self.defined(f"{base}.{name}" for base in [cls, *self.bases.get(cls, [])])

    def hand_over(self, function: str, given: Sequence[Value], named: dict[str | None, Value]) -> None:
        """Note what the parameters of a function may be, from the arguments of a call."""
        arguments = self.functions[function].args
        names = [parameter.arg for parameter in [*arguments.posonlyargs, *arguments.args]]
        if names[:1] == ["self"]:
            names = names[1:]
        for name, value in [*zip(names, given, strict=False), *named.items()]:
            if name and value != NOTHING:
                self.learn((function, name), value)
