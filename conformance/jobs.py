"""What runs inside the sandbox: train live, replay a tape, read back, check a module. pytest's process calls none.

Every function returns plain data. A tracker's exception is part of the result (`stage`, `error`, `trace`), not raised:
at which stage it came is what a clause asks.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import importlib.metadata
import json
import multiprocessing
import os
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from conformance import recipes, registry, tape, values
from conformance.doors import accelerate, callback, module
from conformance.scenarios import ACTS
from conformance.tracker import checked, points
from conformance.trainers import Trainer

#: Stages of a live run or replay, in order.
STAGES = ("attach", "build", "train", "done")


def preload() -> dict[str, Any]:
    """Import TRL, every stable trainer and what a fork would otherwise import again; return the versions.

    Runs once in the warm parent. A trainer that cannot be imported is reported when it is run, not here.
    """
    import torch

    torch.set_num_threads(1)
    from conformance.trainers import discover

    for trainer in discover():
        if trainer.stable:
            with contextlib.suppress(Exception):  # its own run says it
                recipes.find(trainer)
    for name in ("transformers.trainer", "transformers.integrations", "transformers.models.qwen2.modeling_qwen2"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    with contextlib.suppress(Exception):
        # transformers 5 compiles a thousand patterns when the first model is loaded: half of what a replay costs.
        importlib.import_module("transformers.conversion_mapping").get_checkpoint_conversion_mapping("qwen2")
    return {"versions": versions()}


def preload_all() -> dict[str, Any]:
    """`preload`, and the experimental trainers."""
    facts = preload()
    from conformance.trainers import discover

    for trainer in discover():
        with contextlib.suppress(Exception):
            recipes.find(trainer)
    return facts


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of everything that a result depends on; looked up once, in the warm parent."""
    names = ("trl", "transformers", "accelerate", "datasets", "huggingface_hub", "torch", "numpy", "trl-conformance")
    found = {}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    found["python"] = ".".join(map(str, sys.version_info[:3]))
    return found


class _Stage:
    """Follows a run through `STAGES` and turns an exception into a result; `told`: `sys.excepthook` hears of it."""

    def __init__(self, told: bool = False) -> None:
        self.at = STAGES[0]
        self.told = told
        self.error = ""
        self.trace = ""

    def __enter__(self) -> _Stage:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if error is None:
            self.at = STAGES[-1]
            return False
        self.error = f"{type(error).__name__}: {error}"[:2000]
        if self.told:
            # Nobody catches it in a user's script, and trackers listen there.
            with contextlib.suppress(Exception):
                sys.excepthook(type(error), error, trace)
        self.trace = "".join(traceback.format_exception(kind, error, trace))[-6000:]
        return not isinstance(error, (KeyboardInterrupt,))

    def result(self) -> dict[str, Any]:
        return {"stage": self.at, "error": self.error, "trace": self.trace}


def live(
    tracker: str | None,
    trainer: Trainer,
    store: Path,
    run: str,
    models: Path,
    folder: Path,
    settings: dict[str, Any],
    acts: tuple[str, ...] = ("train",),
) -> dict[str, Any]:
    """Play `acts` on `trainer` with the tracker at its doors; write `folder/tape.jsonl`; return how it went.

    `tracker` is a name as on the command line, None for the bare control run, which has a witness but no tracker.
    `acts` are keys of `scenarios.ACTS`.
    """
    names = registry.load(tracker).module if tracker else ()
    writer = tape.Writer(folder / "tape.jsonl", {"trainer": trainer.name, "run": run, "versions": versions()})
    with _Stage(told=True) as stage, contextlib.ExitStack() as doors:
        attached = _attached(tracker, store, run)
        writer.write({"event": "attached", "step": 0})
        stage.at = "build"
        doors.enter_context(callback.stand(attached, writer))
        doors.enter_context(module.stand(names, attached.modules, writer))
        doors.enter_context(accelerate.stand(attached, writer))
        callback.reporting_classes(attached.report_to)
        opened = accelerate.settings(attached, run, writer)
        # The door is open: a trainer that cannot be built now is a training that does not end.
        stage.at = "train"
        built = recipes.build(
            trainer,
            folder / "out",
            models,
            attached.callbacks,
            {"report_to": attached.report_to or "none", "run_name": run, **opened, **settings},
            doors,
        )
        by_accelerate = accelerate.is_door_of(built)
        if not (opened if by_accelerate else attached.report_to or attached.callbacks):
            writer.write({"event": "unreachable", "step": 0, "door": "accelerate" if by_accelerate else "callback"})
            stage.at = STAGES[-1]
            return stage.result()
        # PPO up to 0.28 puts a name of its own into args.run_name: what report_to calls the run is decided there.
        named = built.args.run_name if attached.report_to and not by_accelerate else run
        writer.write({"event": "named", "step": 0, "run": named or run})
        for act in acts:
            if told := ACTS[act](trainer, built):
                writer.write({"event": act, "step": 0, **told})
        writer.write(
            {
                "event": "end",
                "checkpoints": sorted({p.name for p in (folder / "out").rglob("checkpoint[-_]*") if p.is_dir()}),
                **(_passed(folder) if by_accelerate else _state(built)),
            }
        )
    return stage.result()


