"""Discovery: which trainers the installed TRL exports, read from its source without importing it.

Importing TRL costs some fifteen seconds and belongs to the sandbox alone; which checks exist must be known before,
when pytest collects. Both kinds of export are string or import names in `trl/__init__.py` and
`trl/experimental/*/__init__.py`.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Trainer:
    """One exported trainer: `name` is its class, `module` where it is imported from.

    `variant` is another way to train the same class (`conformance.recipes.variants`), "" for the ordinary one.
    """

    name: str
    module: str
    stable: bool
    variant: str = ""

    @property
    def beside(self) -> str:
        """Why it is trained on demand only: `experimental`, `variants`, or "" where it always is."""
        return "variants" if self.variant else ("" if self.stable else "experimental")

    @property
    def id(self) -> str:
        """The word used on the command line and in reports: `grpo`, `experimental.gkd.gkd`, or `grpo+chat`."""
        word = self.name.removesuffix("Trainer").lower() + (f"+{self.variant}" if self.variant else "")
        return word if self.stable else f"{self.module.removeprefix('trl.')}.{word}"


def release(distribution: str) -> str:
    """Return the installed version of `distribution`, or "" if it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def minor(version: str) -> str:
    """Return `1.16` for `1.16.0`."""
    return ".".join(version.split(".")[:2])


def root(package: str = "trl") -> Path | None:
    """Return the folder of an installed package without importing it, None if it is not installed."""
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else None


def _names(init: Path) -> set[str]:
    """Return every `…Trainer` that an `__init__.py` lists as a string or imports."""
    found = set()
    for node in ast.walk(ast.parse(init.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
        elif isinstance(node, ast.ImportFrom):
            found.update(alias.name for alias in node.names)
    return {name for name in found if name.endswith("Trainer") and name.isidentifier() and name[0] != "_"}


def _classes(module: Path) -> set[str]:
    """Return every `…Trainer` class that a module defines."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    names = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    return {name for name in names if name.endswith("Trainer") and name[0] != "_"}


#: Base classes that TRL exports beside the trainers that users construct.
BASES = {"BaseTrainer", "Trainer", "BaseSelfDistillationTrainer"}


def discover(folder: Path | None = None) -> list[Trainer]:
    """Return the trainers of the TRL in `folder` (default: the installed one), stable ones first, sorted by name.

    Raises FileNotFoundError if TRL is not installed.
    """
    folder = folder or root("trl")
    if folder is None:
        raise FileNotFoundError("TRL is not installed: pip install 'trl-conformance[trl]', or the TRL release to test")
    exported = _names(folder / "__init__.py") - BASES
    stable = [Trainer(name, "trl", True) for name in sorted(exported)]
    # PPOv2 and RLOO of 0.9 are to be imported from their own modules only.
    stable += [
        Trainer(name, f"trl.trainer.{path.stem}", True)
        for path in sorted((folder / "trainer").glob("*_trainer.py"))
        for name in sorted(_classes(path) - exported - BASES)
    ]
    experimental = [
        Trainer(name, f"trl.experimental.{init.parent.name}", False)
        for init in sorted((folder / "experimental").glob("*/__init__.py"))
        for name in sorted(_names(init) - BASES)
    ]
    return stable + experimental
