"""conformance.surface: every use of a tracker's module is found in a source, and held against a live module."""

from __future__ import annotations

import sys
import textwrap
from types import ModuleType
from typing import Any

import pytest

from conformance.surface.check import unserved
from conformance.surface.scan import Use, scan, uses

MODULES = ("trackio", "wandb")


def found(text: str) -> list[Use]:
    return scan(textwrap.dedent(text), "trl/x.py", MODULES)


def test_a_use_by_name_tells_its_call_and_its_place() -> None:
    (use,) = found(
        """
        class GRPO:
            def log(self):
                trackio.Table(1, dataframe=df)
        """
    )
    assert use == Use("trackio", ("Table",), 1, ("dataframe",), "trl/x.py:4", "GRPO")


def test_an_attribute_that_is_not_called_has_no_arguments() -> None:
    (use,) = found("url = wandb.run.url")
    assert (use.chain, use.positional, use.keywords, use.inside) == (("run", "url"), None, (), "")


def test_a_call_on_what_a_call_returned_is_two_lookups_of_one_module() -> None:
    (use,) = found("wandb.init(project='x').log({})")
    assert (use.chain, use.positional, use.keywords) == (("init",), 0, ("project",))


def test_the_module_that_a_reporting_callback_keeps_is_found() -> None:
    (use,) = found("self._trackio.init(project='p', name=n)")
    assert (use.module, use.chain, use.keywords) == ("trackio", ("init",), ("project", "name"))


def test_other_attributes_of_the_same_name_elsewhere_are_not_the_module() -> None:
    assert found("other._trackio.init()\nself.trackio.init()\nmytrackio.init()") == []


def test_a_loop_over_appended_modules_uses_them_all() -> None:
    both = found(
        """
        backends = []
        if a:
            backends.append(trackio)
        if b:
            backends.append(wandb)
        for backend in backends:
            backend.log({"completions": backend.Table(dataframe=df)})
        """
    )
    assert sorted((use.module, use.chain[0]) for use in both) == [
        ("trackio", "Table"),
        ("trackio", "log"),
        ("wandb", "Table"),
        ("wandb", "log"),
    ]
    assert {use.where for use in both} == {"trl/x.py:8"}


def test_a_loop_over_anything_else_is_no_use() -> None:
    assert found("for backend in others:\n    backend.log({})") == []


def test_a_from_import_is_a_use_of_each_name() -> None:
    assert [use.chain for use in found("from trackio import context_vars, Table")] == [("context_vars",), ("Table",)]
    assert found("from .trackio import Table") == []


@pytest.mark.parametrize("call", ["wandb.log(*rows)", "wandb.init(**settings)", "wandb.init('p', **settings)"])
def test_a_starred_call_has_an_open_signature(call: str) -> None:
    assert [use.positional for use in found(call)] == [None]


def test_uses_are_in_the_order_of_lines_and_travel_as_plain_data() -> None:
    two = found("trackio.b()\ntrackio.a()")
    assert [use.where for use in two] == ["trl/x.py:1", "trl/x.py:2"]
    assert two[0].to_json() == {
        "module": "trackio",
        "chain": ("b",),
        "positional": 0,
        "keywords": (),
        "where": "trl/x.py:1",
        "inside": "",
    }


def test_the_installed_release_uses_trackio() -> None:
    assert {use.chain[0] for use in uses(("trackio",))} >= {"init", "log", "finish"}
    assert uses(("no_tracker_of_this_name",)) == ()


@pytest.fixture
def acme(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A live module with a function and a class."""
    module: Any = ModuleType("acme")

    def log(metrics: dict[str, float], step: int | None = None) -> None:
        pass

    class Table:
        def __init__(self, dataframe: Any) -> None:
            pass

    module.log, module.Table, module.run = log, Table, None
    monkeypatch.setitem(sys.modules, "acme", module)
    return module


def problems(text: str) -> list[str]:
    return [use["problem"] for use in unserved([use.to_json() for use in scan(text, "trl/x.py", ("acme",))])]


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize(
    "text", ["acme.log({}, step=1)", "acme.Table(dataframe=1)", "acme.run.url()", "acme.log(*a, **k)", "acme.log"]
)
def test_what_the_module_has_is_served(text: str) -> None:
    assert problems(text) == []


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize(
    "text, problem",
    [
        ("acme.finish()", "acme.finish does not exist"),
        ("acme.log({}, commit=True)", "acme.log: got an unexpected keyword argument 'commit'"),
        ("acme.log({}, 1, 2)", "acme.log: too many positional arguments"),
        ("acme.Table()", "acme.Table: missing a required argument: 'dataframe'"),
    ],
)
def test_what_the_module_lacks_is_named(text: str, problem: str) -> None:
    assert problems(text) == [problem]


def test_a_module_that_cannot_be_imported_is_named() -> None:
    (use,) = unserved([Use("no_such_module_at_all", ("log",), 0, (), "trl/x.py:1", "").to_json()])
    assert use["problem"].startswith("import no_such_module_at_all fails: ModuleNotFoundError")