def twice(first: dict[str, Any], second: dict[str, Any]) -> list[dict[str, Any]]:
    """Play two trainings one after the other in this process; `first` and `second` are the arguments of `live`."""
    return [live(**first), live(**second)]


def _state(trainer: Any) -> dict[str, Any]:
    return {
        "step": trainer.state.global_step,
        "log_history": values.encode(trainer.state.log_history),
        "config": values.encode(_told(trainer)),
    }


def _passed(folder: Path) -> dict[str, Any]:
    """Return what there is of a training that logs through accelerate: it keeps no history, and counts no steps."""
    logs = len(list(tape.Tape.load(folder / "tape.jsonl").of("on_log")))
    return {"door": "accelerate", "step": logs, "log_history": [], "config": {}}


def _attached(tracker: str | None, store: Path, run: str) -> callback.Attachment:
    if tracker is None:
        return callback.Attachment(callbacks=[callback.bystander()], trackers=[accelerate.bystander()])
    return callback.attach(registry.load(tracker)(), store, run)


def _told(trainer: Any) -> dict[str, Any]:
    """Return the training arguments as transformers tells them to trackers (`TrainingArguments.to_dict`)."""
    told: dict[str, Any] = trainer.args.to_dict()
    return told


def replay(
    tracker: str | None,
    recorded: dict[str, Any],
    store: Path,
    run: str,
    models: Path,
    folder: Path,
    told: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Play a tape's events to the tracker through transformers' own CallbackHandler; return how it went.

    Arguments, state and control are transformers' real ones (`told`: further arguments); `model` and tokenizer are the
    tiny ones. The witness and the watch stand as in a live run and write `folder/tape.jsonl`. Without a tracker it is
    the control.
    """
    names = registry.load(tracker).module if tracker else ()
    played = tape.Tape.from_json(recorded)
    writer = tape.Writer(folder / "tape.jsonl", {**played.header, "run": run, "versions": versions()})
    with _Stage() as stage, contextlib.ExitStack() as doors:
        attached = _attached(tracker, store, run)
        writer.write({"event": "attached", "step": 0})
        stage.at = "build"
        doors.enter_context(module.stand(names, attached.modules, writer))
        with callback.stand(attached, writer):
            handler, state, control, args = callback.handler(attached, run, folder / "out", models, told)
        stage.at = "train"
        callback.play(handler, args, state, control, played)
        writer.write({"event": "end", "step": state.global_step, "log_history": [], "checkpoints": [], "config": {}})
    return stage.result()


#: Open until the process ends: a tracker's threads and exit functions push when the job has long returned.
_online = contextlib.ExitStack()


def _go_online(hub: Mapping[str, Any], tracker: str) -> None:
    """Lead this process, offline until now, to the kit's Hub at `url`, and tell the tracker to push to `repo` there.

    `user` and `token` are who pushes, `home` is the folder for HF_HOME, `env` are further environment variables.
    """
    from conformance.hub import Hub
    from conformance.hub.surroundings import loopback_only, surrounded

    there = Hub(hub["user"], hub["token"])
    there.url = hub["url"]
    _online.enter_context(surrounded(there, hub["home"]))
    _online.enter_context(loopback_only())
    os.environ.update(hub["env"])
    os.environ.update(registry.load(tracker)().hub(hub["repo"]))


def push(hub: Mapping[str, Any], plays: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Replay with a Hub to push to; several at once, a process each. `plays` are arguments of `replay`."""
    if len(plays) == 1:
        return [_push(hub, plays[0])]
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=_push_and_end, args=(hub, play)) for play in plays]
    for child in children:
        child.start()
    for child in children:
        child.join()
    return [_ended(play["folder"], child.exitcode) for play, child in zip(plays, children, strict=True)]


