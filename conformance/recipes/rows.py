"""What each trainer needs to be trained tiny, as data: rows of meanings, settings and variants.

A row says what a trainer needs (policy, reference, teacher, rewards, …), not what a release calls it: the names are in
`PARAMETERS`, so a renaming between releases is one more word there. Where a trainer changed its kind (RLOO once took a
reward model, now takes functions), it has several rows, and the first whose `requires` is known to the installed
release holds: a parameter of the constructor, or a field of the trainer's config.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from conformance import vision

#: Meaning -> the names that releases gave to its constructor parameter, newest first.
PARAMETERS = {
    "args": ("args", "config"),
    "tokenizer": ("processing_class", "tokenizer"),
    "policy": ("model", "policy"),
    "reference": ("ref_model", "ref_policy"),
    "rewards": ("reward_funcs", "reward_model"),
    "reward_model": ("reward_model",),
    "reward_tokenizer": ("reward_processing_classes", "reward_processing_class"),
    "value_model": ("value_model",),
    "teacher": ("teacher_model",),
    "filter": ("group_filter_func",),
    "reward_function": ("reward_function",),
    "prompt_function": ("prompt_function",),
    "pipeline": ("sd_pipeline",),
    "image_hook": ("image_samples_hook",),
    "adapter": ("peft_config",),
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
#: Formats that reach the trainer as they are. Evaluation on them takes a `prediction_step` of TRL's own: transformers'
#: looks for `input_ids` in them (online DPO and its kin, the first SDFT).
RAW = {"prompt", "chat_prompt", "image_prompt", "privileged"}
NO_EVALUATION = {"eval_strategy": "no", "evaluation_strategy": "no"}
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
    **NO_EVALUATION,
}


@dataclass(frozen=True)
class Recipe:
    """How to train one trainer class.

    `data` is a format of `tiny.FORMATS`, `policy` a model of `tiny.MODELS`, `needs` the meanings beside these,
    `settings` override `SETTINGS`, `requires` says for which generation the row holds. `serves` are settings that want
    the address of a server (`conformance.stubs`): setting -> the model that it serves. `path` gives the policy as a
    folder instead of a model. `packages` are modules without which it cannot run. `drive` is the function of
    `conformance.steps` that trains it. `repeatable`: two trainings of it come to the same values.
    """

    data: str
    policy: str = "causal"
    needs: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    requires: str = ""
    serves: Mapping[str, str] = field(default_factory=dict)
    path: bool = False
    template: str = ""
    packages: tuple[str, ...] = ()
    drive: str = "train"
    repeatable: bool = True


#: PPO of TRL up to 0.11 logs through accelerate, and is told how often to train by the caller.
BY_HAND = {"batch_size": 2, "mini_batch_size": 1, "ppo_epochs": 1}
VALUED = ("reference", "reward_model", "value_model")
#: DDPO and AlignProp: an epoch is a step, and logs at it; checkpoints from the second epoch on.
DIFFUSION = Recipe(
    "prompt",
    needs=("pipeline", "reward_function", "prompt_function", "image_hook"),
    settings={
        "num_epochs": STEPS,
        "sample_num_steps": 2,
        "sample_batch_size": 2,
        "sample_num_batches_per_epoch": 1,
        "train_batch_size": 2,
        "train_gradient_accumulation_steps": 1,
        "truncated_backprop_timestep": 1,
        "truncated_rand_backprop_minmax": (0, 1),
        "mixed_precision": None,
        "save_freq": 1,
    },
    packages=("diffusers",),
    drive="diffusion",
)
BATCHES_OF_FOUR = {"per_device_train_batch_size": 4, "per_device_eval_batch_size": 4}
FUNCTIONS = {"reward_weights": [1.0, 0.5, 0.25, 2.0, 1.0]}
#: Rows of a few samples each; without a budget TRL fills them up to the server's longest. A queue that the pipe
#: between the processes can hold: the rollout worker does not end while it has more, and TRL waits 15 s for it.
PACKED = {"token_budget": 96, "dtype": "float32", "queue_maxsize": 8}
#: The rollout worker wants to parse answers, and TRL has the rules for templates of its own only.
PARSED = "qwen3_chat_template"
#: Nothing is cut, an image's tokens least of all, and none is written.
SEEING: dict[str, Any] = {
    "reward_weights": [1.0, 0.5],
    "max_length": None,
    "max_prompt_length": None,
    "generation_kwargs": {"suppress_tokens": [vision.IMAGE_TOKEN]},
}
GROUP = Recipe("prompt", needs=("rewards",), settings=FUNCTIONS)
ONLINE = (
    Recipe(
        "prompt",
        needs=("reference", "reward_model", "reward_tokenizer"),
        requires="reward_model",
    ),
    Recipe("prompt", needs=("reference", "reward")),
)
#: These two score completions by a model's head, whatever `reward_funcs` is called (`get_reward`).
HEADED = (ONLINE[0], Recipe("prompt", needs=("reference", "scorer", "reward_tokenizer")))
RECIPES: dict[str, tuple[Recipe, ...]] = {
    "SFTTrainer": (Recipe("text", settings={"dataset_text_field": "text"}),),
    "DPOTrainer": (Recipe("preference", needs=("reference",)),),
    "KTOTrainer": (Recipe("unpaired", needs=("reference",)),),
    "BCOTrainer": (Recipe("unpaired", needs=("reference",)),),
    "CPOTrainer": (Recipe("preference"),),
    "ORPOTrainer": (Recipe("preference"),),
    "TPOTrainer": (Recipe("triple"),),
    "RewardTrainer": (
        Recipe("preference", policy="reward", requires="processing_class"),
        Recipe("preference_ids", policy="reward"),
    ),
    "PRMTrainer": (Recipe("stepwise", policy="steps"),),
    "GKDTrainer": (Recipe("messages", needs=("teacher",)),),
    "GOLDTrainer": (Recipe("messages", needs=("teacher",)),),
    "IWOPDTrainer": (Recipe("messages", needs=("teacher",)),),
    "MiniLLMTrainer": (Recipe("prompt", needs=("teacher",)),),
    "DistillationTrainer": (
        # Experimental until 1.8: learns from dialogues as GKD does (`lmbda` of them by its own completions). 1.9 takes
        # prompts as messages alone.
        Recipe("messages", needs=("teacher",), requires="lmbda"),
        Recipe("chat_prompt", needs=("teacher",)),
    ),
    "SDFTTrainer": (Recipe("privileged"),),
    "SDPOTrainer": (Recipe("privileged", needs=("rewards",), settings=FUNCTIONS),),
    "SSDTrainer": (Recipe("prompt"),),
    "GRPOTrainer": (
        replace(GROUP, requires="num_iterations"),
        # Until 0.15 a reward that is None stops the training (0.15.2, trainer/grpo_trainer.py:627).
        Recipe("prompt", needs=("scores",), settings={"reward_weights": [1.0, 0.5]}),
    ),
    "GMPOTrainer": (GROUP,),
    "DPPOTrainer": (GROUP,),
    "GRPOWithReplayBufferTrainer": (
        Recipe("prompt", needs=("rewards",), settings={**FUNCTIONS, "replay_buffer_size": 4}),
    ),
    "GFPOTrainer": (
        Recipe(
            "prompt",
            needs=("rewards", "filter"),
            settings={**FUNCTIONS, "num_remains_in_group": 2, "num_generations": 4, **BATCHES_OF_FOUR},
        ),
    ),
    "PAPOTrainer": (Recipe("image_prompt", policy="vision", needs=("scores",), settings=SEEING, packages=("PIL",)),),
    # It knows neither reward models nor a reward of None.
    "A2POTrainer": (
        Recipe("prompt", needs=("scores",), settings={"reward_weights": [1.0, 0.5], "num_value_samples": 2}),
    ),
    "ServerDistillationTrainer": (
        Recipe("messages", serves={"teacher_model_server_url": "teacher"}, requires="lmbda", packages=("requests",)),
        Recipe("chat_prompt", serves={"teacher_model_server_url": "teacher"}, packages=("requests",)),
    ),
    "AsyncGRPOTrainer": (
        Recipe(
            "chat_prompt",
            needs=("functions",),
            settings=PACKED,
            serves={"vllm_server_base_url": "causal"},
            path=True,
            template=PARSED,
            packages=("requests", "aiohttp"),
            repeatable=False,
        ),
    ),
    "AsyncDistillationTrainer": (
        Recipe(
            "chat_prompt",
            settings=PACKED,
            serves={"vllm_server_base_url": "causal", "teacher_server_urls": "teacher"},
            path=True,
            packages=("requests", "aiohttp"),
            repeatable=False,
        ),
    ),
    "RLOOTrainer": (
        Recipe("prompt", needs=("rewards",), settings=FUNCTIONS, requires="reward_funcs"),
        Recipe("prompt_ids", needs=("reference", "reward_model"), settings=EPISODES),
    ),
    "PPOTrainer": (
        Recipe("prompt_ids", needs=VALUED, settings=EPISODES, requires="value_model"),
        # Until 0.11: no dataset and no loop of its own.
        Recipe("prompt_ids", needs=("headed", "headed_reference"), settings=BY_HAND, drive="ppo"),
    ),
    "PPOv2Trainer": (Recipe("prompt_ids", needs=VALUED, settings=EPISODES),),
    "IterativeSFTTrainer": (Recipe("prompt_ids", drive="iterative"),),
    "DDPOTrainer": (DIFFUSION,),
    "AlignPropTrainer": (DIFFUSION,),
    "OnlineDPOTrainer": ONLINE,
    "XPOTrainer": HEADED,
    "NashMDTrainer": HEADED,
}


@dataclass(frozen=True)
class Variant:
    """Another way to train the classes in `trainers`: what it changes in their recipes.

    `data` replaces formats; `without` and `needs` take away and add meanings, `unset` and `settings` settings. It is
    there where the source of the trainer has one of the words `since`.
    """

    trainers: tuple[str, ...]
    data: Mapping[str, str] = field(default_factory=dict)
    policy: str = ""
    needs: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    unset: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    since: tuple[str, ...] = ("class",)

    def of(self, recipe: Recipe) -> Recipe:
        """Return the recipe in this variant."""
        return replace(
            recipe,
            data=self.data.get(recipe.data, recipe.data),
            policy=self.policy or recipe.policy,
            needs=(*(need for need in recipe.needs if need not in self.without), *self.needs),
            settings={k: v for k, v in {**recipe.settings, **self.settings}.items() if k not in self.unset},
            packages=(*recipe.packages, *self.packages),
        )


CHAT = {
    "text": "messages",
    "prompt": "chat_prompt",
    "preference": "chat_preference",
    "unpaired": "chat_unpaired",
}
#: What trainers that know conversations call to find or render them; SFT's of before 0.13 is the last.
CONVERSATIONS = ("is_conversational", "maybe_apply_chat_template", "get_formatting_func_from_dataset")
VARIANTS: dict[str, Variant] = {
    "chat": Variant(
        ("SFTTrainer", "DPOTrainer", "GRPOTrainer", "RLOOTrainer", "KTOTrainer", "RewardTrainer"),
        data=CHAT,
        # Until 0.11 a field that is named is looked for, messages or not; afterwards one must be named, or left alone.
        unset=("dataset_text_field",),
        since=CONVERSATIONS,
    ),
    # With an adapter the reference is the model without it.
    "peft": Variant(
        ("SFTTrainer", "DPOTrainer", "GRPOTrainer"),
        needs=("adapter",),
        without=("reference",),
        packages=("peft",),
        since=("peft_config",),
    ),
    "vision": Variant(
        ("SFTTrainer", "DPOTrainer", "GRPOTrainer", "RLOOTrainer"),
        data={"text": "image_messages", "prompt": "image_prompt", "preference": "image_preference"},
        policy="vision",
        needs=("scores",),
        without=("rewards",),
        settings=SEEING,
        packages=("PIL",),
        # GRPO saw images before the others had a function for them (0.20).
        since=("prepare_multimodal_messages", '["prompt", "image"]'),
    ),
    "accumulate": Variant(("SFTTrainer", "GRPOTrainer"), settings={"gradient_accumulation_steps": 2}),
}
