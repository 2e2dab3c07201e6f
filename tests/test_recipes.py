"""conformance.recipes: every trainer that the installed TRL exports has a row, and rows are made of known words."""

from __future__ import annotations

import contextlib
import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conformance import recipes, steps, tiny
from conformance.recipes import NoRecipe, Unrunnable, bugs, makes, parameters, recipe_for, variants
from conformance.recipes.rows import NO_EVALUATION, PARAMETERS, RECIPES, VARIANTS, Recipe, Variant
from conformance.sandbox import Sandbox
from conformance.trainers import Trainer, discover

ROWS = [(name, row) for name, rows in RECIPES.items() for row in rows]
VARIED = [(name, VARIANTS[word].of(row)) for name, row in ROWS for word in VARIANTS if name in VARIANTS[word].trainers]
ids = [f"{name}-{i}" for i, (name, _) in enumerate(ROWS + VARIED)]


@pytest.mark.parametrize("trainer", discover(), ids=lambda t: t.id)
def test_every_trainer_of_the_installed_release_has_a_row(trainer: Trainer) -> None:
    assert RECIPES[trainer.name]


@pytest.mark.parametrize("name, row", ROWS + VARIED, ids=ids)
def test_a_row_is_made_of_known_words(name: str, row: Recipe, tmp_path: Path) -> None:
    offers = makes.makes(row, tmp_path)
    assert row.data in tiny.FORMATS
    assert row.policy in {*tiny.MODELS, "vision"}
    assert set(row.needs) <= set(offers)
    assert {offers[need][0] for need in row.needs} <= set(PARAMETERS)
    assert set(row.serves.values()) <= set(tiny.MODELS)
    assert callable(getattr(steps, row.drive))


@pytest.mark.parametrize("name", RECIPES)
def test_only_the_last_row_of_a_trainer_is_for_any_release(name: str) -> None:
    assert all(row.requires for row in RECIPES[name][:-1])


def test_the_row_is_the_first_that_the_release_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = Recipe("prompt_ids"), Recipe("prompt", requires="reward_funcs")
    monkeypatch.setitem(RECIPES, "XTrainer", (new, old))
    assert recipe_for("XTrainer", {"model", "reward_funcs"}) is new
    assert recipe_for("XTrainer", {"model", "reward_model"}) is old


def test_a_trainer_without_a_row_says_so() -> None:
    with pytest.raises(NoRecipe, match=r"no recipe for NewTrainer.*rows\.py"):
        recipe_for("NewTrainer", set())


class Base:
    def __init__(self, model: Any, args: Any = None, *, ref_model: Any = None) -> None: ...


class Thin(Base):
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...


class Wider(Base):
    def __init__(self, reward_funcs: Any, **kwargs: Any) -> None: ...


class Closed(Base):
    def __init__(self, policy: Any) -> None: ...


class Silent(Wider):
    pass


