"""Which sites of a release its trainings reach: each is done with `stand_ins` in the place of every tracker.

Runs inside the sandbox, but for `tour`, which asks for all of it and writes the answer down.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from conformance import jobs, recipes
from conformance.sandbox import Sandbox
from conformance.surface import stand_ins
from conformance.surface.names import ROOTS
from conformance.trainers import Trainer, release, root

#: What TRL's own code looks for in `report_to`; what else transformers knows is tried on one trainer.
OF_TRL = ("wandb", "trackio", "mlflow", "comet_ml")
#: Settings under which a trainer says all that it ever says, where its config has them.
TALKATIVE = {
    **dict.fromkeys(("log_completions", "log_unique_prompts"), True),
    "log_completion_steps": 1,
    "log_completions_steps": 1,
    "num_sample_generations": 1,
    # Asynchronous trainers log their samples only once eight of a policy are consumed.
    "token_budget": 768,
}
#: Beside these: the trainers that generate while they evaluate. KTO and BCO need a bad answer in the batch.
GENERATE = {"generate_during_eval": True, "per_device_eval_batch_size": 4, "remove_unused_columns": False}
GENERATING = ("DPOTrainer", "KTOTrainer", "BCOTrainer", "CPOTrainer", "ORPOTrainer")
#: Environment under which transformers' reporting callbacks do all that they ever do.
DILIGENT = {
    "WANDB_LOG_MODEL": "checkpoint",
    "WANDB_WATCH": "all",
    "HF_MLFLOW_LOG_ARTIFACTS": "1",
    "COMET_LOG_ASSETS": "1",
    "CLEARML_LOG_MODEL": "1",
    "MLFLOW_FLATTEN_PARAMS": "1",
    "MLFLOW_EXPERIMENT_NAME": "x",
    "MLFLOW_TRACKING_URI": "https://example.org/user/project.mlflow",
    "HF_DAGSHUB_LOG_ARTIFACTS": "1",
    "MLFLOW_TAGS": '{"a": "b"}',
    "SWANLAB_LOG_MODEL": "checkpoint",
    "HF_DVCLIVE_LOG_MODEL": "all",
    "DVCLIVE_LOG_MODEL": "all",
}
#: What users do around a training that has sites of its own; those that a trainer does not know are left out.
TOURS: dict[str, tuple[str, ...]] = {
    "train": ("train", "card", "evaluate", "predict"),
    "generate": ("train",),
    "diligent": ("train", "evaluate", "predict"),
    "callbacks": ("accompany", "train"),
    "scored": ("accompany-scored", "train"),
}
#: What there is not yet in that tour: TRL's WeaveCallback begins a client of its own.
ABSENT = {"scored": ["trace.context.weave_client_context.get_weave_client"]}


def preload() -> dict[str, Any]:
    """Stand in for every tracker, then import TRL and its trainers."""
    stand_ins.stand()
    facts = jobs.preload_all()
    return {**facts, "reports": sorted(_known_reports()), "asked": sorted(stand_ins.ASKED)}


def _known_reports() -> set[str]:
    """Return the names that `report_to` knows in the installed transformers."""
    from transformers.integrations import integration_utils

    return set(integration_utils.INTEGRATION_TO_CALLBACK) & {*ROOTS, "azure_ml", "flyte", "tensorboard"}


def train(trainer: Trainer, models: Path, folder: Path, reports: list[str], tour: str) -> dict[str, Any]:
    """Train as a tour says, reporting to `reports`; return what was asked of whom, and how it ended."""
    folder.mkdir(parents=True)
    stand_ins.ABSENT.update(ABSENT.get(tour, ()))
    if tour == "diligent":
        os.environ.update(DILIGENT)
    told = {"report_to": reports, "run_name": "tour", **TALKATIVE, **(GENERATE if tour == "generate" else {})}
    # Old PPO, DDPO and AlignProp: accelerate's tracker, which they compare by name.
    told["log_with"] = "wandb"
    outcome = jobs.live(None, trainer, folder, "tour", models, folder, told, TOURS[tour])
    return {"asked": sorted(stand_ins.ASKED), **outcome}


def accelerated(reports: list[str], folder: Path) -> dict[str, Any]:
    """Log through an Accelerator that has every tracker it knows."""
    from accelerate import Accelerator
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    errors = {}
    for name in sorted(map(str, LOGGER_TYPE_TO_CLASS)):
        try:
            accelerator = Accelerator(log_with=name, project_dir=str(folder), cpu=True)
            accelerator.init_trackers("tour", {"rate": 0.1, "name": "x"})
            accelerator.log({"loss": 0.5, "text": "x", "parts": {"a": 1.0}}, step=1)
            for tracker in accelerator.trackers:
                _rich(tracker, folder)
            accelerator.get_tracker(name, unwrap=True)
            accelerator.end_training()
        except Exception as error:
            errors[name] = f"{type(error).__name__}: {error}"
    return {
        "asked": sorted(stand_ins.ASKED),
        "error": "; ".join(f"{k}: {v}" for k, v in errors.items()),
        "stage": "done",
    }


def _rich(tracker: Any, folder: Path) -> None:
    """Call what a tracker has beyond `log`."""
    import numpy
    import pandas

    image = numpy.zeros((4, 4, 3), dtype="uint8")
    calls = {
        "log_images": ({"image": [image]},),
        "log_table": ("table", ["a"], [[1]], pandas.DataFrame({"a": [1]})),
        "log_figure": (image, "figure.png"),
        "log_artifact": (str(folder),),
        "log_artifacts": (str(folder),),
    }
    for name, arguments in calls.items():
        if hasattr(tracker, name):
            with contextlib.suppress(Exception):
                getattr(tracker, name)(*arguments)


def scripts() -> dict[str, Any]:
    """Import TRL's scripts, which set environment variables where they are imported."""
    import importlib

    for path in sorted((root("trl") or Path()).glob("scripts/*.py")):
        with contextlib.suppress(Exception, SystemExit):
            importlib.import_module(f"trl.scripts.{path.stem}")
    return {"asked": sorted(stand_ins.ASKED), "error": "", "stage": "done"}


