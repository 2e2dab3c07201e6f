"""What each trainer needs to be trained tiny. The only place that knows TRL's constructor arguments.

A recipe is a row of meanings (policy, reference, teacher, rewards, …), not of argument names: `build` gives each
meaning to whichever parameter the installed release has for it, so a renaming between releases is one more word in
`PARAMETERS`. Where a trainer changed its kind (RLOO once took a reward model, now takes functions), it has several
rows, and the first whose `requires` is in the constructor's signature holds.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conformance import rewards, tiny
from conformance.trainers import Trainer

#: Meaning -> the names that releases gave to its constructor parameter, newest first.
PARAMETERS = {
    "args": ("args", "config"),
    "tokenizer": ("processing_class", "tokenizer"),
    "policy": ("model", "policy"),
    "reference": ("ref_model", "ref_policy"),
    "rewards": ("reward_funcs", "reward_model"),
    "reward_model": ("reward_model",),
    "value_model": ("value_model",),
    "teacher": ("teacher_model",),
    "train": ("train_dataset",),
    "eval": ("eval_dataset",),
    "callbacks": ("callbacks",),
}

STEPS = 3
#: Meant for every trainer; those that the release's config does not have are left out.
#: Train logs at steps 1, 2, 3; evaluates and saves at 2 (the same step as a train log); the summary comes at 3 as well.
SETTINGS: dict[str, Any] = {
    "max_steps": STEPS,
    "logging_steps": 1,
    "eval_strategy": "steps",
    "evaluation_strategy": "steps",
    "eval_steps": 2,
    "save_strategy": "steps",
    "save_steps": 2,
    "per_device_train_batch_size": 2,
    "per_device_eval_batch_size": 2,
    "gradient_accumulation_steps": 1,
    "learning_rate": 1e-3,
    "seed": 0,
    "disable_tqdm": True,
    "use_cpu": True,
    "no_cuda": True,
    "bf16": False,
    "fp16": False,
    "gradient_checkpointing": False,
    "max_length": 96,
    "max_seq_length": 96,
    "max_prompt_length": 48,
    "max_completion_length": 8,
    "max_new_tokens": 8,
    "response_length": 8,
    "num_generations": 2,
    "log_completions": True,
    "dataloader_pin_memory": False,
    # transformers 4.57 has "trackio" here: whoever is logged in gets a Space, whoever is not gets an error.
    "trackio_space_id": None,
}
#: The PPO of the generation that trains by episodes; it stops after them and ignores max_steps.
EPISODES = {
    "total_episodes": 6,
    "max_steps": -1,
    "num_ppo_epochs": 1,
    "num_mini_batches": 1,
    "num_sample_generations": 0,
    "local_rollout_forward_batch_size": 2,
    "rloo_k": 2,
    "missing_eos_penalty": 1.0,
    "eval_strategy": "no",
    "evaluation_strategy": "no",
}


@dataclass(frozen=True)
class Recipe:
    """How to train one trainer class: dataset format, meanings it needs, overrides of `SETTINGS`."""

    data: str
    policy: str = "causal"
    needs: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    requires: str = ""


FUNCTIONS = {"reward_weights": [1.0, 0.5, 0.25, 2.0, 1.0]}
#: Online DPO and its kin cannot evaluate on prompts: Trainer.prediction_step finds no input_ids in them.
NO_EVALUATION = {"eval_strategy": "no", "evaluation_strategy": "no"}
ONLINE = (
    Recipe("prompt", needs=("reference", "reward_model"), settings=NO_EVALUATION, requires="reward_model"),
    Recipe("prompt", needs=("reference", "reward"), settings=NO_EVALUATION),
)
RECIPES: dict[str, tuple[Recipe, ...]] = {
    "SFTTrainer": (Recipe("text", settings={"dataset_text_field": "text"}),),
    "DPOTrainer": (Recipe("preference", needs=("reference",)),),
    "KTOTrainer": (Recipe("unpaired", needs=("reference",)),),
    "BCOTrainer": (Recipe("unpaired", needs=("reference",)),),
    "CPOTrainer": (Recipe("preference"),),
    "ORPOTrainer": (Recipe("preference"),),
    "RewardTrainer": (Recipe("preference", policy="reward"),),
    "PRMTrainer": (Recipe("stepwise", policy="steps"),),
    "GKDTrainer": (Recipe("messages", needs=("teacher",)),),
    "DistillationTrainer": (Recipe("prompt", needs=("teacher",)),),
    "GRPOTrainer": (Recipe("prompt", needs=("rewards",), settings=FUNCTIONS),),
    "RLOOTrainer": (
        Recipe("prompt", needs=("rewards",), settings=FUNCTIONS, requires="reward_funcs"),
        Recipe("prompt_ids", needs=("reference", "reward_model"), settings=EPISODES),
    ),
    "PPOTrainer": (Recipe("prompt_ids", needs=("reference", "reward_model", "value_model"), settings=EPISODES),),
    "OnlineDPOTrainer": ONLINE,
    "XPOTrainer": ONLINE,
    "NashMDTrainer": ONLINE,
}


class NoRecipe(LookupError):
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


def recipe_for(name: str, accepted: set[str]) -> Recipe:
    """Return the recipe of the trainer class `name` that fits its constructor; raises NoRecipe."""
    for recipe in RECIPES.get(name, ()):
        if not recipe.requires or recipe.requires in accepted:
            return recipe
    raise NoRecipe(f"no recipe for {name}: add a row to conformance/recipes.py")


def find(trainer: Trainer) -> type:
    """Return the class; raises whatever its import raises."""
    cls = getattr(importlib.import_module(trainer.module), trainer.name)
    assert isinstance(cls, type)
    return cls


def _config(trainer: Trainer, cls: type, settings: dict[str, Any]) -> Any:
    """Return the trainer's own config object (`GRPOConfig`, …) with as many of `settings` as it has fields for."""
    import transformers

    name = trainer.name.replace("Trainer", "Config")
    for module in (trainer.module, cls.__module__, "trl"):
        kind = getattr(importlib.import_module(module), name, None)
        if kind is not None:
            break
    else:
        kind = transformers.TrainingArguments
    fields = {f.name for f in dataclasses.fields(kind)}
    return kind(**{key: value for key, value in settings.items() if key in fields})


