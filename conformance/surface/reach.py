"""Which sites of a release its trainings reach: each is done with `stand_ins` in the place of every tracker.

Runs inside the sandbox, but for `tour`, which asks for all of it and writes the answer down.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from conformance import jobs, recipes
from conformance.sandbox import Sandbox
from conformance.surface import scan, stand_ins
from conformance.surface.names import ROOTS
from conformance.surface.stand_ins import World
from conformance.trainers import Trainer, root

#: What TRL's own code looks for in `report_to`; what else transformers knows is tried on one trainer.
OF_TRL = ("wandb", "trackio", "mlflow", "comet_ml")
#: Settings under which a trainer says all that it ever says, where its config has them.
TALKATIVE = {
    **dict.fromkeys(("log_completions", "log_unique_prompts"), True),
    "log_completion_steps": 1,
    "log_completions_steps": 1,
    "num_sample_generations": 1,
}
#: Beside these: the trainers that generate while they evaluate. KTO and BCO need a bad answer in the batch.
GENERATE = {"generate_during_eval": True, "per_device_eval_batch_size": 4, "remove_unused_columns": False}
GENERATING = ("DPOTrainer", "KTOTrainer", "BCOTrainer", "CPOTrainer", "ORPOTrainer")
#: Asynchronous trainers log their samples only once eight of a policy are consumed, in every eighth policy.
ASYNC = {"per_device_train_batch_size": 8, "max_steps": 10, "token_budget": 768, "weight_sync_steps": 1}
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
#: Environment of trackers that are told to stay offline.
OFFLINE = {"COMET_MODE": "OFFLINE", "WANDB_MODE": "offline"}
#: ClearML's tasks may run elsewhere, and be told there what to take from this script.
ELSEWHERE = ("Task.running_locally",)
TOLD_NOTHING = ("Task.init().get_parameter", "Task.current_task().get_parameter")
#: Tour -> what is done, and how the stand-ins behave meanwhile. Each but the first is made with SFT alone, `generate`
#: with those that can: what users do around a training has sites of its own.
TOURS: dict[str, tuple[tuple[str, ...], World]] = {
    "train": (("train", "card", "evaluate", "predict"), World()),
    "generate": (("train",), World()),
    "diligent": (("train", "evaluate", "predict", "announce-push"), World(absent=ELSEWHERE)),
    "fresh": (
        ("train", "predict", "announce-push"),
        World(fresh=True, absent=("context_vars.current_space_id.get",)),
    ),
    "old": (("train",), World(old=True, fresh=True, absent=(*ELSEWHERE, *TOLD_NOTHING))),
    "callbacks": (("accompany", "train"), World()),
    # TRL's WeaveCallback begins a client of its own.
    "scored": (
        ("accompany-scored", "train"),
        World(absent=("trace.context.weave_client_context.get_weave_client",)),
    ),
}
#: Tours that a name of `report_to` which TRL does not look for is tried in.
OF_OTHERS = ("diligent", "fresh", "old")


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
    acts, world = TOURS[tour]
    vars(stand_ins.WORLD).update(vars(world))
    told = {"report_to": reports, "run_name": "tour", **TALKATIVE, **(GENERATE if tour == "generate" else {})}
    if trainer.name.startswith("Async"):
        told |= ASYNC
    if tour in ("diligent", "fresh"):
        os.environ.update(DILIGENT)
    if tour == "old":
        os.environ.update(OFFLINE)
    if tour == "fresh":
        # A run that is called like its folder makes wandb's callback warn.
        told |= {"run_name": str(folder / "out"), "load_best_model_at_end": True}
        os.environ.update(HF_DVCLIVE_LOG_MODEL="true")
    # Old PPO, DDPO and AlignProp: accelerate's tracker, which they compare by name.
    told["log_with"] = "wandb"
    outcome = jobs.live(None, trainer, folder, "tour", models, folder, told, acts)
    return {"asked": sorted(stand_ins.ASKED), **outcome}


def accelerated(folder: Path, tour: str) -> dict[str, Any]:
    """Log through an Accelerator, with one after the other of the trackers that it knows."""
    vars(stand_ins.WORLD).update(vars(TOURS[tour][1]))
    if tour == "old":
        os.environ.update(OFFLINE)
    from accelerate import Accelerator
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    errors = {}
    for name in sorted(map(str, LOGGER_TYPE_TO_CLASS)):
        try:
            accelerator = Accelerator(log_with=name, project_dir=str(folder), cpu=True)
            accelerator.init_trackers("tour", {"rate": 0.1, "name": "x" * 1000})
            accelerator.log({"loss": 0.5, "text": "x", "parts": {"a": 1.0}}, step=1)
            accelerator.log({"loss": 0.5})
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
            method = getattr(tracker, name)
            step = {"step": 1} if "step" in inspect.signature(method).parameters else {}
            with contextlib.suppress(Exception):
                method(*arguments, **step)


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
    return {"surfaces": surfaces(), "asked": sorted(map(list, asked)), "ended": ended}


def surfaces() -> list[dict[str, Any]]:
    """Return what is installed as it is scanned here, as plain data: an era may have another patch than was scanned."""
    return [json.loads(scan.of_installed(library).text()) for library in scan.LIBRARIES]


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
        for tour in OF_OTHERS if sft and name not in ours else ():
            yield f"sft {name} {tour}", "train", _arguments(sft, models, folder, [name], tour)  # type: ignore[arg-type]
    for tour in ("train", "fresh", "old"):
        yield f"accelerate {tour}", "accelerated", {"folder": folder, "tour": tour}
    yield "scripts", "scripts", {}


def _arguments(trainer: Trainer, models: Path, folder: Path, reports: list[str], tour: str) -> dict[str, Any]:
    place = folder / "runs" / f"{trainer.id}-{'-'.join(reports)}-{tour}"
    return {"trainer": trainer, "models": models, "folder": place, "reports": reports, "tour": tour}


def write(told: dict[str, Any], path: Path) -> None:
    """Write what `tour` returned."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, indent=0), encoding="utf-8")
