"""Every row of the contract, for every release that asks it; and what the installed releases really ask.

The rows are data: contract.toml and contract_wandb.toml. A release's life is lived as a whole, in the order
in which things happen in it, and each of its rows is a test of its own. That each row can fail is shown in
test_contract_faults.py.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from importlib.metadata import Distribution, DistributionFinder, MetadataPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from contract_live import CONTRACT, faults, reference, within
from contract_scan import MODULES, deciding, found_in
from packaging.version import parse

import trackio

LIBRARIES = ("transformers", "trl", "accelerate")
LIVES = [(module, by, version) for module in MODULES for by in LIBRARIES for version in CONTRACT.releases[by]]
INSTALLED = [name for name in LIBRARIES if importlib.util.find_spec(name)]


@pytest.fixture(autouse=True)
def store() -> None:
    """Each life has a store of its own."""


# -- the rows
# --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "module, by, version, row",
    [
        pytest.param(*life, row.id, id=f"{'-'.join(life)}-{row.id}")
        for life in LIVES
        for row in CONTRACT.asked(life[1], life[2], life[0])
    ],
)
def test_contract(module: str, by: str, version: str, row: str) -> None:
    found = faults(module, by, version)
    assert row not in found, found[row]


@pytest.mark.parametrize(
    "module, version",
    [
        (module, version)
        for module in MODULES
        for version in CONTRACT.below
        if CONTRACT.life("trl", version, module)
    ],
)
def test_what_trl_does_leaves_the_callback_of_transformers_its_due(module: str, version: str) -> None:
    own = {row.id for row in CONTRACT.asked("trl", version, module)}
    assert {row: fault for row, fault in faults(module, "trl", version).items() if row not in own} == {}


# -- the sources
# --------------------------------------------------------------------------------------------------------


def installed(library: str) -> tuple[str, Path]:
    (folder,) = importlib.util.find_spec(library).submodule_search_locations  # type: ignore[union-attr]
    return importlib.metadata.version(library), Path(folder)


@pytest.mark.parametrize("by", INSTALLED)
def test_the_installed_release_asks_nothing_else(by: str) -> None:
    version, folder = installed(by)
    outside = tuple(f":{entry['function']}" for entry in CONTRACT.outside if entry["by"] == by)
    for module, found in found_in(folder, by).items():
        asked = {
            use: there
            for use, places in found.items()
            if (there := {place for place in places if not place[place.index(":") :].startswith(outside)})
        }
        claims = CONTRACT.claims(CONTRACT.asked(by, version, module))
        unknown = {use: sorted(places) for use, places in asked.items() if use not in claims}
        assert unknown == {}, f"{by} {version} asks what no row of the contract says"
        stale = {use: [row.id for row in rows] for use, rows in claims.items() if use not in asked}
        assert stale == {}, f"{by} {version} asks no longer what these rows say"
        for use, rows in claims.items():
            for row in rows:
                assert asked[use] & set(row.where), f"{row.id}: {use} is at {sorted(asked[use])}"


@pytest.mark.parametrize("by", INSTALLED)
def test_the_installed_release_looks_for_the_module_as_before(by: str) -> None:
    version, folder = installed(by)
    for ask in CONTRACT.asks:
        if ask["by"] == by and within(ask["releases"], version):
            file, function = ask["where"].split(":")
            assert deciding((folder / file).read_text(encoding="utf-8"), function) == ask["calls"]


def test_a_new_demand_is_found(tmp_path: Path) -> None:
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "x.py").write_text(
        "import trackio as t\n"
        "class T:\n"
        "    def log(self):\n"
        "        backends.append(t)\n"
        "        for backend in backends:\n"
        "            backend.Video(self.clip, fps=4, **more)\n"
        "        return self.run.mark('x').sure, t.here\n"
        "    def begin(self):\n"
        "        if (run := t.context_vars.current_run.get()) is None:\n"
        "            self.run = t.init()\n"
        "        return run.group, self._trackio.config['a'], [t], self.trackio.log(1)\n"
    )
    found = found_in(tmp_path, "trl")
    assert found["wandb"] == {} and found["trackio"] == {
        "Video(_, **, fps=)": {"trainer/x.py:T.log"},
        "here": {"trainer/x.py:T.log"},
        "init()": {"trainer/x.py:T.begin"},
        "init().mark(_).sure": {"trainer/x.py:T.log"},
        "config[]": {"trainer/x.py:T.begin"},
        "context_vars.current_run.get()": {"trainer/x.py:T.begin"},
        "context_vars.current_run.get().group": {"trainer/x.py:T.begin"},
    }


# -- what makes a module available
# --------------------------------------------------------------------------------------------------------


def seen(module: str) -> set[str]:
    """Return what callers see of a module in this process."""
    found = {"found"} if importlib.util.find_spec(module) is not None else set()
    if any(True for _ in importlib.metadata.Distribution.discover(name=module)):
        found.add("named")
    return found | ({"run"} if found and hasattr(importlib.import_module(module), "run") else set())


@pytest.mark.parametrize(
    "ask", [pytest.param(ask, id=f"{ask['by']}-{ask['where']}-{ask['releases']}") for ask in CONTRACT.asks]
)
def test_this_distribution_is_available(ask: dict[str, Any]) -> None:
    with reference(ask["module"]):
        assert set(ask["needs"]) <= seen(ask["module"])
        assert importlib.metadata.metadata(ask["module"])["Name"] == ask["module"]


def test_this_distribution_is_the_module_that_is_tested() -> None:
    spec = importlib.util.find_spec("trackio")
    assert spec is not None and spec.origin == trackio.__file__
    assert trackio.__version__ == importlib.metadata.version("trackio")
    assert parse(trackio.__version__).local, "an index could hold another distribution of this version"


@pytest.mark.parametrize("layout", [name for name in CONTRACT.layouts if name != "in memory"])
def test_what_callers_see_of_a_layout(layout: str, tmp_path: Path) -> None:
    for file in CONTRACT.layouts[layout]["files"]:
        path = tmp_path / file
        (path if file.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not file.endswith("/"):
            path.write_text("Name: x\nVersion: 1\n" if path.suffix == "" else "")
    found = ["found"] if PathFinder.find_spec("trackio", [str(tmp_path)]) else []
    context = DistributionFinder.Context(name="trackio", path=[str(tmp_path)])
    named = ["named"] if any(True for _ in MetadataPathFinder.find_distributions(context)) else []
    assert found + named == CONTRACT.layouts[layout]["sees"]


def test_what_callers_see_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Named(Distribution):
        def read_text(self, filename: str) -> str | None:
            return "Name: nowhere\nVersion: 1\n" if filename == "METADATA" else None

        def locate_file(self, path: Any) -> Any:
            return path

    class Finder(DistributionFinder):
        def find_spec(self, *_: Any) -> None:
            return None

        def find_distributions(self, context: Any = None) -> Iterator[Distribution]:
            if context.name == "nowhere":
                yield Named()

    assert seen("nowhere") == set()
    module = ModuleType("nowhere")
    module.__spec__ = importlib.util.spec_from_loader("nowhere", None)
    monkeypatch.setitem(sys.modules, "nowhere", module)
    assert seen("nowhere") == {"found"}
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    assert seen("nowhere") == set(CONTRACT.layouts["in memory"]["sees"])