@pytest.mark.parametrize(
    "trainer, names",
    [
        (Base, {"model", "args", "ref_model"}),
        (Thin, {"model", "args", "ref_model"}),
        (Wider, {"reward_funcs", "model", "args", "ref_model"}),
        (Silent, {"reward_funcs", "model", "args", "ref_model"}),
        (Closed, {"policy"}),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_parameters_are_read_through_kwargs(trainer: type, names: set[str]) -> None:
    assert parameters(trainer) == names


@pytest.mark.parametrize(
    "accepted, arguments",
    [
        ({"args", "processing_class", "model"}, {"args": "A", "processing_class": "T", "model": "P"}),
        ({"config", "tokenizer", "policy"}, {"config": "A", "tokenizer": "T", "policy": "P"}),
        ({"args", "config", "model"}, {"args": "A", "model": "P"}),
        (set(), {}),
    ],
)
def test_each_meaning_gets_the_name_of_the_release(accepted: set[str], arguments: dict[str, str]) -> None:
    assert recipes._arguments({"args": "A", "tokenizer": "T", "policy": "P"}, accepted) == arguments


def test_settings_go_to_the_config_or_else_to_the_constructor() -> None:
    config, beside = recipes._settings({"max_steps"}, {"max_steps", "max_seq_length"}, {"max_steps": 9})
    assert config == {"max_steps": 9}
    assert beside == {"max_seq_length": 96}


class Sighted:
    def prediction_step(self) -> None: ...


@pytest.mark.parametrize(
    "data, own, accepted, evaluates",
    [
        ("text", False, {"eval_dataset"}, True),
        ("prompt", False, {"eval_dataset"}, False),
        ("prompt", True, {"eval_dataset"}, True),
        ("text", True, set(), False),
    ],
)
def test_evaluation_is_where_the_trainer_can(data: str, own: bool, accepted: set[str], evaluates: bool) -> None:
    transformers = pytest.importorskip("transformers")
    cls = Sighted if own else transformers.Trainer
    assert recipes._evaluates(cls, accepted, Recipe(data)) is evaluates
    assert set(NO_EVALUATION.values()) == {"no"}


def test_a_variant_changes_what_it_says_and_nothing_else() -> None:
    row = Recipe("prompt", needs=("reference", "rewards"), settings={"a": 1, "b": 1, "c": 1}, packages=("x",))
    variant = Variant(
        ("XTrainer",),
        data={"prompt": "chat_prompt"},
        needs=("adapter",),
        without=("reference",),
        settings={"b": 2},
        unset=("c", "d"),
        packages=("peft",),
    )
    changed = replace(
        row,
        data="chat_prompt",
        needs=("rewards", "adapter"),
        settings={"a": 1, "b": 2},
        packages=("x", "peft"),
    )
    assert variant.of(row) == changed
    assert variant.of(replace(row, data="text")).data == "text"


def test_variants_are_those_that_the_source_knows(tmp_path: Path) -> None:
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "dpo_trainer.py").write_text("class DPOTrainer:\n    def f(self, peft_config): ...\n")
    dpo = Trainer("DPOTrainer", "trl", True)
    assert [v.id for v in variants(dpo, tmp_path)] == ["dpo+peft"]
    # A stable name that is about to leave is a thin class around the experimental one.
    (tmp_path / "experimental" / "dpo").mkdir(parents=True)
    (tmp_path / "experimental" / "dpo" / "dpo_trainer.py").write_text("from x import is_conversational")
    assert [v.id for v in variants(dpo, tmp_path)] == ["dpo+chat", "dpo+peft"]
    assert variants(replace(dpo, stable=False), tmp_path) == []
    assert variants(Trainer("RewardTrainer", "trl", True), tmp_path) == []


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer("GRPOTrainer", "trl", True, "vision")
    with pytest.raises(Unrunnable, match=r"^grpo\+vision needs no_such_package, not installed here$"):
        recipes._require(trainer, "json", "no_such_package")


def test_a_known_bug_is_explained_where_it_raises() -> None:
    error = "ValueError: too many values to unpack (expected 5)"
    told = bugs.explain(error, "trl/experimental/gfpo/gfpo_trainer.py:94")
    assert told.startswith("a bug of TRL at trl/experimental/gfpo/gfpo_trainer.py:94: ")
    assert error in told
    assert bugs.explain(error, "trl/trainer/grpo_trainer.py:1") == f"{error} [trl/trainer/grpo_trainer.py:1]"
    assert bugs.explain("KeyError: 'x'", "trl/experimental/gfpo/gfpo_trainer.py:94").startswith("KeyError")
    assert bugs.explain("KeyError: 'x'", "") == "KeyError: 'x'"


SERVED = [t for t in discover() if any(row.serves for row in RECIPES[t.name])]


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Give one warm parent for the trainings of this module."""
    with contextlib.ExitStack() as open_:
        yield open_.enter_context(Sandbox({}, "conformance.jobs:preload", tmp_path_factory.mktemp("box")))


@pytest.mark.parametrize("trainer", SERVED, ids=lambda t: t.id)
def test_a_trainer_with_a_server_trains_by_it_or_names_what_is_missing(
    trainer: Trainer, warm: Sandbox, tmp_path: Path
) -> None:
    told = warm.run(
        "conformance.jobs:live",
        tracker=None,
        trainer=trainer,
        store=tmp_path,
        run="run",
        models=tmp_path / "models",
        folder=tmp_path,
        settings={},
    ).value
    missing = [p for p in RECIPES[trainer.name][-1].packages if importlib.util.find_spec(p) is None]
    if missing:
        assert told["error"] == f"Unrunnable: {trainer.id} needs {' and '.join(missing)}, not installed here"
    else:
        assert told["stage"] == "done", told["trace"]
