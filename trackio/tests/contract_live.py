"""The data of `contract.toml` and `contract_wandb.toml`, and a release's life with a module, row by row."""

from __future__ import annotations

import ast
import contextvars
import functools
import importlib
import io
import math
import os
import re
import sys
import tempfile
import threading
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas
import PIL.Image
from conftest import forget_everything
from contract_scan import uses
from packaging.version import parse

import trackio

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest needs it there, too

HERE = Path(__file__).parent
#: A life brings its runs to the disk several times; here that takes no time.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@functools.cache
def minor(version: str) -> tuple[int, ...]:
    """Return the first two numbers of a version: bands are of minor releases."""
    return parse(version).release[:2]


def within(releases: str, version: str) -> bool:
    """Tell whether `releases`, such as `0.22 - 0.29, 1.1 -`, have the minor release of `version`."""
    at = minor(version)
    for text in releases.split(","):
        band = re.fullmatch(r"([\d.]+) -(?: ([\d.]+))?", text.strip())
        if band is None:
            raise ValueError(f"not a band of releases: {text!r}")
        if minor(band[1]) <= at and (band[2] is None or at <= minor(band[2])):
            return True
    return False


@dataclass(frozen=True)
class Row:
    """One requirement: in `releases` of the library `by`, the functions at `where` do to `module` what `do`
    says; `then` must be true at once and `after` at the end.
    """

    module: str
    id: str
    by: str
    releases: str
    where: list[str]
    do: str
    then: list[str] | tuple[()] = ()
    after: list[str] | tuple[()] = ()


class Contract:
    """What the two files say: `rows`, `releases` (library -> versions), `outside`, `asks`, `layouts`."""

    def __init__(self) -> None:
        base, more = (
            tomllib.loads((HERE / f"{name}.toml").read_text(encoding="utf-8"))
            for name in ("contract", "contract_wandb")
        )
        rows = [("trackio", row) for row in base["trackio"]] + [("wandb", row) for row in more["wandb"]]
        self.rows = [Row(module, **row) for module, row in rows]
        #: TRL -> the transformers of its weeks.
        self.below: dict[str, str] = dict(base["releases"]["trl"])
        self.releases: dict[str, list[str]] = {**base["releases"], "trl": list(self.below)}
        self.outside: list[dict[str, str]] = more["outside"]
        self.asks: list[dict[str, Any]] = base["ask"] + more["ask"]
        self.layouts: dict[str, dict[str, list[str]]] = base["layouts"]

    def asked(self, by: str, version: str, module: str) -> list[Row]:
        """Return the rows of one library at one release."""
        rows = [row for row in self.rows if (row.by, row.module) == (by, module)]
        return [row for row in rows if within(row.releases, version)]

    def life(self, by: str, version: str, module: str) -> list[Row]:
        """Return what happens in a training with that release, in order; TRL trains through transformers."""
        own = self.asked(by, version, module)
        below = self.asked("transformers", self.below[version], module) if by == "trl" else []
        return [row for row in self.rows if row in own or row in below]

    def claims(self, rows: list[Row]) -> dict[str, list[Row]]:
        """Return what the code of `rows` asks -> the rows that say so."""
        owner = [row for row in rows for _ in row.do.split("\n")]
        found: dict[str, list[Row]] = {}
        for use in uses("\n".join(row.do for row in rows), rows[0].module) if rows else ():
            found.setdefault(use.what, []).append(owner[use.line - 1])
        return found


CONTRACT = Contract()


def names(version: str | None) -> list[str | None]:
    """Return the run names that a release of transformers hands on: up to 4.54 the output folder's path,
    later None unless somebody says otherwise (training_args.py, `__post_init__`).
    """
    return ["./out/../run"] if version is not None and minor(version) < (4, 55) else [None, "./out/../run"]


def faults(module: str, by: str, version: str, stand_in: Any = None) -> dict[str, str]:
    """Live with a release, under each name that a run may have; return row -> what is wrong."""
    below = {"trl": CONTRACT.below.get(version), "transformers": version}.get(by)
    life = tuple(row.id for row in CONTRACT.life(by, version, module))
    return _lived(module, life, tuple(names(below)), stand_in)


@functools.cache
def _lived(module: str, life: tuple[str, ...], run_names: tuple[str | None, ...], stand_in: Any) -> Any:
    # Releases that ask the same share a life.
    rows = [row for row in CONTRACT.rows if row.module == module and row.id in life]
    found: dict[str, str] = {}
    for name in run_names:
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
            for row, fault in live(rows, Path(folder), name, stand_in).items():
                found.setdefault(row, f"with the run name {name!r}: {fault}")
    return found


class Fault(Exception):
    """What a row says must be so is not so."""


def live(rows: list[Row], folder: Path, name: str | None, module: Any = None) -> dict[str, str]:
    """Do what `rows` say with `module`, in an empty store below `folder`; return row -> what is wrong.

    `module` is by default the reference. A row that fails with another one is done again with the reference,
    so that the rows after it are judged by themselves.
    """
    faults: dict[str, str] = {}
    environment = dict(os.environ)
    os.environ["TRACKIO_DIR"] = str(folder / "store")
    for variable in ("TRACKIO_PROJECT", "TRACKIO_SPACE_ID", "HF_TOKEN"):
        os.environ.pop(variable, None)
    values = _values(folder, name)
    forget_everything()
    try:
        with reference(rows[0].module) as real:
            module = real if module is None else module
            for row in rows:
                try:
                    _do(row, module, values)
                    _hold(row.then, values)
                except Exception as error:
                    faults[row.id] = f"{row.do}\n{type(error).__name__}: {error}"
                    if module is not real:
                        with suppress(Exception):
                            _do(row, real, values)
            for row in rows:
                try:
                    _hold(row.after, values)
                except Exception as error:
                    faults.setdefault(row.id, f"{row.do}\nat the end: {type(error).__name__}: {error}")
    finally:
        forget_everything()
        os.environ.clear()
        os.environ.update(environment)
    return faults


