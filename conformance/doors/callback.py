"""The callback door: attach a tracker by `report_to` name or as callbacks, and stand witness immediately before it.

The witness is inserted where `CallbackHandler` is born (transformers/trainer_callback.py, `CallbackHandler.__init__`),
so that it sees every event from `on_init_end` on, in whatever way a trainer builds its handler. A callback may edit the
shared `logs` dict for those behind it (`PrinterCallback` pops `total_flos`): hence *immediately* before. A second one,
the watch, stands immediately behind and records what the tracker changed.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from conformance import values
from conformance.tape import Writer
from conformance.tracker import Tracker


class AttachError(TypeError):
    """What `attach` returned cannot be given to a trainer."""


@dataclass(frozen=True)
class Attachment:
    """What a tracker's `attach` returned, sorted by door."""

    report_to: list[str] = field(default_factory=list)
    callbacks: list[Any] = field(default_factory=list)
    modules: list[ModuleType] = field(default_factory=list)
    trackers: list[Any] = field(default_factory=list)


def attach(tracker: Tracker, store: Path, run: str) -> Attachment:
    """Call `tracker.attach` and sort what it returned. Raises AttachError, or whatever `attach` raises."""
    from accelerate.tracking import GeneralTracker
    from transformers import TrainerCallback

    given = tracker.attach(store, run)
    found = Attachment()
    for item in given if isinstance(given, (list, tuple)) else [given]:
        if isinstance(item, str):
            found.report_to.append(item)
        elif isinstance(item, TrainerCallback):
            found.callbacks.append(item)
        elif isinstance(item, GeneralTracker):
            found.trackers.append(item)
        elif isinstance(item, ModuleType):
            if not tracker.module:
                raise AttachError(f"{type(tracker).__name__}.attach returned a module: say in `module` for which names")
            found.modules.append(item)
        else:
            raise AttachError(
                f"{type(tracker).__name__}.attach returned {item!r:.120}: "
                "return a report_to name, a TrainerCallback, a GeneralTracker, a module, or a list of these"
            )
    if not (found.report_to or found.callbacks or found.modules or found.trackers):
        raise AttachError(f"{type(tracker).__name__}.attach returned nothing to attach")
    if found.modules:
        found.report_to.extend(name for name in tracker.module if name not in found.report_to)
    return found


def witness(writer: Writer, seen: dict[str, Any]) -> Any:
    """Return the callback that writes every event of the trainer to the tape, and leaves in `seen` what it saw."""

    def look(event: str, state: Any, kwargs: dict[str, Any]) -> None:
        writer.step = state.global_step
        payload = _payload(kwargs)
        writer.write({"event": event, "step": state.global_step, **payload})
        seen.clear()
        seen.update(payload, control=_flags(kwargs["control"]))

    return _observer("Witness", look)


def watch(writer: Writer, seen: dict[str, Any]) -> Any:
    """Return the callback behind the tracker: it writes `edited` and `steered` where something is not as `seen`."""

    def look(event: str, state: Any, kwargs: dict[str, Any]) -> None:
        changes = [("edited", seen.get(name), now) for name, now in _payload(kwargs).items()]
        changes.append(("steered", seen["control"], _flags(kwargs["control"])))
        for kind, before, after in changes:
            if before != after:
                writer.write({"event": kind, "step": state.global_step, "on": event, "before": before, "after": after})

    return _observer("Watch", look)


def _payload(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: values.encode(kwargs[name]) for name in ("logs", "metrics") if name in kwargs}


def _flags(control: Any) -> dict[str, bool]:
    return {name: value for name, value in vars(control).items() if name.startswith("should_")}


