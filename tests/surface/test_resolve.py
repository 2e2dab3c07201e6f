"""conformance.surface.resolve: what a module serves, what it does not, and what cannot be told from it."""

from __future__ import annotations

import contextvars
import sys
import textwrap
from types import ModuleType
from typing import Any

import pytest

from conformance.surface import reader
from conformance.surface.resolve import Missing, Unknown, serves


class Config:
    def update(self, values: dict[str, Any], allow_val_change: bool = False) -> None: ...
    def __setitem__(self, key: str, value: Any) -> None: ...


class Run:
    def __init__(self) -> None:
        self.name = "x"

    @property
    def url(self) -> str:
        return "https://"

    @property
    def config(self) -> Config:
        return Config()

    def log(self, metrics: dict[str, float], step: int | None = None) -> None: ...


class Loose:
    def __getattr__(self, name: str) -> Any:
        return None


class ConfigError(Exception): ...


class Closed:
    """Like wandb's config before init."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("call init first")


@pytest.fixture
def acme(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A live module, installed as wandb."""
    module: Any = ModuleType("wandb")
    module.__path__ = []

    def init(project: str | None = None, **settings: Any) -> Run:
        return Run()

    def log(metrics: dict[str, float], step: int | None = None) -> None: ...

    def untold(name):  # type: ignore[no-untyped-def]
        return Run()

    module.init, module.log, module.untold, module.Run, module.Loose = init, log, untold, Run, Loose
    module.run, module.config, module.version, module.summary = None, Config(), "1.0", {}
    module.loose, module.ConfigError, module.closed = Loose(), ConfigError, Closed()
    module.current = contextvars.ContextVar("current")
    monkeypatch.setitem(sys.modules, "wandb", module)
    part = ModuleType("wandb.part")
    part.thing = 1  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb.part", part)
    return module


def outcomes(module: ModuleType, text: str, live: dict[str, Any] | None = None) -> list[str]:
    found = []
    for use in reader.read("import wandb\n" + textwrap.dedent(text), "trl/x.py")[0]:
        try:
            found.append(serves(module, use, "acme", live))
        except Missing as error:
            found.append(f"missing: {error}")
        except Unknown as error:
            found.append(f"unknown: {error}")
    return found


@pytest.mark.parametrize(
    "text",
    [
        "wandb.log({}, step=1)",
        "wandb.log({})",
        "wandb.init(project=1).log({}, 1)",
        "wandb.init().url",
        "wandb.init().name",
        "wandb.init().name = 'y'",
        "wandb.init().config.update({}, allow_val_change=True)",
        "wandb.init().config['x'] = 1",
        "wandb.config['x'] = 1",
        "wandb.summary['x']",
        "wandb.Run().log({})",
        "from wandb import part",
        "import wandb.part",
        "from wandb.part import thing",
        "try: f()\nexcept wandb.ConfigError: pass",
        "wandb.log({}, **more)",
    ],
)
def test_what_the_module_has_is_served(acme: ModuleType, text: str) -> None:
    assert set(outcomes(acme, text)) == {""}


@pytest.mark.parametrize(
    "text, problem",
    [
        ("wandb.finish()", "acme has no finish"),
        ("wandb.log({}, commit=True)", "acme.log(_, commit=): got an unexpected keyword argument 'commit'"),
        ("wandb.log({}, 1, 2)", "acme.log(_, _, _): too many positional arguments"),
        ("wandb.log(step=1)", "acme.log(step=): missing a required argument: 'metrics'"),
        ("wandb.log({}, **{'a': 1})", "acme.log(_, a=): got an unexpected keyword argument 'a'"),
        (
            "kw = {}\nif x:\n    kw['a'] = 1\nwandb.log({}, **kw)",
            "acme.log(_, a=?): got an unexpected keyword argument 'a'",
        ),
        ("wandb.init().finish()", "acme.init() (Run) has no finish"),
        ("wandb.init().log()", "acme.init().log(): missing a required argument: 'metrics'"),
        ("wandb.init().url = 'x'", "acme.init().url cannot be set: Run.url is a property without a setter"),
        ("wandb.config.get('x')", "acme.config (Config) has no get"),
        ("wandb.config['x']", "one cannot take an item of acme.config (Config)"),
        ("wandb.version()", "acme.version cannot be called: it is of type str"),
        ("from wandb import sdk", "acme has no sdk"),
        ("import wandb.sdk.lib", "acme has no sdk"),
        ("try: f()\nexcept wandb.Run: pass", "acme.Run is no exception class, but callers catch it"),
    ],
)
def test_what_the_module_lacks_is_named(acme: ModuleType, text: str, problem: str) -> None:
    assert outcomes(acme, text)[-1] == f"missing: {problem}"


@pytest.mark.parametrize(
    "text, why",
    [
        ("wandb.run.url", "acme.run is None here: what it is while a run is open is not known"),
        ("wandb.untold('x').log({})", "what acme.untold() is"),
        ("wandb.current.get().name", "acme.current.get() is not set here"),
        ("wandb.closed.update({})", "acme.closed.update raises RuntimeError here: call init first"),
        ("wandb.Loose().anything", "acme.Loose() (Loose) makes up its attributes"),
    ],
)
def test_what_cannot_be_told_is_no_gap(acme: ModuleType, text: str, why: str) -> None:
    assert outcomes(acme, text)[-1] == f"unknown: {why}"


def test_a_context_variable_is_looked_into(acme: Any) -> None:
    acme.current.set(Run())
    assert outcomes(acme, "run = wandb.current.get()\nrun.name\nrun.nothing") == [
        "",
        "",
        "missing: acme.current.get() (Run) has no nothing",
    ]


def test_a_live_object_stands_for_what_a_call_returns(acme: ModuleType) -> None:
    assert outcomes(acme, "wandb.init().anything", {"init()": Loose()}) == ["", ""]


def test_what_is_none_while_a_run_is_open_is_missing(acme: ModuleType) -> None:
    assert outcomes(acme, "wandb.init().log({})", {"init()": None})[-1] == (
        "missing: acme.init() is None, though a run is open"
    )
    assert outcomes(acme, "wandb.run.url", {"init()": Run()}) == ["missing: acme.run is None, though a run is open"]


def test_what_is_taken_by_stars_alone_is_told(acme: ModuleType) -> None:
    assert outcomes(acme, "wandb.init(project=1, group=2)") == ["acme.init takes group= by its ** alone"]
