"""TRL's own callbacks, as users add them to a training: which ones a release has, and how each is made tiny.

The only place that knows their constructors. A release's callbacks are found by the names that `trl` exports, so a new
one without a row here is seen; those that TRL keeps among its experiments are added where they can be made, and are not
asked for otherwise, as its experimental trainers are not.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from conformance import tiny

#: Prompts that a callback generates completions for, and the tokens of each: generation is most of what they cost.
PROMPTS, TOKENS = 2, 4


def _judge() -> Any:
    """Return a judge by which every other completion wins: it needs no model, and says the same each time."""
    base = _first("BasePairwiseJudge", ("trl.experimental.judges", "trl"))

    def judge(self: Any, prompts: list[str], completions: list[Any], *args: Any, **kwargs: Any) -> list[int]:
        return [i % 2 for i in range(len(prompts))]

    return type("EveryOther", (base,), {"judge": judge})()


def _short() -> Any:
    from transformers import GenerationConfig

    words = tiny.tokenizer()
    return GenerationConfig(
        max_new_tokens=TOKENS, do_sample=False, pad_token_id=words.pad_token_id, eos_token_id=words.eos_token_id
    )


#: What the constructors ask for, by name.
OFFERS: dict[str, Callable[[Any], Any]] = {
    "trainer": lambda trainer: trainer,
    "accelerator": lambda trainer: trainer.accelerator,
    "ref_model": lambda trainer: trainer.ref_model,
    "judge": lambda _: _judge(),
    "generation_config": lambda _: _short(),
    "prompts": lambda _: tiny.dataset("prompt")["prompt"][:PROMPTS],
    "num_prompts": lambda _: PROMPTS,
    "freq": lambda _: 1,
    "update_freq": lambda _: 1,
}


@dataclass(frozen=True)
class Companion:
    """One callback.

    `places` are the modules that have it, `hears` is the tracker's module that alone is told what it logs, `stand_in`
    a package in whose place `conformance.stubs` has something, where it is not installed.
    """

    places: tuple[str, ...] = ("trl",)
    hears: str = ""
    stand_in: str = ""


COMPANIONS: dict[str, Companion] = {
    "RichProgressCallback": Companion(),
    "SyncRefModelCallback": Companion(),
    "BEMACallback": Companion(),
    # 0.26 to 0.28 have thin classes of these two under the old names, and MergeModelCallback's forgets to build itself
    # (0.26.2, trl/trainer/callbacks.py:602).
    "WinRateCallback": Companion(("trl.experimental.winrate_callback", "trl")),
    "LogCompletionsCallback": Companion(hears="wandb"),
    # Logs to Weave, a service of its own; where that is not installed it says so and stands by.
    "WeaveCallback": Companion(),
    "MergeModelCallback": Companion(("trl.experimental.merge_model_callback", "trl"), stand_in="mergekit"),
}


def exported() -> set[str]:
    """Return the names of the callbacks that the installed `trl` exports."""
    import trl

    return {name for name in dir(trl) if name.endswith("Callback")}


def accompany(trainer: Any, **offers: Any) -> dict[str, Any]:
    """Add to a built trainer every callback that can be made; return which (`made`) and why not the others (`missing`).

    `missing` has those that `trl` itself exports. `offers` are further arguments for the constructors that have them.
    """
    # What a trainer with a reference model has (DPO, GRPO); the two settings are theirs as well.
    trainer.ref_model = copy.deepcopy(trainer.model)
    trainer.args.ref_model_sync_steps, trainer.args.ref_model_mixup_alpha = 1, 0.5
    asked = exported()
    made, missing = [], {}
    for name in sorted(asked | COMPANIONS.keys()):
        try:
            callback = _make(name, trainer, offers)
        except Exception as error:
            if name in asked:
                missing[name] = f"{type(error).__name__}: {error}".split("\n", 1)[0][:200]
            continue
        if hasattr(callback, "eval_dataset"):
            # They ask the trainer's data for prompts, which most trainers tokenise away.
            callback.eval_dataset = tiny.dataset("prompt").select(range(PROMPTS))
        trainer.add_callback(callback)
        made.append(name)
    return {"made": made, "missing": missing}


def _make(name: str, trainer: Any, offers: dict[str, Any]) -> Any:
    if name not in COMPANIONS:
        raise LookupError("no row in conformance/companions.py")
    row = COMPANIONS[name]
    cls = _first(name, row.places)
    if row.stand_in and importlib.util.find_spec(row.stand_in) is None:
        importlib.import_module(f"conformance.stubs.{row.stand_in}").stand()
    wanted = inspect.signature(cls.__init__).parameters
    given = {word: offer(trainer) for word, offer in OFFERS.items() if word in wanted}
    return cls(**given, **{word: value for word, value in offers.items() if word in wanted})


def _first(name: str, places: tuple[str, ...]) -> Any:
    """Return the object of that name in the first of the modules that has it. Raises ImportError."""
    for place in places:
        try:
            module: ModuleType = importlib.import_module(place)
        except ModuleNotFoundError as error:
            if place != error.name and not place.startswith(f"{error.name}."):
                raise
            continue
        if hasattr(module, name):
            return getattr(module, name)
    raise ImportError(f"{' and '.join(places)} have no {name}")