def _observer(name: str, action: Any) -> Any:
    """Return an instance of a TrainerCallback that calls `action(event, state, kwargs)` on every event there is."""
    from transformers import TrainerCallback

    def hook(event: str) -> Any:
        def method(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            action(event, state, {**kwargs, "control": control})

        return method

    events = [event for event in dir(TrainerCallback) if event.startswith("on_")]
    return type(name, (TrainerCallback,), {event: hook(event) for event in events})()


@contextlib.contextmanager
def stand(attachment: Attachment, writer: Writer) -> Iterator[None]:
    """While the context lasts, every CallbackHandler that is built gets witness and watch around the tracker."""
    from transformers import trainer_callback

    from conformance.doors import module

    handler = trainer_callback.CallbackHandler
    original, adding = handler.__init__, handler.add_callback
    built: list[Any] = []

    @functools.wraps(original)
    def with_witness(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        built.append(self)
        surround(self)

    @functools.wraps(adding)
    def add(self: Any, callback: Any) -> None:
        adding(self, callback)
        if any(self is one for one in built):  # iterative SFT has no other way to get a callback
            surround(self)

    def surround(self: Any) -> None:
        ours = [i for i, callback in enumerate(self.callbacks) if _is_trackers(callback, attachment)]
        # A handler built from another one's callbacks has them already: the DPO trainer of TRL 0.24's
        # experimental/bema_for_ref_model/dpo_trainer.py makes one.
        if not ours or any(type(callback).__name__ == "Witness" for callback in self.callbacks):
            return
        inside = [name for i in ours for name in module.stand_inside(self.callbacks[i], writer)]
        seen: dict[str, Any] = {}
        neighbours = [type(c).__name__ for c in self.callbacks[: ours[0]]]
        writer.write({"event": "handler", "step": 0, "before": neighbours, "inside": inside})
        # Behind first: inserting it does not move the places in front.
        self.callbacks.insert(ours[-1] + 1, watch(writer, seen))
        self.callbacks[ours[0] : ours[0]] = [witness(writer, seen)]
        built[:] = [one for one in built if one is not self]

    handler.__init__, handler.add_callback = with_witness, add  # type: ignore[method-assign]
    try:
        yield
    finally:
        handler.__init__, handler.add_callback = original, adding  # type: ignore[method-assign]


def reporting_classes(names: list[str]) -> tuple[type, ...]:
    """Return transformers' callback classes for `report_to` names; raises ValueError for a name it does not know."""
    from transformers.integrations import get_reporting_integration_callbacks

    return tuple(get_reporting_integration_callbacks(list(names)))


def _is_trackers(callback: Any, attachment: Attachment) -> bool:
    return any(callback is own for own in attachment.callbacks) or isinstance(
        callback, reporting_classes(attachment.report_to)
    )


def bystander() -> Any:
    """Return a callback that does nothing: the witness of a control run without a tracker stands before it."""
    return _observer("Bystander", lambda event, state, kwargs: None)


def handler(
    attachment: Attachment, run: str, folder: Path, models: Path, told: Mapping[str, Any]
) -> tuple[Any, Any, Any, Any]:
    """Return a real CallbackHandler with the tracker in it, and the state, control and arguments to drive it with.

    `told` are further training arguments.
    """
    import inspect

    import transformers
    from transformers import trainer_callback

    from conformance import tiny

    kind = transformers.TrainingArguments
    wanted: dict[str, Any] = {"use_cpu": True, "disable_tqdm": True, "trackio_space_id": None}
    wanted |= {"run_name": run, "report_to": attachment.report_to or "none", **told}
    args = kind(output_dir=str(folder), **{k: v for k, v in wanted.items() if k in kind.__dataclass_fields__})
    callbacks: list[Any] = [trainer_callback.DefaultFlowCallback]
    callbacks += [*reporting_classes(attachment.report_to), *attachment.callbacks]
    parts = {
        "callbacks": callbacks,
        "model": tiny.load(tiny.models(models), "causal"),
        "tokenizer": tiny.tokenizer(),
        "processing_class": tiny.tokenizer(),
        "optimizer": None,
        "lr_scheduler": None,
    }
    accepted = inspect.signature(trainer_callback.CallbackHandler.__init__).parameters
    built = trainer_callback.CallbackHandler(**{k: v for k, v in parts.items() if k in accepted})
    state, control = trainer_callback.TrainerState(), trainer_callback.TrainerControl()
    return built, state, control, args


def play(handler: Any, args: Any, state: Any, control: Any, tape: Any) -> None:
    """Send a tape's trainer events through the handler, each with the state that the trainer had."""
    last = (-1, 0)
    for event in tape.events:
        state.global_step = event["step"]
        name = event["event"]
        if name == "on_log":
            # No training logs twice at one step within a millisecond. A replay would, and a tracker whose clock ticks
            # in milliseconds (MLflow's primary key) would take equal points for one.
            while last == (event["step"], time.time_ns() // 1_000_000):
                time.sleep(0.0001)
            handler.on_log(args, state, control, values.materialise(event["logs"]))
            last = (event["step"], time.time_ns() // 1_000_000)
        elif name in ("on_evaluate", "on_predict"):
            getattr(handler, name)(args, state, control, values.materialise(event["metrics"]))
        elif name.startswith("on_") and hasattr(handler, name):
            getattr(handler, name)(args, state, control)


def unfit_hooks(attachment: Attachment) -> list[str]:
    """Return a line for each hook that does not take what CallbackHandler.call_event passes to it.

    transformers 5.23.0, trainer_callback.py, `call_event`: `(args, state, control, model=, processing_class=,
    optimizer=, lr_scheduler=, train_dataloader=, eval_dataloader=, **kwargs)`; `on_log` adds logs, `on_evaluate` and
    `on_predict` add metrics.
    """
    import inspect

    from transformers import TrainerCallback, trainer_callback

    source = inspect.getsource(trainer_callback.CallbackHandler.call_event)
    passed = {name: None for name in PASSED if f"{name}=" in source}
    extra: dict[str, dict[str, Any]] = {
        "on_log": {"logs": {}},
        "on_evaluate": {"metrics": {}},
        "on_predict": {"metrics": {}},
    }
    problems = []
    for item in attachment.callbacks:
        for event in [name for name in dir(TrainerCallback) if name.startswith("on_")]:
            try:
                inspect.signature(getattr(item, event)).bind(None, None, None, **passed, **extra.get(event, {}))
            except TypeError as error:
                problems.append(f"{type(item).__name__}.{event}: {error}")
    return problems


#: Keywords of `call_event` over all releases; those that the installed one passes are found in its source.
PASSED = (
    "model",
    "tokenizer",
    "processing_class",
    "optimizer",
    "lr_scheduler",
    "train_dataloader",
    "eval_dataloader",
)
