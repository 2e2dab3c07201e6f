"""Trackers that do nothing wrong. Every broken tracker is one of them with exactly one fault."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from conformance import Point, Table, Tracker, values
from conformance.doors.module import table_of
from conformance.tracker import report_to_key
from conformance.trackers.reference import ReferenceWandb


class Honest(Tracker):
    """A callback that appends JSON lines to `<store>/<run>.jsonl`.

    Every method `on_…` of the class is a hook of the callback.
    """

    def attach(self, store: Path, run: str) -> Any:
        from transformers import TrainerCallback

        self.open(store, run)
        hooks = {name: getattr(self, name) for name in dir(self) if name.startswith("on_")}
        return type("HonestCallback", (TrainerCallback,), hooks)()

    def open(self, store: Path, run: str) -> None:
        """Choose the file that is written from now on."""
        self.file = self.path(store, run)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.write(status="running", config=args.to_dict())

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        self.log(logs, state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.write(status="finished")

    def log(self, logs: Mapping[str, Any], step: int | None) -> None:
        for point in self.record(logs, step):
            self.write(point=point)

    def record(self, logs: Mapping[str, Any], step: int | None) -> list[tuple[int | None, str, Any]]:
        """Return the points that are stored of one log."""
        return [(step, key, self.value(value)) for key, value in logs.items()]

    def value(self, value: Any) -> Any:
        """Return what is stored of one value."""
        return value

    def write(self, **line: Any) -> None:
        """Append one line; what JSON cannot carry goes in the kit's own exact form."""
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({name: values.encode(value) for name, value in line.items()}) + "\n")

    def path(self, store: Path, run: str) -> Path:
        return store / f"{run}.jsonl"

    def parts(self, store: Path, run: str, name: str) -> Iterator[Any]:
        """Yield what was written as `name`, in order."""
        with self.path(store, run).open(encoding="utf-8") as file:
            for line in map(json.loads, file):
                if name in line:
                    yield values.plain(line[name])

    def read(self, store: Path, run: str) -> Iterable[Point]:
        return (Point(*point) for point in self.parts(store, run, "point"))

    def config(self, store: Path, run: str) -> Mapping[str, Any]:
        return {key: value for part in self.parts(store, run, "config") for key, value in part.items()}

    def status(self, store: Path, run: str) -> str:
        # No status is written where a trainer never sends on_train_begin.
        return str(["", *self.parts(store, run, "status")][-1])


class HonestHub(Honest):
    """Pushes its file to a dataset when the training ends, and once more when it is told to."""

    def hub(self, repo: str) -> Mapping[str, str]:
        return {"HONEST_HUB": repo}

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        super().on_train_end(args, state, control, **kwargs)
        self.push_at_the_end()

    def push_at_the_end(self) -> None:
        """Push; where that does not work, leave it to `push_again`."""
        with contextlib.suppress(Exception):
            self.push()

    def push_again(self, store: Path, run: str) -> None:
        self.open(store, run)
        self.push()

    def push(self) -> None:
        """Push what there is. Raises whatever huggingface_hub does."""
        from huggingface_hub import HfApi

        if repo := os.environ.get("HONEST_HUB"):
            self.send(HfApi(), {"repo_id": repo, "repo_type": "dataset"})

    def send(self, api: Any, where: dict[str, str], private: bool = True) -> None:
        """Send what there is to a repository, `where` in all methods of the client."""
        api.create_repo(**where, private=private, exist_ok=True)
        api.upload_file(path_or_fileobj=self.content(), path_in_repo=self.name_there(), **where)

    def content(self) -> bytes:
        """Return what is pushed."""
        return self.file.read_bytes()

    def name_there(self) -> str:
        """Return what the file is called in the repository; what comes after `~` does not count."""
        return self.file.name

    def pushed(self, files: Mapping[str, bytes], run: str) -> Iterable[Point]:
        for path, data in files.items():
            if path.rpartition("/")[2].partition("~")[0] == f"{run}.jsonl":
                for line in map(json.loads, data.decode().splitlines()):
                    if "point" in line:
                        yield Point(*values.plain(line["point"]))


