"""The law: clauses as data, one file per level. This module only reads them.

A clause is a requirement with an id, a keyword (MUST, SHOULD, MAY), the line of TRL or transformers that makes it, and
the broken trackers that prove that it can fail.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LEVELS = ("attach", "record", "train", "endure")
#: File -> level. What a Hub does to a training is endured as well. It is no level 4 of its own: whoever claims nothing
#: would have that for nothing.
FILES = {**{name: level for level, name in enumerate(LEVELS)}, "hub": LEVELS.index("endure")}


@dataclass(frozen=True)
class Clause:
    """One requirement. `needs` are capabilities without which it does not apply, `capability` what may be refused.

    `kinds` are the differences that break it; under the first one goes what a payload costs the values beside it.
    """

    id: str
    level: int
    title: str
    must: str
    source: str
    quote: tuple[str, ...]
    caught: tuple[str, ...]
    kinds: tuple[str, ...] = ()
    keyword: str = "MUST"
    capability: str = ""
    needs: tuple[str, ...] = ()
    since: str = ""

    @property
    def line(self) -> str:
        """`package/file.py:line` in the installed release; without the line if no quoted line is in it."""
        return located(self.source, self.quote)


@functools.cache
def located(source: str, quote: tuple[str, ...]) -> str:
    """Return `source:line` of the first of the quoted lines that the installed release has."""
    package, _, rest = source.partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return source
    path = Path(spec.origin).parent / rest
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for text in quote:
        for number, line in enumerate(lines, 1):
            if text in line:
                return f"{source}:{number}"
    return source


@functools.cache
def all_clauses() -> dict[str, Clause]:
    """Return id -> clause, in the order of levels and files. Raises ValueError for a malformed file."""
    found: dict[str, Clause] = {}
    for name, level in FILES.items():
        path = Path(__file__).with_name(f"{name}.toml")
        for row in tomllib.loads(path.read_text(encoding="utf-8"))["clause"]:
            clause = _clause(level, row, path.name)
            if clause.id in found:
                raise ValueError(f"{path.name}: {clause.id} stands twice")
            found[clause.id] = clause
    return found


def _clause(level: int, row: dict[str, Any], where: str) -> Clause:
    lists: dict[str, Any] = {name: tuple(row.pop(name, ())) for name in ("quote", "caught", "needs")}
    try:
        return Clause(level=level, kinds=tuple(row.pop("kinds", ())), **lists, **row)
    except TypeError as error:
        raise ValueError(f"{where}: {row.get('id', 'a clause without id')}: {error}") from error


FROZEN = Path(__file__).with_name("frozen.toml")
_FROZEN_HEAD = """\
# How many checks one tracker has, by TRL minor and level; `variants` and `experimental` are there on demand only.
# Another number is red: a check that vanishes must be seen. Renewed by `trl-conformance freeze`.
"""


def frozen() -> dict[str, dict[str, int]]:
    """Return TRL minor -> level, `variants` or `experimental` -> number of checks that one tracker has."""
    return dict(tomllib.loads(FROZEN.read_text(encoding="utf-8")))


def frozen_text(counts: Mapping[str, Mapping[str, int]]) -> str:
    """Return the text of `frozen.toml` for such counts; the minors stand in the order of `counts`."""
    tables = [
        f'["{minor}"]\n' + "".join(f"{kind} = {n}\n" for kind, n in sorted(kinds.items()))
        for minor, kinds in counts.items()
    ]
    return "\n".join([_FROZEN_HEAD.rstrip("\n"), *tables])
