"""Run by `test_wandb_callers.py`: a script that says `report_to="wandb"`, as users write it; prints facts.

`install` stands before the callers are imported, as it must.
"""
# ruff: noqa: E402

import trackio.wandb

trackio.wandb.install()

import json
import os
from types import SimpleNamespace
from typing import Any

import accelerate
import accelerate.utils
import numpy
import torch
import transformers
import transformers.integrations
import wandb
from trl.extras import profiling


class Model(torch.nn.Module):
    """The smallest thing Trainer can train and, having a `base_model`, describe."""

    base_model = None

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.config = SimpleNamespace(to_dict=lambda: {"model_type": "line", "layers": [1, {"a": None}]})

    def num_parameters(self) -> int:
        return 2

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        out = self.layer(x)
        return {"loss": ((out - labels) ** 2).mean(), "logits": out}


def train() -> list[dict[str, Any]]:
    """Train, with all that transformers' callback does when it is told to."""
    os.environ.update(WANDB_PROJECT="hf", WANDB_LOG_MODEL="checkpoint", WANDB_WATCH="all")
    arguments = transformers.TrainingArguments(
        output_dir="out",
        run_name="./a/../name",
        report_to=["wandb"],
        logging_steps=1,
        max_steps=2,
        save_steps=2,
        use_cpu=True,
        disable_tqdm=True,
    )
    data = [{"x": torch.tensor([float(i)]), "labels": torch.tensor([2.0 * i])} for i in range(8)]
    trainer = transformers.Trainer(Model(), arguments, train_dataset=data, eval_dataset=data)
    trainer.train()
    trainer.evaluate()
    trainer.predict(data)
    return trainer.state.log_history


def profile() -> None:
    """Time a piece of work, as TRL's trainers do."""
    context = getattr(profiling, "ProfilingContext", None)
    if context is not None:
        with context("work", ["wandb"], is_main_process=True, step=2):
            pass
        return
    trainer = SimpleNamespace(
        args=SimpleNamespace(report_to=["wandb"]),
        state=SimpleNamespace(global_step=2),
        accelerator=SimpleNamespace(is_main_process=True),
    )
    with profiling.profiling_context(trainer, "work"):
        pass


def accelerated() -> None:
    """Log through accelerate, which says when the run ends."""
    accelerator = accelerate.Accelerator(log_with="wandb", cpu=True)
    accelerator.init_trackers("acc", config={"lr": 0.1}, init_kwargs={"wandb": {"name": "n", "tags": ["t"]}})
    accelerator.log({"loss": 0.5}, step=3)
    accelerator.log({"loss": float("nan")})
    (tracker,) = accelerator.trackers
    tracker.log_table("table", columns=["a"], data=[[1], [2]], step=4)
    tracker.log_images({"pictures": [numpy.zeros((1, 1, 3), dtype="uint8")]}, step=5)
    assert accelerator.get_tracker("wandb", unwrap=True) is wandb.run
    accelerator.end_training()


facts = {
    "available": [transformers.integrations.is_wandb_available(), accelerate.utils.is_wandb_available()],
    "reporting": transformers.integrations.get_available_reporting_integrations(),
    "trl": profiling.wandb is wandb,
}
profile()
facts["history"] = train()
profile()
facts["open"] = wandb.run.name
wandb.finish()
accelerated()
print(json.dumps(facts))
