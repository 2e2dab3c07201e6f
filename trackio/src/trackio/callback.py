"""The monitor's callback for transformers' Trainer, and so for SFT, DPO, GRPO and the rest of TRL.

It looks and writes, and decides nothing: no hook returns a control, changes a log, or raises. What it
writes beside the trainer's own logs has keys below `monitor/` and comes from what the trainer really counts
(lines of transformers 5.23.0):

* step time: the monotonic clock between `on_step_begin` and `on_step_end` (trainer.py:1894 and 1949), one
  optimiser step with all its micro-batches. Work on a GPU counts as far as the trainer waits for it.
* optimiser steps: `state.global_step` (trainer.py:1947).
* tokens: `state.num_input_tokens_seen`, which the Trainer counts if `include_num_input_tokens_seen` says so
  (trainer.py:2740) and GRPO and RLOO count by themselves (TRL 1.16.0, trainer/grpo_trainer.py:2292); else
  `num_tokens` of the logs, which SFT, DPO, KTO and reward training keep (trainer/sft_trainer.py:1657).
* samples: `state.episode` of PPO (TRL 1.0.0, experimental/ppo/ppo_trainer.py:677). No other trainer hands a
  count of samples to its callbacks, so there is no key then; the `train_samples_per_second` that the Trainer
  works out at the end is in its logs.

Counters are read at `on_step_end`. transformers 4.57 counts the tokens of a first micro-batch before
`on_step_begin` (trainer.py:2657 and 2665), so what a step added is what it has now and had not at the end of
the step before.
"""

from __future__ import annotations

import functools
import importlib
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .run import warn_once

if TYPE_CHECKING:
    from .monitor import SmolLM3Monitor

    #: `trackio.callback.MonitoringCallback`, which needs transformers; made at first use.
    MonitoringCallback: Any

#: Rate -> the counter of `TrainerState` that it is taken from.
COUNTERS = {
    "steps_per_second": "global_step",
    "tokens_per_second": "num_input_tokens_seen",
    "samples_per_second": "episode",
}

Hook = Callable[..., None]


