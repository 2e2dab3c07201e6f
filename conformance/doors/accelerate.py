"""The accelerate door: trainers that log by `Accelerator(log_with=…)`, and the witness immediately before the tracker.

PPO of TRL up to 0.11, DDPO and AlignProp (up to 0.23) know no callbacks. They hand accelerate a name or a
`GeneralTracker`, tell it their configuration and log numbers and arrays, with a step or without one.

A tracker that attaches by a `report_to` name is attached here by the same name, if accelerate knows it too.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from conformance.doors.module import Recorder, caller, table_of
from conformance.tape import Writer
from conformance.values import encode

if TYPE_CHECKING:
    from conformance.doors.callback import Attachment

#: What names a run in a tracker's `init_kwargs`; others have no names for runs (accelerate 1.15.0, tracking.py: the
#: constructors that pass them on to `wandb.init`, `trackio.init`, `mlflow.start_run`, `swanlab.init`).
RUN_NAMES = {"wandb": "name", "trackio": "name", "mlflow": "run_name", "swanlab": "experiment_name"}
#: transformers' callbacks choose the same (5.23.0, integrations/integration_utils.py), so one store has one project.
PROJECT = "huggingface"


def settings(attachment: Attachment, run: str, writer: Writer) -> dict[str, Any]:
    """Return the fields by which the configs of these trainers open the door, {} if the tracker has no way through it.

    Without anything attached (the control run), a tracker that keeps nothing stands there.
    """
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    chosen: list[Any] = [witness(tracker, writer) for tracker in attachment.trackers]
    chosen += [name for name in attachment.report_to if name in LOGGER_TYPE_TO_CLASS]
    if not chosen:
        return {}
    named = {name: {keyword: run} for name, keyword in RUN_NAMES.items() if name in chosen}
    # One, not a list: TRL compares it with "wandb" and "tensorboard" (0.11.4, trainer/ppo_trainer.py).
    return {"log_with": chosen[0], "tracker_project_name": PROJECT, "tracker_kwargs": named}


def is_door_of(trainer: Any) -> bool:
    """Whether a built trainer reaches its trackers through this door, and through no callbacks."""
    return not hasattr(trainer, "callback_handler") and hasattr(trainer, "accelerator")


def witness(real: Any, writer: Writer) -> Any:
    """Return a `GeneralTracker` that writes what it is told to the tape, and hands it on to `real` unchanged.

    It answers every other question as `real` does. The tape gets `told` (the configuration), `on_log` with accelerate's
    step (None where the trainer gave none), tables as calls of the module that they are of, and `finished`.
    """
    from accelerate.tracking import GeneralTracker

    class Witness(GeneralTracker):  # type: ignore[misc, unused-ignore]
        name = real.name
        requires_logging_directory = real.requires_logging_directory
        main_process_only = real.main_process_only

        def __init__(self) -> None:
            super().__init__()
            _stand_inside(real, writer)

        def __getattr__(self, attribute: str) -> Any:
            return getattr(real, attribute)

        @property
        def tracker(self) -> Any:
            return real.tracker

        def start(self) -> None:
            real.start()
            _stand_inside(real, writer)

        def store_init_configuration(self, values: dict[str, Any]) -> None:
            writer.write({"event": "told", "step": 0, "config": encode(values)})
            real.store_init_configuration(values)

        def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
            tables = {key: value for key, value in values.items() if _is_table(value)}
            for key, table in tables.items():
                writer.write(_table_call(key, table, step))
            before = encode(_without(values, tables))
            writer.write({"event": "on_log", "step": step, "logs": before})
            real.log(values, step=step, **kwargs)
            after = encode(_without(values, tables))
            if after != before:
                writer.write({"event": "edited", "step": step, "on": "on_log", "before": before, "after": after})

        def finish(self) -> None:
            writer.write({"event": "finished", "step": None})
            real.finish()

    return Witness()


def _without(values: dict[str, Any], tables: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in tables}


def _stand_inside(real: Any, writer: Writer) -> None:
    """Put a recorder between a tracker class of accelerate and the run or writer that it holds.

    What accelerate itself leaves out is then no fault of the tracker's. A class that holds none (MLflow's) stays as is.
    """
    if not type(real).__module__.startswith("accelerate."):
        return
    for held in ("run", "writer"):
        value = vars(real).get(held)
        if value is not None and not isinstance(value, Recorder):
            setattr(real, held, Recorder(value, held, "integration", writer))
            inside = [type(real).__name__]
            writer.write({"event": "handler", "step": 0, "before": [], "inside": inside, "door": "accelerate"})


def _is_table(value: Any) -> bool:
    return type(value).__name__ == "Table" and hasattr(value, "columns") and hasattr(value, "data")


def _table_call(key: str, table: Any, step: int | None) -> dict[str, Any]:
    """Return the tape's event of a table of a tracker's own class (as PPO of TRL 0.11.4 makes it, in `log_stats`)."""
    encoded = table_of((), {"columns": table.columns, "data": table.data})
    path = f"{type(table).__module__.partition('.')[0]}.log"
    kwargs = {} if step is None else {"step": step}
    return {
        "event": "call",
        "door": "module",
        "path": path,
        "step": step,
        "args": [{key: encoded}],
        "kwargs": kwargs,
        "where": caller("accelerate"),
    }


def bystander() -> Any:
    """Return a tracker that keeps nothing: the witness of a control run stands before it."""
    from accelerate.tracking import GeneralTracker

    class Bystander(GeneralTracker):  # type: ignore[misc, unused-ignore]
        name = "bystander"
        requires_logging_directory = False

        @property
        def tracker(self) -> Any:
            return self

    return Bystander()


@contextlib.contextmanager
def stand(attachment: Attachment, writer: Writer) -> Iterator[None]:
    """While the context lasts, every tracker of the attachment that accelerate makes by its name gets a witness."""
    tracking = sys.modules.get("accelerate.tracking")
    classes: dict[str, Any] = getattr(tracking, "LOGGER_TYPE_TO_CLASS", {})
    originals = {name: classes[name] for name in attachment.report_to if name in classes}
    for name, original in originals.items():
        classes[name] = _Witnessed(original, writer)
    try:
        yield
    finally:
        classes.update(originals)


class _Witnessed:
    """Stands for a tracker class of accelerate in its table of names: what it makes has a witness."""

    def __init__(self, original: Any, writer: Writer) -> None:
        self._original, self._writer = original, writer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return witness(self._original(*args, **kwargs), self._writer)
