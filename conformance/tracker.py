"""The adapter: all that a third party writes to attach a tracker, and all it has to read of this kit.

    from conformance import Tracker

    class Acme(Tracker):
        def attach(self, store, run):
            return AcmeCallback(dir=store, run=run)

        def read(self, store, run):
            yield from acme.open(store).scalars(run)      # (step, key, value), in the order logged

Two methods are required. Each further one is a capability: *to define it is to claim it*, and a claim is tested.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple


class Point(NamedTuple):
    """One stored value: `step` is the trainer's global step (None: stored for the run as a whole)."""

    step: int | None
    key: str
    value: Any


class Table(NamedTuple):
    """One stored table: `key` as logged (`completions`), cells in column order, plain Python values."""

    key: str
    columns: list[str]
    rows: list[list[Any]]


class Tracker:
    """Subclass this, define `attach` and `read`, and name the class with `--tracker package.module:Class`."""

    #: Shown in reports and in the name of the results file; default: the class name in lower case.
    name: ClassVar[str] = ""
    #: Distribution whose version reports show.
    distribution: ClassVar[str] = ""
    #: Names of modules that TRL itself may call and that this tracker serves: "trackio", "wandb", "mlflow".
    module: ClassVar[tuple[str, ...]] = ()
    #: Honest refusals, capability -> reason: {"exact": "stores float32, https://…"}. Which clauses a capability
    #: covers stands in `conformance/clauses/*.toml`; a refusal that is not needed any more is reported as stale.
    lacks: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in vars(cls):
            cls.name = cls.__name__.lower()

    def attach(self, store: Path, run: str) -> Any:
        """Return how TRL gets the tracker for one training.

        A `report_to` name (str), a `TrainerCallback`, a module that stands in for each name in `module`, an
        `accelerate.tracking.GeneralTracker`, or a list of these. Trainers that know no callbacks but log through
        accelerate (PPO up to TRL 0.11, DDPO, AlignProp) get the `GeneralTracker`, or the name as `log_with`.
        Called in the training process, after `env` was set. `store` is an existing folder, shared by all runs of a
        test run; `run` is the training's unique name, also passed to TRL as `run_name`.
        """
        raise NotImplementedError(f"{type(self).__name__}.attach(store, run) is missing: return a callback or a name")

    def read(self, store: Path, run: str) -> Iterable[Point | tuple[int | None, str, Any]]:
        """Yield everything stored for `run` in the order logged, as (step, key, value); called in a fresh process."""
        raise NotImplementedError(f"{type(self).__name__}.read(store, run) is missing: yield (step, key, value)")

    def env(self, store: Path) -> Mapping[str, str]:
        """Return environment variables that stand before TRL and the tracker are imported."""
        return {}

    def key(self, key: str) -> str:
        """Return the name under which the tracker stores the trainer's `key` (see `report_to_key`)."""
        return key

    # Claimed by being defined ---------------------------------------------------------------------------------------
    def config(self, store: Path, run: str) -> Mapping[str, Any]:
        """Return the stored configuration of the run, nested or with keys joined by `/` or `.`."""
        raise NotImplementedError

    def tables(self, store: Path, run: str) -> Iterable[Table]:
        """Yield the stored tables in the order logged."""
        raise NotImplementedError

    def status(self, store: Path, run: str) -> str:
        """Return `finished`, `failed`, `running` or `crashed`."""
        raise NotImplementedError

    def hub(self, repo: str) -> Mapping[str, str]:
        """Return environment variables by which this tracker is told to push its trainings to `repo` (`user/name`).

        They stand before `attach` is called, beside `HF_ENDPOINT` and `HF_TOKEN` of a Hub of the kit's own; `attach`
        may read them where the tracker is told by arguments. Who claims this defines `pushed` as well, and `push_again`
        where the user has to run something once the Hub is back.
        """
        raise NotImplementedError

    def pushed(self, files: Mapping[str, bytes], run: str) -> Iterable[Point | tuple[int | None, str, Any]]:
        """Yield what `read` would, from what was pushed; called in a fresh process.

        `files` are all files on the Hub, by the path that `HfFileSystem` gives them: `datasets/user/name/data.jsonl`,
        `spaces/user/name/app.py`, `user/model/README.md`. A point that was pushed twice is yielded twice.
        """
        raise NotImplementedError(f"{type(self).__name__}.pushed(files, run) is missing: yield (step, key, value)")

    def push_again(self, store: Path, run: str) -> None:
        """Do what a user does to push the rest of `run` once the Hub is back; called in a fresh process after `hub`.

        The default does nothing: right for a tracker whose own process goes on until everything has arrived.
        """

    # ----------------------------------------------------------------------------------------------------------------
    @classmethod
    def capabilities(cls) -> set[str]:
        """Return what the class claims: every optional method it overrides, and `module` if it names any."""
        claimed = {word for word in OPTIONAL if getattr(cls, word) is not getattr(Tracker, word)}
        return claimed | ({"module"} if cls.module else set())

    @classmethod
    def version(cls) -> str:
        """Return the version of the tracked distribution, "" where it is unknown."""
        try:
            return importlib.metadata.version(cls.distribution) if cls.distribution else ""
        except importlib.metadata.PackageNotFoundError:
            return ""


OPTIONAL = ("config", "tables", "status", "hub")


def report_to_key(key: str) -> str:
    """Return transformers' name of a metric in a tracker that is attached by `report_to`.

    `rewrite_logs` (transformers 5.23.0, integrations/integration_utils.py:550) turns `eval_x` into `eval/x`, `test_x`
    into `test/x`, and puts every other key under `train/`.
    """
    for prefix in ("eval", "test"):
        if key.startswith(f"{prefix}_"):
            return f"{prefix}/{key[len(prefix) + 1 :]}"
    return f"train/{key}"


def points(tracker: Tracker, store: Path, run: str) -> Iterator[Point]:
    """Yield what `tracker.read` returns, checked; raises TypeError that names the first item that is no point."""
    return checked(tracker.read(store, run), f"{type(tracker).__name__}.read")


def checked(found: Any, where: str) -> Iterator[Point]:
    """Yield the points that a method of an adapter (`where`, its name) returned.

    Raises TypeError that names the first item that is no point.
    """
    if found is None or isinstance(found, (str, bytes)) or not isinstance(found, Iterable):
        raise TypeError(f"{where} must yield (step, key, value); it returned {found!r}")
    for item in found:
        if not isinstance(item, tuple) or len(item) != 3:
            raise TypeError(f"{where} must yield (step, key, value); it yielded {item!r:.200}")
        step, key, value = item
        if step is not None and (isinstance(step, bool) or not isinstance(step, int)):
            raise TypeError(f"{where}: a step is an int or None, but it yielded {step!r} for key {key!r:.80}")
        if not isinstance(key, str):
            raise TypeError(f"{where}: a key is a str, but it yielded {key!r:.80} at step {step}")
        yield Point(step, key, value)
