"""conformance.companions: every callback that the installed TRL exports is known, and what cannot be made is told."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from conformance import companions
from conformance.bench import _processes
from conformance.scenarios import ACTS, ANEW, SCENARIOS
from conformance.stubs import mergekit
from conformance.surface.reach import TOURS


class Trainer:
    """As much of a trainer as callbacks without a constructor of their own ask for."""

    model = "a model"
    accelerator = None
    eval_dataset = None

    def __init__(self) -> None:
        self.args = SimpleNamespace()
        self.added: list[Any] = []

    def add_callback(self, callback: Any) -> None:
        self.added.append(callback)


class Quiet:
    def __init__(self) -> None:
        pass


class Curious:
    def __init__(self, trainer: Any, num_prompts: int, unknown: str = "") -> None:
        self.trainer, self.num_prompts, self.eval_dataset = trainer, num_prompts, None


class Needy:
    def __init__(self) -> None:
        raise ImportError("needs a package\nthat is not here")


def among_exported(monkeypatch: pytest.MonkeyPatch, **classes: type) -> None:
    """Let `trl` export these callbacks only, and each have a row."""
    monkeypatch.setattr(companions, "exported", lambda: set(classes))
    monkeypatch.setattr(companions, "COMPANIONS", {name: companions.Companion() for name in classes})
    monkeypatch.setattr(companions, "_first", lambda name, places: classes[name])


def test_every_callback_that_trl_exports_has_a_row() -> None:
    assert companions.exported() <= companions.COMPANIONS.keys()


def test_constructors_get_what_they_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    among_exported(monkeypatch, QuietCallback=Quiet, CuriousCallback=Curious)
    trainer = Trainer()
    assert companions.accompany(trainer) == {"made": ["CuriousCallback", "QuietCallback"], "missing": {}}
    curious, _ = trainer.added
    assert curious.trainer is trainer
    assert curious.eval_dataset["prompt"] == ["What is two plus two?", "Name a colour."]


def test_what_cannot_be_made_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    among_exported(monkeypatch, NeedyCallback=Needy)
    told = companions.accompany(Trainer())
    assert told == {"made": [], "missing": {"NeedyCallback": "ImportError: needs a package"}}


def test_a_callback_without_a_row_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(companions, "exported", lambda: {"NewCallback"})
    monkeypatch.setattr(companions, "COMPANIONS", {})
    assert "no row" in companions.accompany(Trainer())["missing"]["NewCallback"]


def test_an_experimental_callback_that_cannot_be_made_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    among_exported(monkeypatch, NeedyCallback=Needy)
    monkeypatch.setattr(companions, "exported", set)
    assert companions.accompany(Trainer()) == {"made": [], "missing": {}}


def test_a_name_is_looked_for_in_one_module_after_the_other() -> None:
    assert companions._first("Tracker", ("no_such_package.at_all", "conformance")).__name__ == "Tracker"
    with pytest.raises(ImportError, match="conformance have no Nothing"):
        companions._first("Nothing", ("conformance",))


def test_acts_are_known_and_a_new_process_begins_after_anew() -> None:
    played = {act for acts in SCENARIOS.values() for act in acts} - {ANEW}
    assert played | {act for acts, _ in TOURS.values() for act in acts} == ACTS.keys()
    assert list(_processes(("stop", ANEW, "resume"))) == [("stop",), ("resume",)]
    assert list(_processes(("train",))) == [("train",)]


def test_a_package_that_is_not_here_is_stood_in_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asking: Any = ModuleType("trl.asking")
    asking.is_mergekit_available = lambda: False
    monkeypatch.setattr(mergekit.sys, "modules", {"trl.asking": asking, "other": ModuleType("other")})
    mergekit.stand()
    assert asking.is_mergekit_available()
    config = asking.MergeConfiguration.model_validate({"models": []})
    asking.run_merge(config, out_path=str(tmp_path / "merged"), options=asking.MergeOptions(cuda=False))
    assert (tmp_path / "merged").is_dir()
