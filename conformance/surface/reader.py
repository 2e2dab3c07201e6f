"""Read one source file: every use of a tracker's module, by whatever name the file gives to it or to a part of it.

An expression is worth the set of things in trackers' modules that it may be (`Value`). Names, attributes of `self`,
lists, loop variables, parameters and results of the file's own functions carry that on; a file is walked until nothing
new is learnt, then once more to note the uses. Order within a function is not followed: what a name was once, it may be
anywhere in its scope.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from conformance.surface import guards, lookups
from conformance.surface.arguments import Dictionaries, shape
from conformance.surface.learnt import NOTHING, Known, Value
from conformance.surface.model import Fact, Use
from conformance.surface.names import ACCELERATOR, ASKED_OF_ACCELERATOR, GENERAL, OF_TEXT, Ref, module_of

#: Walks after which a file is taken as learnt; the deepest found in a release needs four.
PASSES = 8


def read(text: str, place: str) -> tuple[list[Use], list[Fact], list[Fact]]:
    """Return the uses, environment variables and look-ups in a file; `place` is its path as `where` tells it.

    Raises SyntaxError for a file that this Python cannot parse.
    """
    tree = ast.parse(text)
    reader = _Reader(place, tree)
    for _ in range(PASSES):
        if not reader.walk():
            break
    reader.noting = True
    reader.walk()
    return reader.uses, reader.variables, reader.lookups


class _Reader:
    def __init__(self, place: str, tree: ast.Module) -> None:
        self.place, self.tree, self.noting = place, tree, False
        self.uses: list[Use] = []
        self.variables: list[Fact] = []
        self.lookups: list[Fact] = []
        self._known = Known()
        self._scopes: list[str] = [""]
        self._classes: list[str] = []
        self._guards: list[str] = []
        self._dictionaries = Dictionaries()
        self._constants = guards.constants(tree)

    def walk(self) -> bool:
        """Walk the file; return whether something new was learnt."""
        before = self._known.count
        self._block(self.tree.body)
        return self._known.count > before

    # ---- statements --------------------------------------------------------------------------------------------------

    def _block(self, body: list[ast.stmt]) -> None:
        """Walk statements; a branch that ends the block guards what follows it."""
        depth = len(self._guards)
        for statement in body:
            self._statement(statement)
            if isinstance(statement, ast.If) and not statement.orelse and guards.ends(statement.body):
                self._guards += self._conditions(statement.test, False)
        del self._guards[depth:]

    def _conditions(self, test: ast.expr, holds: bool = True) -> tuple[str, ...]:
        return guards.conditions(test, holds, self._constants)

    @contextmanager
    def _under(self, conditions: Iterable[str]) -> Iterator[None]:
        depth = len(self._guards)
        self._guards += conditions
        yield
        del self._guards[depth:]

    def _statement(self, node: ast.stmt) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._function(node)
            case ast.ClassDef():
                self._class(node)
            case ast.Import(names=names):
                for alias in names:
                    self._import(alias, node)
            case ast.ImportFrom(module=str(package), level=0, names=names) if module_of(package) or any(
                module_of(f"{package}.{alias.name}") for alias in names
            ):
                for alias in names:
                    if ref := module_of(f"{package}.{alias.name}"):
                        self._bind(alias.asname or alias.name, Value(frozenset({ref})))
                        if ref.path:
                            self._note(node, ref, "import")
            case ast.If(test=test, body=body, orelse=orelse):
                self._expression(test)
                with self._under(self._conditions(test)):
                    self._block(body)
                with self._under(self._conditions(test, False)):
                    self._block(orelse)
            case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=last):
                with self._under(guards.caught(node)):
                    self._block(body)
                for handler in handlers:
                    if handler.type is not None:
                        self._expression(handler.type, "catch")
                    self._block(handler.body)
                self._block([*orelse, *last])
            case ast.With(items=items, body=body) | ast.AsyncWith(items=items, body=body):
                for item in items:
                    value = self._expression(item.context_expr)
                    if item.optional_vars is not None:
                        self._assign(item.optional_vars, value)
                self._block(body)
            case (
                ast.For(target=target, iter=many, body=body, orelse=orelse)
                | ast.AsyncFor(target=target, iter=many, body=body, orelse=orelse)
            ):
                self._assign(target, Value(self._expression(many).items))
                self._block([*body, *orelse])
            case ast.While(test=test, body=body, orelse=orelse):
                self._expression(test)
                self._block([*body, *orelse])
            case ast.Assign(targets=targets, value=value):
                worth = self._expression(value)
                for target in targets:
                    self._assign(target, worth, value)
            case ast.AnnAssign(target=target, value=value):
                if value is not None:
                    self._assign(target, self._expression(value), value)
            case ast.AugAssign(target=target, value=value):
                self._expression(value)
                self._assign(target, NOTHING)
            case ast.Return(value=value) if value is not None:
                self._known.returns(self._scopes[-1], self._expression(value))
            case _:
                self._children(node)

    def _children(self, node: ast.AST) -> None:
        """Walk what stands in a node of no special kind."""
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt):
                self._statement(child)
            elif isinstance(child, ast.expr):
                self._expression(child)
            else:
                self._children(child)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for part in [*node.decorator_list, *node.args.defaults, *(d for d in node.args.kw_defaults if d)]:
            self._expression(part)
        scope = f"{self._scopes[-1]}.{node.name}".lstrip(".")
        self._known.functions[scope] = node
        self._scopes.append(scope)
        self._dictionaries.enter()
        for parameter in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]:
            self._known.learn((scope, parameter.arg), NOTHING)
        # A function's body runs when it is called, under none of the conditions around its definition but the thread's.
        outer, self._guards = self._guards, ["in a thread"] if self._known.in_thread(scope) else []
        self._block(node.body)
        self._guards = outer
        self._dictionaries.leave()
        self._scopes.pop()

    def _class(self, node: ast.ClassDef) -> None:
        for part in node.decorator_list:
            self._expression(part)
        scope = f"{self._scopes[-1]}.{node.name}".lstrip(".")
        for base in node.bases:
            self._expression(base, "base")
        self._known.bases[scope] = [ast.unparse(base).rpartition(".")[2] for base in node.bases]
        self._scopes.append(scope)
        self._classes.append(scope)
        self._block(node.body)
        self._classes.pop()
        self._scopes.pop()

    def _import(self, alias: ast.alias, node: ast.stmt) -> None:
        if (ref := module_of(alias.name)) is None:
            return
        if ref.path:
            self._note(node, ref, "import")
        whole = ref if alias.asname else module_of(alias.name.partition(".")[0])
        if whole:
            self._bind(alias.asname or alias.name.partition(".")[0], Value(frozenset({whole})))

    # ---- what is learnt ----------------------------------------------------------------------------------------------

    def _bind(self, name: str, value: Value) -> None:
        self._known.learn((self._scopes[-1], name), value)

    def _learn_thread(self, node: ast.expr) -> None:
        for name in self._own_functions(node):
            self._known.begin_thread(name)

    def _assign(self, target: ast.expr, value: Value, source: ast.expr | None = None) -> None:
        match target:
            case ast.Name(id=name):
                self._bind(name, value)
                self._dictionaries.assign(name, source)
            case ast.Attribute(value=ast.Name(id="self"), attr=name) if self._classes:
                self._known.learn((f"{self._classes[-1]}.self", name), value)
            case ast.Attribute(value=inner, attr=name):
                for ref in self._expression(inner, "").refs:
                    self._note(target, ref + f".{name}", "set")
            case ast.Subscript(value=inner, slice=part):
                self._expression(part)
                self._dictionaries.set_item(inner, part)
                for ref in self._expression(inner, "").refs:
                    self._note(target, ref, "setitem")
                lookups.environment(target, "set", self._fact, self.variables if self.noting else [])
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                values = source.elts if isinstance(source, (ast.Tuple, ast.List)) else []
                for i, part in enumerate(parts):
                    one = self._worth(values[i]) if i < len(values) else Value(value.items)
                    self._assign(part, one, values[i] if i < len(values) else None)
            case ast.Starred(value=inner):
                self._assign(inner, value)

    def _worth(self, node: ast.expr) -> Value:
        """Return what an expression may be, without noting its uses a second time."""
        noting, self.noting = self.noting, False
        value = self._expression(node)
        self.noting = noting
        return value

    # ---- expressions -------------------------------------------------------------------------------------------------

    def _expression(self, node: ast.expr, kind: str = "read") -> Value:
        """Return what an expression may be. `kind` is how it is used; "" if it is the front part of a longer one."""
        match node:
            case ast.Name(id=name):
                value = self._known.name(name, self._scopes)
                if kind in ("base", "catch"):
                    self._note_all(node, value, kind)
                return value
            case ast.Attribute(value=inner, attr=name):
                value = self._attribute(inner, name)
                # What the file keeps in `self.run` is its own; only what lies behind it is the tracker's.
                if kind and not (isinstance(inner, ast.Name) and inner.id == "self" and kind == "read"):
                    self._note_all(node, value, kind)
                return value
            case ast.Call():
                return self._call(node)
            case ast.Subscript(value=inner, slice=part):
                whole = self._expression(inner, "")
                self._expression(part)
                if kind:
                    self._note_all(node, whole, "item")
                    lookups.environment(node, "read", self._fact, self.variables if self.noting else [])
                return Value(frozenset(ref + "[]" for ref in whole.refs) | whole.items)
            case ast.BoolOp(op=op, values=parts):
                value = NOTHING
                with self._under(()):
                    for part in parts:
                        value |= self._expression(part)
                        self._guards += self._conditions(part, isinstance(op, ast.And))
                return value
            case ast.IfExp(test=test, body=body, orelse=orelse):
                self._expression(test)
                with self._under(self._conditions(test)):
                    value = self._expression(body)
                with self._under(self._conditions(test, False)):
                    return value | self._expression(orelse)
            case ast.NamedExpr(target=target, value=inner):
                value = self._expression(inner)
                self._assign(target, value, inner)
                return value
            case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
                values = [self._expression(part, kind if kind == "catch" else "read") for part in parts]
                return Value(items=frozenset(ref for value in values for ref in value.refs | value.items))
            case ast.Dict(keys=keys, values=values):
                for key in keys:
                    if key is not None:
                        self._expression(key)
                return Value(items=frozenset(ref for value in values for ref in self._expression(value).refs))
            case (
                ast.ListComp(elt=one, generators=clauses)
                | ast.SetComp(elt=one, generators=clauses)
                | ast.GeneratorExp(elt=one, generators=clauses)
            ):
                self._clauses(clauses)
                return Value(items=self._expression(one).refs)
            case ast.DictComp(key=key, value=inner, generators=clauses):
                self._clauses(clauses)
                self._expression(key)
                self._expression(inner)
                return NOTHING
            case ast.Compare():
                lookups.environment(node, "read", self._fact, self.variables if self.noting else [])
            case ast.Await(value=inner) | ast.Starred(value=inner):
                return self._expression(inner)
        self._children(node)
        return NOTHING

    def _clauses(self, clauses: list[ast.comprehension]) -> None:
        for clause in clauses:
            self._assign(clause.target, Value(self._expression(clause.iter).items))
            for test in clause.ifs:
                self._expression(test)

    def _attribute(self, inner: ast.expr, name: str) -> Value:
        if isinstance(inner, ast.Name) and inner.id == "self" and self._classes:
            held = self._known.held(self._classes[-1], name)
            return held | (Value(items=frozenset({Ref(GENERAL)})) if name == "trackers" else NOTHING)
        value = self._expression(inner, "")
        if name in OF_TEXT:
            self._note_all(inner, Value(frozenset(ref for ref in value.refs if ref.path)), "read")
            return NOTHING
        found = {ref + f".{name}" for ref in value.refs}
        if "accelerator" in (getattr(inner, "id", ""), getattr(inner, "attr", "")):
            if name in ASKED_OF_ACCELERATOR:
                found.add(Ref(ACCELERATOR, name))
            elif name == "trackers":
                return Value(frozenset(found), frozenset({Ref(GENERAL)}))
        return Value(frozenset(found))

    # ---- calls -------------------------------------------------------------------------------------------------------

    def _call(self, node: ast.Call) -> Value:
        match node:
            case ast.Call(
                func=ast.Name(id="getattr" | "hasattr" as how), args=[inner, ast.Constant(value=str(name)), *more]
            ):
                value = Value(frozenset(ref + f".{name}" for ref in self._expression(inner, "").refs))
                self._note_all(node, value, "probe" if how == "hasattr" or more else "read")
                for part in more:
                    value |= self._expression(part)
                return value if how == "getattr" else NOTHING
            case ast.Call(func=ast.Name(id="setattr"), args=[inner, ast.Constant(value=str(name)), part]):
                self._expression(part)
                self._note_all(
                    node, Value(frozenset(ref + f".{name}" for ref in self._expression(inner, "").refs)), "set"
                )
                return NOTHING
        called = self._expression(node.func, "")
        self._note_all(node, called, "call")
        if self.noting:
            lookups.environment(node, "read", self._fact, self.variables)
            lookups.distribution(node, self._fact, self.lookups, self._known.functions)
        self._dictionaries.call(node)
        given = [self._expression(part.value if isinstance(part, ast.Starred) else part) for part in node.args]
        named = {part.arg: self._expression(part.value) for part in node.keywords}
        match node.func:
            case ast.Attribute(value=ast.Name(id=name), attr="append" | "extend") if given:
                put = given[0].refs | given[0].items
                self._bind(name, Value(items=frozenset(replace(ref, under=tuple(self._guards)) for ref in put)))
            case (
                ast.Name(id="Thread" | "Process")
                | ast.Attribute(attr="Thread" | "Process" | "submit" | "start_new_thread")
            ):
                for part in [*node.args, *(keyword.value for keyword in node.keywords)]:
                    for one in part.elts if isinstance(part, (ast.Tuple, ast.List)) else [part]:
                        self._learn_thread(one)
        value = Value(frozenset(ref + "()" for ref in called.refs if ref.path and ref.module != ACCELERATOR))
        if Ref(ACCELERATOR, "get_tracker") in called.refs:
            unwrap = any(part.arg == "unwrap" for part in node.keywords)
            value = Value(frozenset({Ref(GENERAL, "tracker" if unwrap else "")}))
        for function in self._own_functions(node.func):
            self._known.hand_over(function, given, named)
            value |= self._known.result(function)
        return value

    def _own_functions(self, node: ast.expr) -> list[str]:
        """Return the functions of this file that an expression names: `f`, `self.f`."""
        match node:
            case ast.Name(id=name):
                return self._known.defined(f"{scope}.{name}".lstrip(".") for scope in self._scopes)
            case ast.Attribute(value=ast.Name(id="self"), attr=name) if self._classes:
                return self._known.methods(self._classes[-1], name)
        return []

    # ---- notes -------------------------------------------------------------------------------------------------------

    @property
    def _inside(self) -> str:
        return self._scopes[-1]

    def _note_all(self, node: ast.expr, value: Value, kind: str) -> None:
        for ref in sorted(value.refs):
            self._note(node, ref, kind)

    def _note(self, node: ast.AST, ref: Ref, kind: str) -> None:
        if not self.noting or not (ref.path or (kind in ("item", "setitem") and ref.module == GENERAL)):
            return
        given = shape(node, self._dictionaries) if kind == "call" and isinstance(node, ast.Call) else None
        under = tuple(dict.fromkeys([*self._guards, *ref.under]))
        self.uses.append(Use(ref.module, ref.path, kind, given, f"{self.place}:{_line(node)}", self._inside, under))

    def _fact(self, module: str, name: str, how: str, node: ast.AST) -> Fact:
        under = tuple(dict.fromkeys(self._guards))
        return Fact(module, name, how, f"{self.place}:{_line(node)}", self._inside, under)


def _line(node: ast.AST) -> int:
    """Return the line at which Python says that it is: of an expression over several lines, that of its last name."""
    name = node.func if isinstance(node, ast.Call) else node
    line: int = getattr(name, "end_lineno" if isinstance(name, ast.Attribute) else "lineno")
    return line