def build(trainer: Trainer, folder: Path, models: Path, callbacks: list[Any], settings: Mapping[str, Any]) -> Any:
    """Return the trainer, ready for `.train()`, writing its checkpoints under `folder`.

    `models` is the folder of the tiny models, `settings` (report_to, run_name, …) win over the recipe's.
    Raises NoRecipe, or whatever TRL raises.
    """
    cls = find(trainer)
    accepted = parameters(cls)
    recipe = recipe_for(trainer.name, accepted)
    paths = tiny.models(models)
    tokens = tiny.tokenizer()
    data = tiny.dataset(recipe.data, tokens)
    merged = {**SETTINGS, **recipe.settings, **settings, "output_dir": str(folder)}
    meanings: dict[str, Any] = {
        "args": _config(trainer, cls, merged),
        "tokenizer": tokens,
        "policy": tiny.load(paths, recipe.policy),
        "train": data,
        "eval": data.select(range(4)),
        "callbacks": callbacks,
    }
    offers: dict[str, Callable[[], Any]] = {
        "reference": lambda: tiny.load(paths, "causal"),
        "teacher": lambda: tiny.load(paths, "teacher"),
        "reward_model": lambda: tiny.load(paths, "reward"),
        "value_model": lambda: tiny.load(paths, "reward"),
        "reward": lambda: [rewards.length],
        "rewards": lambda: [*rewards.functions(), tiny.load(paths, "reward")],
    }
    for need in recipe.needs:
        meanings["rewards" if need == "reward" else need] = offers[need]()
    arguments = {}
    for meaning, value in meanings.items():
        for name in PARAMETERS[meaning]:
            if name in accepted:
                arguments[name] = value
                break
    return cls(**arguments)
