"""What a release asks of trackers, as plain data: uses of modules, environment variables, look-ups, hooks.

One `Surface` is what `scan` reads from a release and what `fixtures/surface/<library>-<version>.json` holds: one line a
fact, in the order of files and lines, so that two scans of one source are equal and a review reads as a diff.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any

#: What is done with a path of a module.
KINDS = ("import", "read", "probe", "call", "item", "set", "setitem", "base", "catch")


@dataclass(frozen=True, order=True)
class Shape:
    """The arguments of a call: `positional` how many, `keywords` those always given, `maybe` those given at times.

    `star` and `stars`: whether there are further ones that the source does not tell (`*rows`, `**settings`).
    """

    positional: int = 0
    keywords: tuple[str, ...] = ()
    maybe: tuple[str, ...] = ()
    star: bool = False
    stars: bool = False

    def __str__(self) -> str:
        parts = ["_"] * self.positional + ["*"] * self.star + [f"{word}=" for word in self.keywords]
        return f"({', '.join([*parts, *(f'{word}=?' for word in self.maybe), *['**'] * self.stars])})"

    @classmethod
    def parse(cls, text: str) -> Shape:
        """Return the shape that `str` wrote as `text`, such as `(_, step=, name=?, **)`. Raises ValueError."""
        if not (text.startswith("(") and text.endswith(")")):
            raise ValueError(f"{text!r} is no shape of a call, such as (_, step=)")
        words = [word for word in text[1:-1].split(", ") if word]
        return cls(
            words.count("_"),
            tuple(word[:-1] for word in words if word.endswith("=")),
            tuple(word[:-2] for word in words if word.endswith("=?")),
            "*" in words,
            "**" in words,
        )


@dataclass(frozen=True)
class Use:
    """One use of a tracker's module.

    `path` starts behind the module: `run.summary[]`, `init().log`; "()" is what a call returned, "[]" an item. `shape`
    is that of a call's arguments, else None. `where` is `trl/trainer/grpo_trainer.py:3371`, `inside` the class and
    function, `guards` the conditions under which it is reached, outermost first.
    """

    module: str
    path: str
    kind: str
    shape: Shape | None
    where: str
    inside: str = ""
    guards: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.module}.{self.what}"

    @property
    def what(self) -> str:
        """The use in words without its module: `log(_, step=)`, `run.url`, `config[] =`, `import sdk.lib`."""
        ends = {"call": str(self.shape), "item": "[]", "setitem": "[] =", "set": " =", "probe": " ?"}
        front = {"import": "import ", "base": "class of ", "catch": "except "}
        return f"{front.get(self.kind, '')}{self.path}{ends.get(self.kind, '')}"

    @property
    def file(self) -> str:
        """The file of `where`."""
        return self.where.rpartition(":")[0]

    @property
    def line(self) -> int:
        """The line of `where`."""
        return int(self.where.rpartition(":")[2])

    @property
    def names(self) -> tuple[str, ...]:
        """The attributes from the module on: `("context_vars", "current_run", "get", "name")`."""
        return tuple(word for word in re.split(r"\.|\(\)|\[\]", self.path) if word)

    def to_json(self) -> dict[str, Any]:
        """Return plain data without what is empty; `from_json` reads it."""
        told = {**asdict(self), "shape": str(self.shape) if self.shape is not None else None, "guards": [*self.guards]}
        return {name: value for name, value in told.items() if value not in (None, "", [])}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Use:
        """Return what `to_json` wrote."""
        shape = Shape.parse(told["shape"]) if "shape" in told else None
        known = {**told, "shape": shape, "guards": tuple(told.get("guards", ()))}
        return cls(**{"path": "", **known})


@dataclass(frozen=True)
class Fact:
    """An environment variable or a look-up of a distribution.

    Variables: `name` is `WANDB_PROJECT`, `how` is `read`, `set` or `setdefault`. Look-ups: `name` is what is looked up,
    `how` the function, with the functions that it calls in turn.
    """

    module: str
    name: str
    how: str
    where: str
    inside: str = ""
    guards: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain data without what is empty."""
        told = {**asdict(self), "guards": [*self.guards]}
        return {name: value for name, value in told.items() if value not in ("", [])}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Fact:
        """Return what `to_json` wrote."""
        return cls(**{**told, "guards": tuple(told.get("guards", ()))})


@dataclass(frozen=True)
class Hook:
    """A method that a library calls on a tracker's object of class `owner` (`TrainerCallback`, `GeneralTracker`).

    `parameters` is the base class's own signature, `shape` what is called with, None where the library never calls it.
    """

    owner: str
    name: str
    parameters: str
    shape: Shape | None
    where: str

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {**asdict(self), "shape": str(self.shape) if self.shape is not None else None}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Hook:
        """Return what `to_json` wrote."""
        return cls(**{**told, "shape": Shape.parse(told["shape"]) if told["shape"] else None})


@dataclass(frozen=True)
class Surface:
    """Everything that one release of a library asks of trackers."""

    library: str
    version: str
    uses: tuple[Use, ...] = ()
    variables: tuple[Fact, ...] = ()
    lookups: tuple[Fact, ...] = ()
    hooks: tuple[Hook, ...] = ()
    #: Files that could not be read as Python, with the reason: what they ask is not known.
    unread: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        return f"{self.library} {self.version}"

    @property
    def minor(self) -> str:
        """`1.16` for `1.16.0`."""
        return ".".join(self.version.split(".")[:2])

    def on(self, module: str) -> Iterator[Use]:
        """Yield the uses of one module."""
        return (use for use in self.uses if use.module == module)

    def text(self) -> str:
        """Return the JSON of the file in fixtures/surface: one line a fact."""

        def lines(facts: Iterable[Any]) -> str:
            told = ",\n".join(json.dumps(fact if isinstance(fact, str) else fact.to_json()) for fact in facts)
            return f"[\n{told}\n]" if told else "[]"

        parts = [f'"{part.name}": {lines(getattr(self, part.name))}' for part in fields(self)[2:]]
        head = f'"library": {json.dumps(self.library)},\n"version": {json.dumps(self.version)}'
        return "{\n" + ",\n".join([head, *parts]) + "\n}\n"

    @classmethod
    def parse(cls, text: str) -> Surface:
        """Return what `text` wrote. Raises ValueError or KeyError for anything else."""
        return cls.of(json.loads(text))

    @classmethod
    def of(cls, told: dict[str, Any]) -> Surface:
        """Return what stands in the JSON that `text` wrote."""
        return cls(
            told["library"],
            told["version"],
            tuple(map(Use.from_json, told["uses"])),
            tuple(map(Fact.from_json, told["variables"])),
            tuple(map(Fact.from_json, told["lookups"])),
            tuple(map(Hook.from_json, told["hooks"])),
            tuple(told["unread"]),
        )
