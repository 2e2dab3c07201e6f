"""conformance.trainers: what a TRL exports is read from its source, whichever way it writes its exports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from conformance import trainers
from conformance.trainers import Trainer, discover, minor

LAZY = """
_import_structure = {"trainer": ["SFTTrainer", "SFTConfig", "BaseTrainer"], "x": ["_HiddenTrainer", "Not a Trainer"]}
if TYPE_CHECKING:
    from .trainer import DPOTrainer, ModelConfig
"""


def tree(folder: Path, init: str, **experimental: str) -> Path:
    """Write a package with these exports."""
    for name, text in (("", init), *((f"experimental/{key}", value) for key, value in experimental.items())):
        place = folder / "trl" / name
        place.mkdir(parents=True, exist_ok=True)
        (place / "__init__.py").write_text(text)
    return folder / "trl"


def test_both_forms_of_export_are_read(tmp_path: Path) -> None:
    assert discover(tree(tmp_path, LAZY)) == [Trainer("DPOTrainer", "trl", True), Trainer("SFTTrainer", "trl", True)]


def test_experimental_trainers_come_last_under_their_module(tmp_path: Path) -> None:
    found = discover(tree(tmp_path, LAZY, gkd="from .gkd import GKDTrainer", bco="__all__ = ['BCOTrainer']", utils=""))
    assert [t.id for t in found] == ["dpo", "sft", "experimental.bco.bco", "experimental.gkd.gkd"]
    assert [t.module for t in found if not t.stable] == ["trl.experimental.bco", "trl.experimental.gkd"]


def test_a_trainer_that_only_its_own_module_gives_is_found_there(tmp_path: Path) -> None:
    """PPOv2 and RLOO of TRL 0.9."""
    folder = tree(tmp_path, LAZY)
    (folder / "trainer").mkdir()
    (folder / "trainer" / "ppov2_trainer.py").write_text("class PPOv2Trainer: ...\nclass _HiddenTrainer: ...")
    (folder / "trainer" / "sft_trainer.py").write_text("class SFTTrainer: ...")
    (folder / "trainer" / "base.py").write_text("class OtherTrainer: ...")
    found = discover(folder)
    assert [t.id for t in found] == ["dpo", "sft", "ppov2"]
    assert found[-1] == Trainer("PPOv2Trainer", "trl.trainer.ppov2_trainer", True)


def test_a_form_that_is_not_known_yields_nothing_rather_than_a_guess(tmp_path: Path) -> None:
    assert discover(tree(tmp_path, "import importlib\nglobals().update(importlib.import_module('x').__dict__)")) == []


def test_a_source_that_is_no_python_is_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(SyntaxError):
        discover(tree(tmp_path, "def ("))


def test_without_trl_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainers, "root", lambda package: None)
    with pytest.raises(FileNotFoundError, match="pip install"):
        discover()


def test_the_installed_trl_has_its_best_known_trainers() -> None:
    assert {t.id for t in discover() if t.stable} >= {"sft", "dpo", "grpo"}


def test_reading_the_installed_trl_imports_neither_it_nor_torch() -> None:
    code = (
        "import sys; from conformance.trainers import discover; assert discover();"
        "print(sorted({'trl', 'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("version, short", [("1.16.0", "1.16"), ("0.9.6", "0.9"), ("1.0.0.dev0", "1.0"), ("", "")])
def test_a_release_is_named_by_its_minor(version: str, short: str) -> None:
    assert minor(version) == short


def test_what_is_not_installed_has_no_release_and_no_folder() -> None:
    assert trainers.release("no-such-distribution-at-all") == ""
    assert trainers.root("no_such_package_at_all") is None
