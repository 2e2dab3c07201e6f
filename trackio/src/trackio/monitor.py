"""`SmolLM3Monitor`, the origin's way to a run, and the module functions that go with it.

A monitor is a `Run` with other names for its methods: whatever is logged through it, through `trackio.log`
or by a trainer is in one place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import ranks, session, system
from .config import _as_dict
from .run import Run, warn_once
from .settings import TOKENS, TrackioConfig

#: What callers say of an end -> the run's status; any other text is kept as it is.
STATUSES = {
    "completed": "finished",
    "success": "finished",
    "error": "failed",
    "cancelled": "failed",
    "interrupted": "failed",
}


class SmolLM3Monitor:
    """A monitor of the run `experiment_name` of `project_name`; it begins or continues it, as `init` does.

    What is None comes from the environment, see `TrackioConfig`; a run without any name gets a new one. In
    the modes `dataset` and `both` everything is kept in the local folder, and pushed to the dataset
    `dataset_repo` in the background (see `hub`), with `hf_token`, which is kept nowhere; in the mode `none`,
    or without `enable_tracking`, nothing is recorded. `log_artifacts`, `log_metrics` and `log_config` switch
    off what the methods of these meanings do. `run` is the run, None in the mode `none`. On another rank than
    the first the run is begun by the first use, so that a rank that logs nothing leaves nothing.

    Used as a context it closes at the end, `failed` after an exception. Raises ValueError for a
    `monitoring_mode` that is none of `both`, `dataset`, `trackio`, `none`; after that nothing is raised,
    unless `TRACKIO_STRICT=1`.
    """

    def __init__(
        self,
        experiment_name: Any = None,
        project_name: Any = None,
        trackio_url: str | None = None,
        trackio_token: str | None = None,
        enable_tracking: bool = True,
        log_artifacts: bool = True,
        log_metrics: bool = True,
        log_config: bool = True,
        hf_token: str | None = None,
        dataset_repo: str | None = None,
        monitoring_mode: str | None = None,
    ) -> None:
        self.settings = TrackioConfig(
            experiment_name=experiment_name,
            project_name=project_name,
            trackio_url=trackio_url,
            trackio_token=trackio_token,
            hf_token=hf_token,
            dataset_repo=dataset_repo,
            monitoring_mode=monitoring_mode,
        )
        self._artifacts, self._metrics, self._configuration = log_artifacts, log_metrics, log_config
        self._enabled = enable_tracking and self.settings.monitoring_mode != "none"
        self._run: Run | None = None
        if ranks.is_main():
            _ = self.run
            self._say()

    def _say(self) -> None:
        mode = self.settings.monitoring_mode
        if not self._enabled:
            warn_once("the monitor is off (monitoring_mode 'none' or no tracking): nothing is recorded")
            return
        if mode in ("both", "dataset") and self.settings.dataset_repo is None:
            warn_once(f"monitoring_mode {mode!r}, but no dataset is named: runs are kept in the local folder")
        if self.settings.trackio_url is not None:
            warn_once("trackio_url: runs are kept in the local folder; nothing is sent to that address")

    @classmethod
    def _over(cls, run: Run) -> SmolLM3Monitor:
        """Return a monitor of a run that is there."""
        monitor = cls.__new__(cls)
        names = {"project_name": run.project, "experiment_name": run.name}
        monitor.settings = TrackioConfig(names, monitoring_mode="trackio")
        monitor._artifacts = monitor._metrics = monitor._configuration = monitor._enabled = True
        monitor._run = run
        return monitor

    @property
    def run(self) -> Run | None:
        """The run; None in the mode `none`."""
        if self._run is None and self._enabled:
            from . import init

            self._run = init(self.settings.project_name, self.settings.experiment_name)
            repo, mode = self.settings.dataset_repo, self.settings.monitoring_mode
            if repo is not None and mode in ("both", "dataset"):
                from .hub import attach

                attach(self._run, repo, hf_token=self.settings.hf_token)
        return self._run

    # -- logging
    # -----------------------------------------------------------------------------------------------------

    def log_configuration(self, config: Any) -> None:
        """Set keys of the run's configuration from a mapping or an object's attributes; see `Config.update`.

        Where the monitor's own tokens are in it, `***` is kept.
        """
        if (run := self.run) is not None and self._configuration:
            try:
                values = self._hidden(_as_dict(config))
            except Exception as error:
                run._fail(error)
            else:
                run.config.update(values)

    def _hidden(self, value: Any, depth: int = 6) -> Any:
        if isinstance(value, dict) and depth:
            return {key: self._hidden(item, depth - 1) for key, item in value.items()}
        if isinstance(value, list) and depth:
            return [self._hidden(item, depth - 1) for item in value]
        # Known by what they are and not by a key: `eos_token` is no secret.
        if isinstance(value, str) and value:
            return next((token for token in self._tokens() if token == value), value)
        return value

    def _tokens(self) -> list[Any]:
        return [self.settings[name] for name in TOKENS if self.settings[name]]

    def log_metrics(self, metrics: Any, step: Any = None) -> None:
        """Keep `metrics`, a dict of anything, at `step`; see `Run.log`."""
        if (run := self.run) is not None and self._metrics:
            run.log(metrics, step)

    def log_model_checkpoint(self, checkpoint_path: Any, step: Any = None) -> None:
        """Keep a checkpoint, a file or a folder, as an artifact; see `Run.log_checkpoint`."""
        if (run := self.run) is not None and self._artifacts:
            run.log_checkpoint(checkpoint_path, step=step)

    def log_evaluation_results(self, results: Any, step: Any = None) -> None:
        """Keep the results of an evaluation, a dict, at `step`. A key without a prefix gets `eval/`."""
        if (run := self.run) is not None and self._metrics:
            run.log(_evaluation(results), step)

    def log_system_metrics(self, step: Any = None) -> None:
        """Keep one reading of the GPUs, the processors and the memory, taken now: a tenth of a second.

        Readings of the system have no step; where one is given it is kept as the reading's `global_step`.
        See `Run.log_system`.
        """
        if (run := self.run) is not None and self._metrics:
            try:
                run.log_system(None if step is None else {**system.sample(), "global_step": step})
            except Exception as error:
                run._fail(error)

    def log_training_summary(self, summary: Any) -> None:
        """Keep what there is to say of a whole training, a dict, below `summary/` at the last known step."""
        if (run := self.run) is not None and self._metrics:
            run.log(_below("summary/", summary), None)

    # -- the rest
    # ----------------------------------------------------------------------------------------------------

    def create_monitoring_callback(self, all_ranks: bool = False) -> Any:
        """Return a `transformers.TrainerCallback` that writes what a Trainer logs to this monitor.

        Only the first rank writes, unless `all_ranks`: then the others do too, their keys below `rank<n>/`.
        See `callback.py` for what is measured. Raises ImportError without transformers.
        """
        from .callback import callback_class

        return callback_class()(self, all_ranks)

    def get_experiment_url(self) -> str | None:
        """Return the `file:` address of the run's folder, None if there is none."""
        return address(self.run)

    def close(self, final_status: str = "completed") -> None:
        """Finish the run: `completed` is the status `finished`, `error` and `cancelled` are `failed`, any
        other text is kept as it is. Again is harmless, and logging may follow.
        """
        if self._run is not None:
            self._run.finish(STATUSES.get(final_status, final_status))

    def __enter__(self) -> SmolLM3Monitor:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: Any) -> None:
        self.close("completed" if kind is None else "failed")

    def _fail(self, error: Exception) -> None:
        if (run := self.run) is not None:
            run._fail(error)

    def __repr__(self) -> str:
        return f"<trackio.SmolLM3Monitor {self._run!r}, {self.settings.monitoring_mode}>"


