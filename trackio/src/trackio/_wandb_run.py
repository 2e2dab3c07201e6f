"""A run in the shape of wandb's: `wandb.run`, and the summary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from . import session
from .config import Config
from .journal import journals
from .lines import parse
from .paths import load_file
from .run import Run as Kept
from .run import warn_once
from .values import Decoder, encode_mapping

if TYPE_CHECKING:
    from types import TracebackType

#: The configuration key under which wandb's own facts of a run are kept.
FACTS = "_wandb"

_TOLD = ("entity", "name", "id", "group", "job_type", "tags", "notes")
_shapes: dict[Kept, Run] = {}


def current() -> Kept | None:
    """Return the open run; None before `init` (also while early values wait for it) and after `finish`."""
    run = session.active()
    if run is not None:
        run = run._successor or run
    return None if run is session._provisional else run


def shape(run: Kept) -> Run:
    """Return the one shape of a run, so that `wandb.run is run` holds."""
    return _shapes.get(run) or _shapes.setdefault(run, Run(run))


def define_metric(name: str, step_metric: Any = None, step_sync: Any = None, **more: Any) -> None:
    """Accept a definition, and warn once if it asks for what is not done here.

    The step rule already is what transformers defines, `train/global_step` for all (5.23.0,
    `WandbCallback.setup`). The summary has the last value of each key.
    """
    if step_metric is not None and str(step_metric) not in ("train/global_step", "global_step"):
        warn_once(f"define_metric(): {step_metric!r} is kept like any value, and does not become the step")
    for keyword in ("summary", "goal"):
        if more.get(keyword) not in (None, "last"):
            warn_once(f"define_metric(): {keyword}={more[keyword]!r} is not known; the last value is kept")


def watch(
    models: Any, criterion: Any = None, log: Any = "gradients", log_freq: int = 1000, **more: Any
) -> None:
    """Accept a model, and warn once that `log` (`gradients`, `parameters`, `all`) is not kept.

    transformers calls it when `$WANDB_WATCH` says so, and needs nothing back (5.23.0, `WandbCallback.setup`).
    """
    if log is not None:
        warn_once(f"watch(log={log!r}): histograms of gradients and parameters are not kept")


class Summary(Mapping[str, Any]):
    """One value for each key: the last that was logged or set, whichever came later.

    It is read from the journals, so it has what other processes wrote and what was there before a resume.
    A value that is set is kept at once, at no step. transformers sets what a training has once
    (`train_loss`, `total_flos`, …) and takes the numbers for the metadata of its checkpoints (5.23.0,
    `WandbCallback.on_log`, `on_save`).
    """

    def __init__(self, run: Kept | None = None) -> None:
        self._run = run
        self._last: dict[Any, tuple[int, Any]] = {}
        self._seen: dict[str, int] = {}

    def _source(self) -> Kept | None:
        return self._run or session.active() or session.last()

    def _read(self) -> dict[Any, tuple[int, Any]]:
        """Take up what the journals have got since the last call: the time and the undecoded value of each
        key.
        """
        run = self._source()
        paths = journals(run.folder) if run is not None and run.folder is not None else []
        if not self._seen.keys() <= set(paths):
            self._last, self._seen = {}, {}
        for path in paths:
            with open(path, "rb") as file:
                file.seek(self._seen.get(path, 0))
                data = file.read()
            # What has no newline yet is still being written.
            whole = data[: data.rfind(b"\n") + 1]
            self._seen[path] = self._seen.get(path, 0) + len(whole)
            for line in whole.splitlines():
                if b',"log",' in line[:64]:
                    with suppress(ValueError, LookupError, TypeError):  # reading the run reports a bad line
                        self._take(parse(line)[0])
        return self._last

    def _take(self, record: list[Any]) -> None:
        plain = Decoder()
        pairs = record[4].items() if isinstance(record[4], dict) else [(plain(k), v) for k, v in record[4]]
        for key, value in pairs:
            if key not in self._last or self._last[key][0] <= record[1]:
                self._last[key] = (record[1], value)

    def __getitem__(self, key: str) -> Any:
        value = self._read()[key][1]
        run = self._source()
        folder = "" if run is None else str(run.folder)
        return Decoder(lambda digest: load_file(folder, digest))(value)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._read()))

    def __len__(self) -> int:
        return len(self._read())

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def update(self, values: Any = None, /, **more: Any) -> None:
        """Set several keys. Raises nothing, unless `TRACKIO_STRICT=1`: then OSError, TypeError."""
        run = self._run or session.current()
        try:
            new = {**dict(values or {}), **more}
            body = encode_mapping(new, run._store)
            run._open().append(b"log", b"null", body, run._late)
            run._written += 1
        except Exception as error:
            run._fail(error)

    def __repr__(self) -> str:
        return f"Summary({dict(self)!r})"


class Run:
    """A run as callers of wandb see it. Made by `init`; `str(run)` is its id."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self.summary = Summary(kept)

    @property
    def _facts(self) -> dict[str, Any]:
        facts = self._kept._settings.get(FACTS)
        return facts if isinstance(facts, dict) else {}

    def _tell(self, facts: dict[str, Any]) -> None:
        """Keep facts that wandb has and this tracker has no place for; a tag list may be text with commas."""
        new = {key: facts[key] for key in _TOLD if facts.get(key) is not None}
        if isinstance(new.get("tags"), str):
            new["tags"] = new["tags"].split(",")
        if "tags" in new:
            new["tags"] = list(new["tags"])
        if new.get("name") == self._kept.name:
            del new["name"]
        if new.get("id") == self._kept.id:
            del new["id"]
        if any(self._facts.get(key) != value for key, value in new.items()):
            self.config.update({FACTS: {**self._facts, **new}})

    @property
    def id(self) -> str:
        """The id that `init` was given, or the run's own: the name of its folder."""
        return str(self._facts.get("id") or self._kept.id)

    @property
    def name(self) -> str:
        """The name that is shown."""
        return str(self._facts.get("name") or self._kept.name)

    @name.setter
    def name(self, name: str) -> None:
        self._tell({"name": str(name)})

    @property
    def project(self) -> str:
        return self._kept.project

    @property
    def entity(self) -> str:
        """The entity that `init` was given, else `local`. TRL joins it with the project (1.16.0,
        trainer/callbacks.py, `WeaveCallback`).
        """
        return str(self._facts.get("entity") or "local")

    @property
    def path(self) -> str:
        """Entity, project and id, joined by `/`."""
        return f"{self.entity}/{self.project}/{self.id}"

    @property
    def url(self) -> None:
        """None, as wandb has it offline. TRL writes it into model cards that are published (1.16.0,
        trainer/base_trainer.py, `create_model_card`): no place for a path of this machine.
        """

    def get_url(self) -> None:
        """Return `url` (TRL 0.12 - 0.19)."""

    @property
    def dir(self) -> str | None:
        """The folder of the run, as a path; None if none could be made so far."""
        return self._kept.folder

    @property
    def group(self) -> str | None:
        return self._facts.get("group")

    @property
    def job_type(self) -> str | None:
        return self._facts.get("job_type")

    @property
    def notes(self) -> str | None:
        return self._facts.get("notes")

    @property
    def tags(self) -> tuple[str, ...]:
        return tuple(self._facts.get("tags") or ())

    @property
    def config(self) -> Config:
        """The configuration: `wandb.config` while this is the latest run."""
        return self._kept.config

    def log(self, data: Any, step: Any = None, commit: bool | None = None, sync: bool | None = None) -> None:
        """Keep `data`, a dict of anything, at `step`: else at `train/global_step` or `global_step` of `data`,
        else at the last one known.

        wandb counts its calls instead and drops what falls behind; here steps are the caller's, equal and
        falling ones are kept as they come, and every call is kept at once, so `commit` means nothing. A
        pandas frame is kept as a table. Raises nothing, unless `TRACKIO_STRICT=1`: then OSError, TypeError.
        """
        self._kept.log(data, step)

    def finish(self, exit_code: int | None = None, quiet: bool | None = None) -> None:
        """Finish the run; an exit code other than 0 makes its status `failed`. Again is harmless."""
        self._kept.finish("failed" if exit_code else None)

    define_metric = staticmethod(define_metric)
    watch = staticmethod(watch)

    def log_artifact(
        self, artifact: Any, name: str | None = None, type: str | None = None, aliases: Any = None
    ) -> Any:
        """Keep an `Artifact`, a file or a folder, and return the artifact; see `trackio.Run.log_artifact`."""
        return self._kept.log_artifact(artifact, name, type, aliases)

    def _label(self, code: str | None = None, **more: Any) -> None:
        """Accept what a library says of itself to wandb's statistics (transformers 5.23.0,
        `WandbCallback.setup`).
        """

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish(0 if kind is None else 1)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"a run of trackio.wandb has no {name!r}: it serves what TRL, transformers and accelerate call. "
            "For the rest use trackio's own functions, or wandb itself, without trackio.wandb.install()"
        )

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"<trackio.wandb.Run {self.name!r} of project {self.project!r}>"
