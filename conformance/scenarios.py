"""What users do beside one `trainer.train()`: evaluate and predict around it, train twice, fail, be killed, resume.

Each scenario is a row of acts that the sandbox plays on one trainer; the same acts without a tracker are the control.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from conformance import companions, recipes
from conformance.trainers import Trainer

#: Said by the scenario that fails on purpose: an error without it came from elsewhere.
ON_PURPOSE = "the training fails on purpose"
#: The step after whose log, evaluation and checkpoint a training is broken off.
BROKEN_OFF = 2


def _fail() -> None:
    raise RuntimeError(ON_PURPOSE)


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _broken_off(how: Callable[[], None]) -> Callable[[Trainer, Any], None]:
    """Return the act of a training that ends by `how` before the step after `BROKEN_OFF`."""

    def train(trainer: Trainer, built: Any) -> None:
        from transformers import TrainerCallback

        def on_step_begin(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == BROKEN_OFF:
                how()

        built.add_callback(type("BreaksOff", (TrainerCallback,), {"on_step_begin": on_step_begin})())
        recipes.train(trainer, built)

    return train


def _evaluate(_: Trainer, built: Any) -> None:
    built.evaluate()


def _predict(_: Trainer, built: Any) -> None:
    built.predict(built.eval_dataset)


def _stop(trainer: Trainer, built: Any) -> None:
    """Train up to the first checkpoint and end there, as when the time that a job was given is over."""
    from transformers import TrainerCallback

    def on_save(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = True

    built.add_callback(type("StopsAtACheckpoint", (TrainerCallback,), {"on_save": on_save})())
    recipes.train(trainer, built)


def _resume(trainer: Trainer, built: Any) -> None:
    # transformers up to 4.46 does not tell torch >= 2.6 that its own file of random states may be loaded (`rng_file`).
    os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
    built.train(resume_from_checkpoint=True)


def _card(_: Trainer, built: Any) -> None:
    """Write the model card that a push to the Hub would write, where the release has one."""
    if hasattr(built, "create_model_card"):
        built.create_model_card(model_name="tiny")


def _announce_push(_: Trainer, built: Any) -> None:
    """Tell the callbacks of a push to the Hub as `Trainer.push_to_hub` does: an event since transformers 5.0."""
    if hasattr(built.callback_handler, "on_push_begin"):
        built.callback_handler.on_push_begin(built.args, built.state, built.control)


def len_of_output(*_: Any, **given: Any) -> float:
    """Score a completion, as TRL's WeaveCallback asks its scorers to."""
    return float(len(str(given)))


#: What a trainer is asked to do. What an act returns is written to the tape, under the act's name.
ACTS: dict[str, Callable[[Trainer, Any], dict[str, Any] | None]] = {
    "train": recipes.train,
    "evaluate": _evaluate,
    "predict": _predict,
    "fail": _broken_off(_fail),
    "kill": _broken_off(_kill),
    "stop": _stop,
    "resume": _resume,
    "card": _card,
    "announce-push": _announce_push,
    "accompany": lambda _, built: companions.accompany(built),
    "accompany-scored": lambda _, built: companions.accompany(built, scorers={"length": len_of_output}),
}
#: Among acts: the user starts the script anew. What follows is done in a new process, by a new trainer that has the
#: same run name and `output_dir`.
ANEW = "anew"
#: Scenario -> acts. `twice` is this row played two times in one process, as two trainings.
SCENARIOS: dict[str, tuple[str, ...]] = {
    "train": ("train",),
    "evaluate-first": ("evaluate", "train"),
    "evaluate-after": ("train", "evaluate"),
    "evaluate-only": ("evaluate",),
    "predict-after": ("train", "predict"),
    "twice": ("train",),
    "fails": ("fail",),
    "killed": ("kill",),
    "resume": ("stop", ANEW, "resume"),
    "callbacks": ("accompany", "train"),
}
#: The trainer of every scenario: what is asked here does not depend on the trainer.
TRAINER = "sft"