def _guarded(hook: Hook) -> Hook:
    """Call `hook` where this process writes; what goes wrong is counted by the run."""

    @functools.wraps(hook)
    def guarded(self: Hooks, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        try:
            if self._all_ranks or state.is_world_process_zero:
                hook(self, args, state, control, **kwargs)
        except Exception as error:
            self._monitor._fail(error)

    return guarded


class _Rate:
    """How fast a counter grows. One that never moved since the start gives None: nobody counts with it."""

    def __init__(self, count: Any) -> None:
        self.start = count
        self.last = (count, 0.0)

    def __call__(self, count: Any, seconds: float) -> float | None:
        """Return the growth per second since the last call, None if no time was spent."""
        before, since = self.last
        if count is None or seconds <= since or count == self.start:
            return None
        self.last = (count, seconds)
        if before is None or count < before:
            return None
        return float((count - before) / (seconds - since))


class Hooks:
    """The hooks of `MonitoringCallback`, without its base class."""

    def __init__(self, monitor: SmolLM3Monitor, all_ranks: bool = False) -> None:
        self._monitor = monitor
        self._all_ranks = all_ranks
        self._new: Any = None
        self._described: Any = None
        self._logged: set[Any] = set()
        self._start(None, None)

    def _start(self, state: Any, tokens: int | None) -> None:
        """Set clocks and counters to the start of a training; `tokens` is TRL's count, None if unknown."""
        self._begun: float | None = None
        self._mark = time.monotonic()
        self._busy = 0.0
        self._times: list[float] = []
        self._counts = {counter: getattr(state, counter, None) for counter in COUNTERS.values()}
        self._rates = {rate: _Rate(self._counts[counter]) for rate, counter in COUNTERS.items()}
        self._tokens = _Rate(tokens)

    @_guarded
    def on_init_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Remember that a trainer is new: what TRL counts by itself begins at 0."""
        self._new = args

    @_guarded
    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Write the configuration; counters of a resumed training start where it was."""
        self._start(state, 0 if self._new is args else None)
        self._new = None
        self._describe(args, state, model)

    @_guarded
    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock of an optimiser step."""
        self._begun = time.monotonic()

    @_guarded
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop it, and read the counters."""
        now = time.monotonic()
        if self._begun is not None:
            self._times.append(now - self._begun)
            self._begun = None
        self._busy += now - self._mark
        self._mark = now
        for counter in self._counts:
            self._counts[counter] = getattr(state, counter, None)

    @_guarded
    def on_log(
        self, args: Any, state: Any, control: Any, logs: Any = None, model: Any = None, **kwargs: Any
    ) -> None:
        """Write the trainer's logs as they are, at its `global_step`; then what was measured meanwhile."""
        self._describe(args, state, model)
        if logs is None:
            return
        self._logged = set(logs)
        self._write(args, state, logs)
        measured = self._measured(state, logs)
        if measured:
            self._write(args, state, {f"monitor/{key}": value for key, value in measured.items()})

    @_guarded
    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        """Write those metrics of an evaluation that it did not log, as the Trainer does (trainer.py:2885)."""
        self._mark = time.monotonic()
        self._write(args, state, {k: v for k, v in (metrics or {}).items() if k not in self._logged})
        self._logged = set()

    @_guarded
    def on_predict(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        """Write the metrics of a prediction; the Trainer does not log them (trainer.py:3180)."""
        self._write(args, state, metrics or {})

    @_guarded
    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep the checkpoint that was just written (trainer.py:2278)."""
        path = os.path.join(args.output_dir, f"checkpoint-{state.global_step}")
        if state.is_world_process_zero:
            if os.path.isdir(path):
                self._monitor.log_model_checkpoint(path, step=state.global_step)
            else:
                warn_once(f"the trainer saved no checkpoint in {path!r}; none is kept")
        self._mark = time.monotonic()

    def _write(self, args: Any, state: Any, values: dict[str, Any]) -> None:
        if values:
            if not state.is_world_process_zero:
                values = {f"rank{args.process_index}/{key}": value for key, value in values.items()}
            self._monitor.log_metrics(values, step=state.global_step)

    def _measured(self, state: Any, logs: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self._times:
            found["step_time"] = sum(self._times) / len(self._times)
            if len(self._times) > 1:
                found["step_time_max"] = max(self._times)
            self._times = []
        for name, counter in COUNTERS.items():
            found[name] = self._rates[name](self._counts[counter], self._busy)
        if "num_tokens" in logs:
            rate = self._tokens(logs["num_tokens"], self._busy)
            if found["tokens_per_second"] is None:
                found["tokens_per_second"] = rate
        if found["tokens_per_second"] is not None and "num_input_tokens_seen" not in logs:
            found["num_input_tokens_seen"] = self._counts["num_input_tokens_seen"] or None
        return {key: value for key, value in found.items() if value is not None}

    def _describe(self, args: Any, state: Any, model: Any) -> None:
        """Write the configuration of the model and of the training, once per trainer."""
        if self._described is args or not state.is_world_process_zero:
            return
        self._described = args
        # Later ones win, as in transformers' own callbacks (integrations/integration_utils.py,
        # `TrackioCallback.setup`).
        for part in (_peft, _model, lambda model: args.to_dict(), _size):
            try:
                self._monitor.log_configuration(part(model))
            except Exception as error:
                self._monitor._fail(error)


def _peft(model: Any) -> dict[str, Any]:
    found = getattr(model, "peft_config", None)
    return {} if found is None else {"peft_config": found}


def _model(model: Any) -> Any:
    found = getattr(model, "config", None)
    return {} if found is None else found if isinstance(found, dict) else found.to_dict()


def _size(model: Any) -> dict[str, Any]:
    count = getattr(model, "num_parameters", None)
    return {} if count is None else {"model/num_parameters": count()}


@functools.cache
def callback_class() -> type[Any]:
    """Return `MonitoringCallback`, a subclass of the installed transformers' TrainerCallback. Raises
    ImportError without transformers.
    """
    base = importlib.import_module("transformers").TrainerCallback
    body = {"__module__": __name__, "__doc__": "Writes what a Trainer logs to a `SmolLM3Monitor`."}
    return type("MonitoringCallback", (Hooks, base), body)


def __getattr__(name: str) -> Any:
    if name == "MonitoringCallback":
        return callback_class()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