# ---- outside the sandbox ---------------------------------------------------------------------------------------------


def tour(folder: Path, only: Sequence[str] = ()) -> dict[str, Any]:
    """Return what the trainings of the installed release ask of trackers, as plain data. Raises SandboxError.

    `only` are ids of trainers; without them all are trained.
    """
    asked: set[tuple[str, ...]] = set()
    ended: dict[str, str] = {}
    with Sandbox({}, "conformance.surface.reach:preload", folder / "sandbox") as sandbox:
        facts = sandbox.facts
        asked |= set(map(tuple, facts["asked"]))
        for name, function, arguments in _plan(facts["reports"], folder, only):
            outcome = sandbox.run(f"conformance.surface.reach:{function}", **arguments)
            if outcome.state == "ok":
                asked |= set(map(tuple, outcome.value["asked"]))
                ended[name] = "" if outcome.value["stage"] == "done" else str(outcome.value["error"])
            else:
                ended[name] = f"{outcome.state}: {outcome.error}"
    libraries = {name: release(name) for name in ("trl", "transformers", "accelerate")}
    return {"versions": libraries, "asked": sorted(map(list, asked)), "ended": ended}


def _plan(reports: list[str], folder: Path, only: Sequence[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (name, function, arguments) of everything that is tried."""
    models = folder / "models"
    ours = [name for name in OF_TRL if name in reports]
    trainers = [trainer for trainer in recipes.every() if not only or trainer.id in only]
    for trainer in trainers:
        for tour in TOURS:
            if tour == "train" or (trainer.name in GENERATING if tour == "generate" else trainer.id == "sft"):
                yield f"{trainer.id} {tour}", "train", _arguments(trainer, models, folder, ours, tour)
    sft = next((trainer for trainer in trainers if trainer.id == "sft"), None)
    for name in reports:
        if sft and name not in ours:
            yield f"sft {name}", "train", _arguments(sft, models, folder, [name], "diligent")
    yield "accelerate", "accelerated", {"reports": reports, "folder": folder}
    yield "scripts", "scripts", {}


def _arguments(trainer: Trainer, models: Path, folder: Path, reports: list[str], tour: str) -> dict[str, Any]:
    place = folder / "runs" / f"{trainer.id}-{'-'.join(reports)}-{tour}"
    return {"trainer": trainer, "models": models, "folder": place, "reports": reports, "tour": tour}


def write(told: dict[str, Any], path: Path) -> None:
    """Write what `tour` returned: one line a site."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(one) for one in told["asked"])
    head = ",\n".join(f"{json.dumps(name)}: {json.dumps(told[name])}" for name in ("versions", "ended"))
    path.write_text(f'{{\n{head},\n"asked": [\n{lines}\n]\n}}\n', encoding="utf-8")
