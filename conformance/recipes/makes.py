"""What a recipe may ask for, made: models, tokenizers, reward functions."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conformance import diffusion, rewards, tiny, vision
from conformance.recipes.rows import Recipe


def tokens(recipe: Recipe) -> Any:
    """Return the tokenizer of a recipe, the processor if it sees images."""
    if recipe.policy == "vision":
        return vision.processor()
    made = tiny.tokenizer()
    if recipe.template:
        made.chat_template = getattr(importlib.import_module("trl.chat_template_utils"), recipe.template)
    return made


def model(name: str, models: Path) -> Any:
    """Return a fresh tiny model: one of `tiny.MODELS`, or "vision"."""
    return vision.model(models) if name == "vision" else tiny.load(tiny.models(models), name)


def written(policy: Any, words: Any, folder: Path) -> str:
    """Return the folder of a model with its tokenizer, for trainers that take no object."""
    place = folder.with_name("policy")
    policy.save_pretrained(place)
    words.save_pretrained(place)
    return str(place)


def _adapter() -> Any:
    from peft import LoraConfig

    # Without the task, transformers up to 4.40 sees a `forward` without names, and removes every column of the data.
    return LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")


def makes(recipe: Recipe, models: Path) -> dict[str, tuple[str, Callable[[], Any]]]:
    """Return what `Recipe.needs` may name: need -> its meaning (a key of `PARAMETERS`) and how it is made."""

    def load(name: str) -> Callable[[], Any]:
        return lambda: model(name, models)

    def headed() -> Any:
        return tiny.with_value_head(tiny.models(models)["causal"])

    return {
        "reference": ("reference", load(recipe.policy)),
        "teacher": ("teacher", load("teacher")),
        "reward_model": ("reward_model", load("reward")),
        "value_model": ("value_model", load("reward")),
        "reward": ("rewards", lambda: [rewards.length]),
        "rewards": ("rewards", lambda: [*rewards.functions(), model("reward", models)]),
        "functions": ("rewards", rewards.named),
        "scores": ("rewards", rewards.numbers),
        "scorer": ("rewards", load("reward")),
        "filter": ("filter", lambda: rewards.shortest),
        "reward_tokenizer": ("reward_tokenizer", tiny.tokenizer),
        "headed": ("policy", headed),
        "headed_reference": ("reference", headed),
        "pipeline": ("pipeline", lambda: diffusion.pipeline(models)),
        "reward_function": ("reward_function", lambda: diffusion.brightness),
        "prompt_function": ("prompt_function", diffusion.prompts),
        "image_hook": ("image_hook", lambda: diffusion.look),
        "adapter": ("adapter", _adapter),
    }
