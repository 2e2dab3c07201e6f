"""What each trainer needs to be trained tiny. The only place that knows TRL's constructor arguments.

The rows are in `conformance.recipes.rows`; `build` gives each meaning of a row to whichever parameter the installed
release has for it. What cannot be trained says why (`Unrunnable`).
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import importlib
import importlib.util
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conformance import steps, tiny
from conformance.recipes import makes
from conformance.recipes.rows import NO_EVALUATION, PARAMETERS, RAW, RECIPES, SETTINGS, STEPS, VARIANTS, Recipe
from conformance.trainers import Trainer, discover, root

__all__ = [
    "RECIPES",
    "STEPS",
    "NoRecipe",
    "Unrunnable",
    "build",
    "every",
    "find",
    "recipe_for",
    "repeatable",
    "train",
    "variants",
]


class Unrunnable(RuntimeError):
    """A trainer cannot be trained here; the message says what is missing."""


class NoRecipe(Unrunnable, LookupError):
    """This kit does not know how to train a trainer that the release exports."""


def parameters(trainer: type) -> set[str]:
    """Return the names that a trainer's constructor takes, through `**kwargs` up to the first full signature."""
    names: set[str] = set()
    for cls in trainer.__mro__:
        if "__init__" not in vars(cls):
            continue
        own = inspect.signature(vars(cls)["__init__"]).parameters
        names |= {name for name, p in own.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
        if not any(p.kind is p.VAR_KEYWORD for p in own.values()):
            break
    return names - {"self"}


def recipe_for(name: str, known: set[str], variant: str = "") -> Recipe:
    """Return the recipe of the trainer class `name`, in one of its variants, that fits a release.

    `known` are the parameters of the constructor and the fields of its config. Raises NoRecipe.
    """
    for recipe in RECIPES.get(name, ()):
        if not recipe.requires or recipe.requires in known:
            return VARIANTS[variant].of(recipe) if variant else recipe
    raise NoRecipe(f"no recipe for {name}: add a row to conformance/recipes/rows.py")


def variants(trainer: Trainer, folder: Path | None = None) -> list[Trainer]:
    """Return the other ways to train a trainer that the TRL in `folder` (default: the installed one) knows.

    Without importing it. Their ids are `grpo+chat`.
    """
    folder = folder or root("trl")
    if folder is None or not trainer.stable:
        return []
    # Stable names that are about to leave are thin classes around the experimental ones.
    stem = trainer.name.removesuffix("Trainer").lower()
    files = (folder / "trainer" / f"{stem}_trainer.py", folder / "experimental" / stem / f"{stem}_trainer.py")
    source = "".join(file.read_text(encoding="utf-8") for file in files if file.exists())
    return [
        dataclasses.replace(trainer, variant=name)
        for name, variant in VARIANTS.items()
        if trainer.name in variant.trainers and any(word in source for word in variant.since)
    ]


def every() -> list[Trainer]:
    """Return what there is to train in the installed TRL: stable trainers, experimental ones, and their variants."""
    found = discover()
    return [*found, *(variant for trainer in found for variant in variants(trainer))]


def find(trainer: Trainer) -> type:
    """Return the class; raises Unrunnable, or whatever its import raises."""
    module = importlib.import_module(trainer.module)
    if not hasattr(module, trainer.name):
        # TRL leaves out of its names what packages are missing for.
        _require(trainer, *(package for recipe in RECIPES.get(trainer.name, ()) for package in recipe.packages))
    cls = getattr(module, trainer.name)
    assert isinstance(cls, type)
    return cls


def _require(trainer: Trainer, *packages: str) -> None:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise Unrunnable(f"{trainer.id} needs {' and '.join(missing)}, not installed here")


def _config(trainer: Trainer, cls: type) -> type:
    """Return the class of the trainer's own arguments (`GRPOConfig`, …), transformers' where it has none."""
    import transformers

    name = trainer.name.replace("Trainer", "Config")
    for module in (trainer.module, cls.__module__, "trl"):
        kind = getattr(importlib.import_module(module), name, None)
        if isinstance(kind, type):
            return kind
    fallback: type = transformers.TrainingArguments
    return fallback


def _settings(fields: set[str], accepted: set[str], *layers: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return `SETTINGS` and what overrides them: those that the config has fields for, those for the constructor.

    Until 0.12 some settings of SFT and DPO (`dataset_text_field`, `max_seq_length`, …) are the constructor's alone.
    """
    merged = {key: value for layer in (SETTINGS, *layers) for key, value in layer.items()}
    return tuple({key: merged[key] for key in merged.keys() & names} for names in (fields, accepted - fields))


def _evaluates(cls: type, accepted: set[str], recipe: Recipe) -> bool:
    """Tell whether a trainer can evaluate on the recipe's data."""
    import transformers

    own = getattr(cls, "prediction_step", None) is not transformers.Trainer.prediction_step
    return bool(accepted.intersection(PARAMETERS["eval"])) and (own or recipe.data not in RAW)


def _arguments(meanings: Mapping[str, Any], accepted: set[str]) -> dict[str, Any]:
    """Return what each meaning is called by the constructor; meanings it has no name for are left out."""
    arguments = {}
    for meaning, value in meanings.items():
        for name in PARAMETERS[meaning]:
            if name in accepted:
                arguments[name] = value
                break
    return arguments


def build(
    trainer: Trainer,
    folder: Path,
    models: Path,
    callbacks: list[Any],
    settings: Mapping[str, Any],
    standing: contextlib.ExitStack | None = None,
) -> Any:
    """Return the trainer, ready for `.train()`, writing its checkpoints under `folder`.

    `models` is the folder of the tiny models, `settings` (report_to, run_name, …) win over the recipe's. Servers that
    the trainer needs are up until `standing` is closed, at the latest when the process ends.
    Raises Unrunnable, or whatever TRL raises.
    """
    if standing is None:
        standing = contextlib.ExitStack()
        atexit.register(standing.close)
    cls = find(trainer)
    accepted = parameters(cls)
    config = _config(trainer, cls)
    fields = {f.name for f in dataclasses.fields(config)}
    recipe = recipe_for(trainer.name, accepted | fields, trainer.variant)
    _require(trainer, *recipe.packages)
    tokens = makes.tokens(recipe)
    data = tiny.dataset(recipe.data, tokens)
    served: dict[str, Any] = {}
    if recipe.serves:
        from conformance import stubs

        served = standing.enter_context(stubs.stand(recipe.serves, cls, lambda name: makes.model(name, models)))
    project = {"project_dir": str(folder), "automatic_checkpoint_naming": True}
    sighted = {} if _evaluates(cls, accepted, recipe) else NO_EVALUATION
    layers = (sighted, recipe.settings, served, settings, {"output_dir": str(folder), "project_kwargs": project})
    configured, beside = _settings(fields, accepted, *layers)
    policy = makes.model(recipe.policy, models)
    meanings: dict[str, Any] = {
        "args": config(**configured),
        "tokenizer": tokens,
        "policy": makes.written(policy, tokens, folder) if recipe.path else policy,
        "train": data,
        "eval": data.select(range(4)),
        # PPOv2 and RLOO of 0.9 forget report_to for a list, even an empty one (0.9.6, trainer/ppov2_trainer.py:152).
        "callbacks": callbacks or None,
    }
    offers = makes.makes(recipe, models)
    for need in recipe.needs:
        meaning, make = offers[need]
        meanings[meaning] = make()
    built = cls(**beside, **_arguments(meanings, accepted))
    if not accepted.intersection(PARAMETERS["callbacks"]) and hasattr(built, "add_callback"):
        for callback in callbacks:
            built.add_callback(callback)
    return built


def repeatable(trainer: Trainer) -> bool:
    """Tell whether two trainings of a trainer come to the same values; asynchronous ones do not."""
    return all(recipe.repeatable for recipe in RECIPES.get(trainer.name, ()))


def train(trainer: Trainer, built: Any) -> None:
    """Train what `build` returned to its end, in the way of its recipe."""
    cls = type(built)
    fields = {f.name for f in dataclasses.fields(_config(trainer, cls))}
    recipe = recipe_for(trainer.name, parameters(cls) | fields, trainer.variant)
    getattr(steps, recipe.drive)(built)
