"""What a source asks of a tracker's module, by AST; the code in contract.toml is read in the same way."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

#: Where a library's source may use a tracker's module.
SOURCES = {
    "transformers": ("*.py", "integrations/*.py", "utils/*.py"),
    "trl": ("**/*.py",),
    "accelerate": ("*.py", "utils/*.py"),
}
MODULES = ("trackio", "wandb")
#: Variables that callers set or read for this tracker; those of wandb are their own settings.
ENVIRONMENT = r"TRACKIO_[A-Z_]+"
#: Without one of these a file uses none of the modules.
WITHOUT_WHICH = rf"(?:import|from) +(?:trackio|wandb)\b|\b_(?:trackio|wandb)\b|{ENVIRONMENT}"
#: The calls that decide whether a module is available.
DECIDE = ("find_spec", "metadata", "hasattr", "_is_package_available")


class Use(NamedTuple):
    """One use: `what`, such as `log(_, step=)` or `run.url`, in which `function`, at which `line`."""

    what: str
    function: str
    line: int


def uses(source: str | ast.Module, module: str) -> list[Use]:
    """Return what a source asks of `module`, by any name it gives to it or to a part of it."""
    tree = ast.parse(source) if isinstance(source, str) else source
    scan = _Scan(module)
    scan.visit(tree)
    scan.found.clear()  # the first pass learnt what `self.run` is wherever it is assigned
    scan.visit(tree)
    return list(dict.fromkeys(scan.found))


def found_in(folder: Path, by: str) -> dict[str, dict[str, set[str]]]:
    """Return module -> what the library `by`, which lies in `folder`, asks of it -> the places that do."""
    found: dict[str, dict[str, set[str]]] = {module: {} for module in MODULES}
    for path in (path for pattern in SOURCES[by] for path in folder.glob(pattern)):
        text = path.read_text(encoding="utf-8")
        if not re.search(WITHOUT_WHICH, text):
            continue
        tree = ast.parse(text)
        for module in MODULES:
            for use in uses(tree, module):
                place = f"{path.relative_to(folder).as_posix()}:{use.function}"
                found[module].setdefault(use.what, set()).add(place)
    return found


class _Scan(ast.NodeVisitor):
    def __init__(self, module: str) -> None:
        self.module = module
        self.found: list[Use] = []
        self._inside: list[str] = []
        self._names: list[dict[str, str]] = [{module: ""}]
        self._held: dict[tuple[str, str], str] = {}
        self._lists: set[str] = set()

    def _chain(self, node: ast.AST) -> str | None:
        """Return what an expression is, seen from the module; empty for the module, None for others."""
        match node:
            case ast.Name(id=name):
                return next((scope[name] for scope in reversed(self._names) if name in scope), None)
            case ast.Attribute(value=ast.Name(id="self"), attr=name):
                if name == f"_{self.module}":
                    return ""  # the callbacks of transformers, and their subclasses in TRL
                return self._held.get((self._inside[0] if self._inside else "", name))
            case (
                ast.Attribute(value=inner, attr=name)
                | ast.Call(func=ast.Name(id="getattr"), args=[inner, ast.Constant(value=name), *_])
            ):
                base = self._chain(inner)
                return None if base is None else f"{base}.{name}".lstrip(".")
            case ast.Call(func=inner):
                base = self._chain(inner)
                return f"{base}({_shape(node)})" if base else None
            case ast.Subscript(value=inner):
                base = self._chain(inner)
                return f"{base}[]" if base else None
            case ast.NamedExpr(value=inner):
                return self._chain(inner)
        return None

    def visit(self, node: ast.AST) -> None:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                self._inside.append(name)
                self._names.append({})
                self.generic_visit(node)
                self._inside.pop()
                self._names.pop()
            case ast.Import(names=names):
                for alias in names:
                    if alias.name == self.module:
                        self._names[-1][alias.asname or alias.name] = ""
                    elif alias.name.startswith(f"{self.module}."):
                        self._add(f"import {alias.name}", node)
            case ast.ImportFrom(module=self.module, level=0, names=names):
                for alias in names:
                    self._names[-1][alias.asname or alias.name] = alias.name
                    self._add(alias.name, node)
            case ast.ImportFrom(module=str(package), level=0) if package.startswith(f"{self.module}."):
                self._add(f"import {package}", node)
            case ast.Assign(targets=[target], value=value):
                self.visit(value)
                if (stored := self._chain(target)) and isinstance(target, ast.Subscript):
                    self._add(f"{stored}=", node)
                self._bind(target, value)
            case ast.NamedExpr(target=target, value=value):
                self.visit(value)
                self._bind(target, value)
            case ast.For(target=target, iter=ast.Name(id=name)) if name in self._lists:
                self._names[-1][target.id] = ""  # type: ignore[attr-defined]
                self.generic_visit(node)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="append"), args=[item]) if (
                self._chain(item) == ""
            ):
                self._lists.add(name)
            case ast.Constant(value=str(text)) if self.module == "trackio" and re.fullmatch(
                ENVIRONMENT, text
            ):
                self._add(f"${text}", node)
            case ast.Attribute() | ast.Call() | ast.Subscript() if (chain := self._chain(node)) is not None:
                if chain and not (isinstance(node, ast.Attribute) and _is_self(node.value)):
                    self._add(chain, node)
                self._arguments(node)
            case _:
                self.generic_visit(node)

    def _arguments(self, node: ast.AST) -> None:
        """Visit what stands in the brackets of a chain: the chain itself is one use."""
        match node:
            case ast.Attribute(value=inner):
                self._arguments(inner)
            case ast.Subscript(value=inner, slice=part):
                self._arguments(inner)
                self.visit(part)
            case ast.Call(func=inner, args=args, keywords=keywords):
                self._arguments(inner)
                for part in [*args, *(keyword.value for keyword in keywords)]:
                    self.visit(part)

    def _bind(self, target: ast.AST, value: ast.AST) -> None:
        chain = self._chain(value)
        match target:
            case ast.Name(id=name) if chain is not None:
                self._names[-1][name] = chain
            case ast.Attribute(value=owner, attr=name) if chain is not None and _is_self(owner):
                self._held[self._inside[0], name] = chain

    def _add(self, what: str, node: ast.AST) -> None:
        self.found.append(Use(what, ".".join(self._inside), node.lineno))  # type: ignore[attr-defined]


def _is_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def _shape(call: ast.Call) -> str:
    places = ["*" if isinstance(value, ast.Starred) else "_" for value in call.args]
    return ", ".join(places + sorted(f"{key.arg}=" if key.arg else "**" for key in call.keywords))


def deciding(source: str, function: str) -> list[str]:
    """Return the calls in `function` that decide whether a module is available, sorted."""
    bodies = [node for node in ast.parse(source).body if getattr(node, "name", "") == function]
    calls = [node for body in bodies for node in ast.walk(body) if isinstance(node, ast.Call)]
    return sorted(ast.unparse(call) for call in calls if ast.unparse(call.func).split(".")[-1] in DECIDE)