def _do(row: Row, module: Any, values: dict[str, Any]) -> None:
    said = values["said"] = io.StringIO()
    values[row.module] = module
    before, sys.modules[row.module] = sys.modules.get(row.module), module  # what `import` finds
    try:
        with redirect_stderr(said), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(compile(row.do, row.id, "exec"), values)
    finally:
        sys.modules[row.module] = before  # type: ignore[assignment]


def _hold(expectations: list[str] | tuple[()], values: dict[str, Any]) -> None:
    """Raise Fault unless all are true. Equal means written alike: 1 is not 1.0, and nan is nan."""
    for text in expectations:
        found, *due = [eval(side, values) for side in _sides(text)]
        if due and repr(found) != repr(due[0]):
            raise Fault(f"{text}: it is {found!r}")
        if not due and not found:
            raise Fault(f"not so: {text}")


@functools.cache
def _sides(text: str) -> list[Any]:
    """Compile an expectation: the two sides of an equation, or anything else as it is."""
    whole = ast.parse(text, mode="eval").body
    equation = isinstance(whole, ast.Compare) and [type(op) for op in whole.ops] == [ast.Eq]
    sides = [whole.left, *whole.comparators] if equation else [whole]  # type: ignore[attr-defined]
    return [compile(ast.Expression(side), text, "eval") for side in sides]


@contextmanager
def reference(module: str) -> Iterator[Any]:
    """Give the module that callers get: `trackio`, or `wandb` as `trackio.wandb.install` provides it."""
    if module == "trackio":
        yield trackio
        return
    import trackio.wandb as surface

    real = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "wandb"}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # libraries that are imported by now are none of ours
            surface.install()
        yield importlib.import_module("wandb")
    finally:
        surface.uninstall()
        sys.modules.update(real)


class Lora:
    """As PEFT's configurations are: an object, not a dict."""

    def to_dict(self) -> dict[str, Any]:
        return {"r": 8, "target_modules": ["q", "v"]}


def _in_thread(work: Callable[[], Any]) -> None:
    """Do `work` in a daemon thread under a copy of this context; raise here what it raises."""
    errors: list[Exception] = []

    def inside() -> None:
        try:
            work()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(inside,), daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def _values(folder: Path, name: str | None) -> dict[str, Any]:
    """Return the names that rows may use: what the caller has, and what can be read back (the functions)."""
    text = "a\u2028“\N{GRINNING FACE}”\0"
    # As many arguments as transformers writes, and those that a careless config object trips over.
    plain: dict[str, Any] = {
        f"argument_{i}": [None, True, i, i / 7, f"steps {i}", [i], {"a": None}][i % 7] for i in range(196)
    }
    plain |= {"learning_rate": 2e-05, "items": 1, "update": None, "text": text, "layers": {"0": [{"b": 1.5}]}}
    frame = pandas.DataFrame(
        {
            "step": [2, 2],
            "prompt": ["a", [{"role": "user", "content": text}]],
            "completion": ["", "b\n"],
            "reward": [0.5, math.nan],
            "advantage": [-0.0, 1 / 3],
        }
    )
    picture = PIL.Image.new("RGB", (3, 2), (1, 2, 3))
    picture.putpixel((2, 1), (250, 251, 252))
    (folder / "checkpoint").mkdir(parents=True)
    (folder / "checkpoint" / "model.bin").write_bytes(b"\0weights")

    def every() -> list[trackio.api.StoredRun]:
        return [run for project in trackio.Api().projects() for run in trackio.Api().runs(project)]

    def stored() -> trackio.api.StoredRun:
        (run,) = every()
        return run

    def config(like: dict[str, Any] | None = None) -> dict[str, Any]:
        """The configuration; of it only what `like` has, in its order."""
        found = stored().config
        return found if like is None else {key: found[key] for key in like}

    def tables(key: str) -> list[tuple[int | None, Any, Any]]:
        return [(step, table.columns, table.rows) for step, at, table in stored().tables() if at == key]

    def report(logs: dict[str, Any]) -> None:
        """As the trainer's `log` does, by way of the callback."""
        values["wandb"].log(
            {**{f"train/{key}": value for key, value in logs.items()}, "train/global_step": 2}
        )

    values: dict[str, Any] = {
        "math": math,
        "os": os,
        "parse": parse,
        "project": "huggingface",
        "name": name,
        "keywords": {} if name is None else {"name": name},
        "plain": plain,
        "configuration": {**plain, "peft_config": {"default": Lora()}},
        "frame": frame,
        "columns": list(frame.columns),
        "cells": [list(row) for row in zip(*(frame[column].tolist() for column in frame), strict=True)],
        "picture": picture,
        "messages": [{"role": "user", "content": text}, {"role": "assistant", "content": ""}],
        "metadata": {"reward": 0.5, "rewards/f": math.nan, "group_id": 3},
        "folder": str(folder / "checkpoint"),
        "warning": f"said once: {uuid.uuid4()}",
        "in_thread": _in_thread,
        "report": report,
        # A run without a name gets one from the tracker: any will do.
        "runs": lambda: [(run.project, run.name if name is not None else None) for run in every()],
        "newest": lambda: every()[-1],
        "stored": stored,
        "config": config,
        "points": lambda key: [(step, value) for step, at, value in stored().points() if at == key],
        "media": lambda key: [(step, value) for step, at, value in stored().media() if at == key],
        "tables": tables,
        "artifacts": lambda asked: stored().artifact(asked),
    }
    return values
