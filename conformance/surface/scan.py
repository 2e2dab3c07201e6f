"""Find every use of a tracker's module in the sources of TRL and transformers, by AST.

A use is an attribute chain that starts at the module: `wandb.run.url`, `trackio.Table(dataframe=df)`,
`self._trackio.init(project=…)`. Three ways lead to the module: its name, an attribute `self._<name>` that a reporting
callback keeps, and a loop variable over a list to which modules were appended (`for backend in logging_backends`).
"""

from __future__ import annotations

import ast
import functools
from dataclasses import asdict, dataclass
from typing import Any

from conformance.trainers import root

#: Module name -> attribute under which transformers' reporting callbacks keep it.
HELD = {"trackio": "_trackio", "wandb": "_wandb", "mlflow": "_ml_flow"}
#: Where trackers' modules are used. transformers has its own callback per integration in one file.
SOURCES = ("trl", "transformers/integrations/integration_utils.py")


@dataclass(frozen=True)
class Use:
    """One use: `chain` without the module's name, `positional` number and `keywords` of the call (None: no call)."""

    module: str
    chain: tuple[str, ...]
    positional: int | None
    keywords: tuple[str, ...]
    where: str
    inside: str

    def to_json(self) -> dict[str, Any]:
        """Return plain data, as it is sent into the sandbox."""
        return asdict(self)


@functools.cache
def uses(modules: tuple[str, ...]) -> tuple[Use, ...]:
    """Return the uses of `modules` in the installed TRL and transformers, in the order of files and lines."""
    found: list[Use] = []
    for source in SOURCES:
        package, _, rest = source.partition("/")
        folder = root(package)
        if folder is None:
            continue
        paths = [folder / rest] if rest else sorted(folder.rglob("*.py"))
        for path in paths:
            text = path.read_text(encoding="utf-8")
            if any(name in text for name in modules):
                place = f"{package}/{path.relative_to(folder)}"
                found += scan(text, place, modules)
    return tuple(found)


def scan(text: str, place: str, modules: tuple[str, ...]) -> list[Use]:
    """Return the uses in one file; `place` is how the file is named in `where`."""
    visitor = _Visitor(place, modules)
    visitor.visit(ast.parse(text))
    return sorted(visitor.found, key=lambda use: int(use.where.rpartition(":")[2]))


class _Visitor(ast.NodeVisitor):
    def __init__(self, place: str, modules: tuple[str, ...]) -> None:
        self.found: list[Use] = []
        self._place = place
        self._modules = modules
        self._lists: dict[str, set[str]] = {}
        self._loops: dict[str, set[str]] = {}
        self._classes: list[str] = []
        self._calls: dict[int, ast.Call] = {}

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._classes.append(node.name)
        self.generic_visit(node)
        self._classes.pop()

    def visit_Call(self, node: ast.Call) -> None:
        self._calls[id(node.func)] = node
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="append"), args=[ast.Name(id=module)]):
                if module in self._modules:
                    self._lists.setdefault(name, set()).add(module)
        self.generic_visit(node)

    def visit_For(self, node: ast.For) -> None:
        match node:
            case ast.For(target=ast.Name(id=variable), iter=ast.Name(id=name)) if name in self._lists:
                self._loops[variable] = self._lists[name]
        self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.module in self._modules and node.level == 0:
            for alias in node.names:
                self._add(node.module, (alias.name,), None, node.lineno)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        chain: list[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            chain.insert(0, inner.attr)
            roots = self._roots(inner.value)
            for module in roots:
                self._add(module, tuple(chain), self._calls.get(id(node)), node.lineno)
            if roots:
                return
            inner = inner.value
        self.generic_visit(node)

    def _roots(self, node: ast.expr) -> list[str]:
        """Return the modules that an expression is: by name, by `self._name`, or as a loop's variable."""
        match node:
            case ast.Name(id=name) if name in self._modules:
                return [name]
            case ast.Name(id=name) if name in self._loops:
                return sorted(self._loops[name])
            case ast.Attribute(value=ast.Name(id="self"), attr=attribute):
                return [module for module in self._modules if HELD.get(module) == attribute]
        return []

    def _add(self, module: str, chain: tuple[str, ...], call: ast.Call | None, line: int) -> None:
        open_call = call is not None and (
            any(k.arg is None for k in call.keywords) or any(isinstance(a, ast.Starred) for a in call.args)
        )
        self.found.append(
            Use(
                module,
                chain,
                None if call is None or open_call else len(call.args),
                () if call is None else tuple(k.arg for k in call.keywords if k.arg),
                f"{self._place}:{line}",
                self._classes[-1] if self._classes else "",
            )
        )