def _push(hub: Mapping[str, Any], play: dict[str, Any]) -> dict[str, Any]:
    with _Stage() as stage:
        _go_online(hub, play["tracker"])
        return replay(**play, told={"hub_token": hub["token"]})
    return stage.result()


def _push_and_end(hub: Mapping[str, Any], play: dict[str, Any]) -> None:
    """Push, and end as a Python program ends, which a process of `multiprocessing` does only in part."""
    result = _push(hub, play)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    (play["folder"] / "ended.json").write_text(json.dumps(result), encoding="utf-8")


def _ended(folder: Path, code: int | None) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads((folder / "ended.json").read_text(encoding="utf-8"))
        return result
    except FileNotFoundError:
        return {"stage": "train", "error": f"the process died: exit code {code}", "trace": ""}


def push_again(hub: Mapping[str, Any], tracker: str, store: Path, runs: list[str]) -> dict[str, Any]:
    """Push what is left of some runs; return how it went."""
    with _Stage() as stage:
        _go_online(hub, tracker)
        for run in runs:
            registry.load(tracker)().push_again(store, run)
    return stage.result()


def pushed(tracker: str, files: Mapping[str, bytes], run: str) -> dict[str, Any]:
    """Read a run back from what is on the Hub: as `read` returns its `points`."""
    adapter = registry.load(tracker)()
    with _Stage() as stage:
        found = checked(adapter.pushed(files, run), f"{type(adapter).__name__}.pushed")
        return {"value": [[p.step, p.key, values.encode(p.value)] for p in found]}
    return {"error": stage.error, "trace": stage.trace}


def read(tracker: str, store: Path, run: str) -> dict[str, Any]:
    """Read a run back: `points` as [step, key, encoded value], and each claimed capability.

    Every part is `{"value": …}` or `{"error": …, "trace": …}`.
    """
    adapter = registry.load(tracker)()
    parts: dict[str, Callable[[], Any]] = {
        "points": lambda: [[p.step, p.key, values.encode(p.value)] for p in points(adapter, store, run)],
        "config": lambda: values.encode(dict(adapter.config(store, run))),
        "tables": lambda: [[t.key, values.encode_table(t.columns, t.rows)] for t in adapter.tables(store, run)],
        "status": lambda: str(adapter.status(store, run)),
    }
    claimed = type(adapter).capabilities() | {"points"}
    result = {}
    for name, take in parts.items():
        if name in claimed:
            with _Stage() as stage:
                result[name] = {"value": take()}
            if stage.error:
                result[name] = {"error": stage.error, "trace": stage.trace}
    return result


def hooks(tracker: str, store: Path, run: str) -> list[str]:
    """Return a line for each hook of the tracker's callbacks that transformers' CallbackHandler could not call."""
    adapter = registry.load(tracker)()
    attached = callback.attach(adapter, store, run)
    return callback.unfit_hooks(attached)


def surface(tracker: str, store: Path, run: str, uses: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return those of `uses` (see `conformance.surface`) that the tracker's module does not serve, with `problem`."""
    from conformance.surface import check

    adapter = registry.load(tracker)()
    module.stand_in(adapter.module, callback.attach(adapter, store, run).modules)
    return check.unserved(uses)
