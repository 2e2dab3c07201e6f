"""What users do beside one `trainer.train()`: evaluate and predict around it, train twice, fail, be killed.

Each scenario is a row of acts that the sandbox plays on one trainer; the same acts without a tracker are the control.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from conformance import recipes
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


ACTS: dict[str, Callable[[Trainer, Any], None]] = {
    "train": recipes.train,
    "evaluate": lambda _, built: built.evaluate(),
    "predict": lambda _, built: built.predict(built.eval_dataset),
    "fail": _broken_off(_fail),
    "kill": _broken_off(_kill),
}
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
}
#: The trainer of every scenario: what is asked here does not depend on the trainer.
TRAINER = "sft"