class HonestAccelerate(Honest):
    """The callback, and the same for trainers that know none but log by accelerate."""

    def attach(self, store: Path, run: str) -> Any:
        from accelerate.tracking import GeneralTracker

        class Kept(GeneralTracker):  # type: ignore[misc, unused-ignore]
            name = "honest"
            requires_logging_directory = False
            tracker = property(lambda _: self)

            def store_init_configuration(_, values: dict[str, Any]) -> None:
                self.write(status="running", config=values)

            def log(_, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
                self.log(values, step)

            def finish(_) -> None:
                self.write(status="finished")

        return [super().attach(store, run), Kept()]


class HonestModule(Honest):
    """A module that stands in for `trackio`: transformers' TrackioCallback and TRL's own calls write."""

    module = ("trackio",)

    def key(self, key: str) -> str:
        return report_to_key(key)

    def attach(self, store: Path, run: str) -> ModuleType:
        self.open(store, run)
        module = ModuleType("trackio")
        vars(module).update(self.names())
        return module

    def names(self) -> dict[str, Any]:
        """Return what the module has."""
        words = ("current_run", "current_project", "current_space_id")
        self.context = {word: ContextVar(word, default=None) for word in words}
        return {
            "__version__": "0.43.0",
            "context_vars": SimpleNamespace(**self.context),
            "config": _Config(self.write),
            "init": self.init,
            "log": self.module_log,
            "finish": lambda: self.write(status="finished"),
            "Table": _Table,
            "Image": _Media,
            "Trace": _Media,
            "sync": lambda **kwargs: None,
            "freeze": lambda **kwargs: None,
        }

    def init(self, project: str, name: str, **kwargs: Any) -> None:
        self.write(status="running")
        self.context["current_project"].set(project)
        self.context["current_run"].set(SimpleNamespace(project=project, name=name, _space_id=None))

    def module_log(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Without a step, a log belongs to the step that TrackioCallback puts among its metrics."""
        for key, value in metrics.items():
            if isinstance(value, _Table):
                self.write(table=[key, value.columns, self.rows(value)])
        step = metrics.get("train/global_step") if step is None else step
        self.log({k: v for k, v in metrics.items() if not isinstance(v, _Table)}, step)

    def rows(self, table: _Table) -> list[list[Any]]:
        """Return the rows that are stored of one table."""
        return table.rows

    def tables(self, store: Path, run: str) -> Iterable[Table]:
        return (Table(*table) for table in self.parts(store, run, "table"))


class HonestWandb(ReferenceWandb):
    """The reference behind the name `wandb`, from the moment it is attached: all of this folder share a warm parent."""

    name = "honest-wandb"
    hub = Tracker.hub  # not claimed: no faulty one of these pushes

    def env(self, store: Path) -> Mapping[str, str]:
        return {}

    def attach(self, store: Path, run: str) -> ModuleType:  # type: ignore[override]
        from trackio import wandb

        os.environ.update(TRACKIO_DIR=str(store), TRACKIO_STRICT="1")
        wandb.install()
        module = sys.modules["wandb"]
        kept = module.log
        module.log = lambda data, **kwargs: kept(self.data(data), **kwargs)  # type: ignore[attr-defined]
        return module

    def data(self, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what is stored of one log."""
        return data


class _Table:
    def __init__(self, columns: Any = None, data: Any = None, dataframe: Any = None) -> None:
        table = table_of((), {"columns": columns, "data": data, "dataframe": dataframe})
        self.columns = table["columns"]
        self.rows = [[values.plain(cell) for cell in row] for row in table["rows"]]


class _Media:
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.content = (args, kwargs)


class _Config:
    def __init__(self, write: Any) -> None:
        self._write = write

    def __setitem__(self, key: str, value: Any) -> None:
        self._write(config={key: value})

    def update(self, entries: Mapping[str, Any], allow_val_change: bool = False) -> None:
        self._write(config=dict(entries))