def address(run: Run | None) -> str | None:
    """Return the `file:` address of a run's folder, None if there is none."""
    import pathlib

    return None if run is None or run.folder is None else pathlib.Path(run.folder).as_uri()


def _evaluation(results: Any) -> Any:
    """Put `eval/` before the keys that have no prefix, and before none where two would become one.

    A prefix is a `/` somewhere, or one of those that transformers uses, `eval_` and `test_` (5.23.0,
    trainer.py, `evaluate` and `predict`, `metric_key_prefix`).
    """
    if not isinstance(results, Mapping):
        return results

    def named(key: Any) -> Any:
        plain = isinstance(key, str) and "/" not in key and not key.startswith(("eval_", "test_"))
        return f"eval/{key}" if plain and f"eval/{key}" not in results else key

    return {named(key): value for key, value in results.items()}


def _below(prefix: str, values: Any) -> Any:
    if not isinstance(values, Mapping):
        return values
    return {f"{prefix}{key}" if isinstance(key, str) else key: value for key, value in values.items()}


# -- the module's functions ---------------------------------------------------------------------------------

_monitor: SmolLM3Monitor | None = None
_view: SmolLM3Monitor | None = None


def set_monitor(monitor: SmolLM3Monitor | None) -> None:
    """Name the monitor that `get_monitor` returns, and make its run the current one; None forgets it."""
    global _monitor
    _monitor = monitor
    if monitor is not None and monitor.run is not None:
        session._become(monitor.run)


def get_monitor() -> SmolLM3Monitor | None:
    """Return the monitor that `set_monitor` named, else one of the current or last run, else None."""
    global _view
    if _monitor is not None:
        return _monitor
    run = session.active() or session.last()
    if run is None:
        return None
    if _view is None or _view.run is not run:
        _view = SmolLM3Monitor._over(run)
    return _view


def log_checkpoint(path: Any, step: Any = None, **more: Any) -> Any:
    """Keep a checkpoint as an artifact of the current run, and return it; see `Run.log_checkpoint`."""
    return session.current().log_checkpoint(path, step=step, **more)


def log_evaluation_results(results: Any, step: Any = None) -> None:
    """Keep the results of an evaluation in the current run; see `SmolLM3Monitor.log_evaluation_results`."""
    session.current().log(_evaluation(results), step)
