"""Which modules are trackers', and by what a source shows that it means one. The only place that knows these names."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Importable name -> the tracker's module that a use counts for. The longest matching prefix decides.
ROOTS = {
    "trackio": "trackio",
    "wandb": "wandb",
    "mlflow": "mlflow",
    "swanlab": "swanlab",
    "comet_ml": "comet_ml",
    "clearml": "clearml",
    "dvclive": "dvclive",
    "neptune": "neptune",
    "codecarbon": "codecarbon",
    "dagshub": "dagshub",
    "weave": "weave",
    "aim": "aim",
    "flytekit": "flytekit",
    "flytekitplugins": "flytekit",
    "azureml": "azureml",
    "torch.utils.tensorboard": "tensorboard",
    "tensorboardX": "tensorboard",
    "tensorboard": "tensorboard",
}
MODULES = tuple(dict.fromkeys(ROOTS.values()))
#: Attributes under which a class of another file keeps a module, by the name of that class.
HELD = {
    "WandbCallback": {"_wandb": "wandb"},
    "TrackioCallback": {"_trackio": "trackio"},
    "MLflowCallback": {"_ml_flow": "mlflow"},
    "SwanLabCallback": {"_swanlab": "swanlab"},
}
#: accelerate's own objects: what a trainer asks of its `accelerator` for trackers, and what accelerate asks of each.
ACCELERATOR, GENERAL = "Accelerator", "GeneralTracker"
ASKED_OF_ACCELERATOR = {"init_trackers", "log", "get_tracker", "end_training"}
#: Methods of a text: what is done with `run.url` is not asked of the tracker.
OF_TEXT = {name for name in dir(str) if not name.startswith("_")}
#: Environment variables are a tracker's by a word in their name.
WORDS = {
    "TRACKIO": "trackio",
    "WANDB": "wandb",
    "MLFLOW": "mlflow",
    "SWANLAB": "swanlab",
    "COMET": "comet_ml",
    "CLEARML": "clearml",
    "DVCLIVE": "dvclive",
    "NEPTUNE": "neptune",
    "CODECARBON": "codecarbon",
    "DAGSHUB": "dagshub",
    "WEAVE": "weave",
    "TENSORBOARD": "tensorboard",
}
#: Without one of these, a file asks nothing of any tracker and is not parsed. Plain texts: there are 50 MB of source.
MENTIONS = (
    *(f"accelerator.{name}" for name in sorted(ASKED_OF_ACCELERATOR)),
    ".trackers",
    GENERAL,
    *WORDS,
    *(module for module in MODULES if module != "aim"),
    "import aim",
    "from aim",
)
#: A distribution's name, where it is not the module's.
DISTRIBUTIONS = {
    "comet-ml": "comet_ml",
    "mlflow-skinny": "mlflow",
    "azureml-core": "azureml",
    "neptune-client": "neptune",
}


@dataclass(frozen=True, order=True)
class Ref:
    """What an expression may be: the `path` below a module (see `Use.path`).

    `under` are the conditions under which it was put into the list that it was taken from.
    """

    module: str
    path: str = ""
    under: tuple[str, ...] = ()

    def __add__(self, step: str) -> Ref:
        return Ref(self.module, f"{self.path}{step}".lstrip("."), self.under)


def mentions(text: str) -> bool:
    """Whether a source may ask something of a tracker."""
    return any(word in text for word in MENTIONS)


def module_of(dotted: str) -> Ref | None:
    """Return what an importable name is (`wandb.sdk` is the path `sdk` of wandb), None for no tracker's."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        root = ROOTS.get(".".join(parts[:length]))
        if root:
            return Ref(root, ".".join(parts[length:]))
    return None


def variable_of(name: str) -> str:
    """Return the module that an environment variable belongs to, "" for none."""
    if not re.fullmatch(r"[A-Z][A-Z0-9_]+", name):
        return ""
    return next((module for word, module in WORDS.items() if word in name.split("_") or name.startswith(word)), "")


def distribution_of(name: str) -> str:
    """Return the module that a distribution or importable name belongs to, "" for none."""
    if name in DISTRIBUTIONS:
        return DISTRIBUTIONS[name]
    found = module_of(name)
    return found.module if found and not found.path else ""
