"""Each row of the contract can fail: modules with one fault each, and the rows that find it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from contract_live import CONTRACT, Row, faults, reference, within
from contract_scan import MODULES

import trackio


@pytest.fixture(autouse=True)
def store() -> None:
    """Each life has a store of its own."""


class Nothing(ModuleType):
    """Accepts everything, keeps nothing."""

    def __getattr__(self, name: str) -> Any:
        return Nothing(name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self

    __getitem__ = __enter__ = __call__

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def __exit__(self, *_: Any) -> None:
        pass

    def __iter__(self) -> Iterator[Any]:
        return iter(())


class Changed(ModuleType):
    """The reference, with something else under some names; `None` is nothing at all."""

    def __init__(self, real: Any, **changes: Any) -> None:
        super().__init__("changed")
        self._real, self._without = real, [name for name, value in changes.items() if value is None]
        self.__dict__.update({name: value for name, value in changes.items() if value is not None})

    def __getattr__(self, name: str) -> Any:
        if name in self._without or (name.startswith("__") and name != "__version__"):
            raise AttributeError(f"this module has no {name!r}")
        return getattr(self._real, name)


def using(life: tuple[str, str, str], use: Callable[[str], bool]) -> set[str]:
    """Return the rows of a life with a use of that kind."""
    module, by, version = life
    claims = CONTRACT.claims(CONTRACT.life(by, version, module))
    return {row.id for what, rows in claims.items() if use(what) for row in rows}


def latest(row: Row) -> str:
    return [version for version in CONTRACT.releases[row.by] if within(row.releases, version)][-1]


def test_no_row_is_content_with_a_module_that_keeps_nothing() -> None:
    nothing = Nothing("nothing")
    content = {
        (row.module, row.id)
        for row in CONTRACT.rows
        if row.id not in faults(row.module, row.by, latest(row), nothing)
    }
    assert content == {
        # There is nothing to read back: these must be accepted, no more.
        ("wandb", "define-metric"),
        ("wandb", "watch"),
        ("wandb", "label"),
        # No use of the module itself: an environment, a submodule.
        ("trackio", "space-in-environment"),
        ("wandb", "config-error"),
        # Uses of what the reference's init returned when the row before was done again.
        *(
            (row.module, row.id)
            for row in CONTRACT.rows
            if "tracker." in row.do and f"{row.module}." not in row.do
        ),
    }


TRL = CONTRACT.releases["trl"][-1]
NAMES = {
    (module, use.split(".")[0].split("(")[0].split("[")[0])
    for module in MODULES
    for use in CONTRACT.claims(CONTRACT.life("trl", TRL, module))
    if not use.startswith(("$", "import "))
}


@pytest.mark.parametrize("module, name", sorted(NAMES))
def test_a_module_that_lacks_a_name_fails_the_rows_that_use_it(module: str, name: str) -> None:
    with reference(module) as real:
        lacking = Changed(real, **{name: None})
    life = (module, "trl", TRL)
    due = using(life, lambda use: use.split(".")[0].split("(")[0].split("[")[0] == name)
    # transformers asks `getattr(wandb, "define_metric", None)` and goes without.
    assert set(faults(*life, lacking)) == due - {"define-metric"}


def changed(**changes: Any) -> Changed:
    return Changed(trackio, **changes)


class Replaces(Changed):
    """Has another `config` after each init, which its run knows nothing of."""

    def init(self, **keywords: Any) -> Any:
        self.config = trackio.Config()
        return trackio.init(**keywords)


class Counts(Changed):
    """Counts its calls as steps."""

    calls = 0

    def log(self, metrics: Any, step: Any = None) -> None:
        self.calls += 1
        trackio.log(metrics, step=self.calls if step is None else step)


def init_without(unknown: str) -> Callable[..., Any]:
    def init(**keywords: Any) -> Any:
        if unknown in keywords:
            raise TypeError(f"init() got an unexpected keyword argument {unknown!r}")
        return trackio.init(**keywords)

    return init


def init_returns_text(**keywords: Any) -> str:
    return str(trackio.init(**keywords))


def init_sends_to_the_space(**keywords: Any) -> Any:
    return trackio.init(**keywords) if keywords["space_id"] is None else None


def init_never_resumes(**keywords: Any) -> Any:
    return trackio.init(**{**keywords, "resume": "never"})


def log_needs_a_step(metrics: Any, step: int) -> None:
    trackio.log(metrics, step=step)


def log_needs_a_run(metrics: Any, step: Any = None) -> None:
    if trackio.context_vars.current_run.get() is None:
        raise RuntimeError("call init() first")
    trackio.log(metrics, step=step)


def log_knows_one_thread(metrics: Any, step: Any = None) -> None:
    if threading.current_thread() is threading.main_thread():
        trackio.log(metrics, step=step)


def log_rounds(metrics: Any, step: Any = None) -> None:
    short = {key: round(value, 6) if isinstance(value, float) else value for key, value in metrics.items()}
    trackio.log(short, step=step)


def log_empties(metrics: Any, step: Any = None) -> None:
    trackio.log(metrics, step=step)
    metrics.clear()


def finish_forgets() -> None:
    trackio.finish()
    trackio.context_vars.current_project.set(None)


def half_a_table(dataframe: Any) -> Any:
    return trackio.Table(dataframe=dataframe[:1])


VARS = trackio.context_vars
#: What the run of this context looks like without its Space.
STRANGER = SimpleNamespace(
    current_run=SimpleNamespace(get=lambda: SimpleNamespace(project="huggingface", name="x")),
    current_space_id=VARS.current_space_id,
    current_project=VARS.current_project,
)
TABLES = {"completions", "completions-with-images", "completions-of-evaluation"}


@pytest.mark.parametrize(
    "release, module, due",
    [
        ("transformers 4.56.2", changed(init=init_without("private")), set()),
        ("transformers 4.57.6", changed(init=init_without("private")), {"init-private"}),
        ("transformers 5.5.0", changed(init=init_without("bucket_id")), set()),
        ("transformers 5.6.0", changed(init=init_without("bucket_id")), {"init-bucket"}),
        (
            "transformers 5.23.0",
            changed(init=init_without("bucket_id")),
            {"init-bucket", "init-after-finish"},
        ),
        ("accelerate 1.15.0", changed(init=init_returns_text), {"tracker-log-step", "tracker-finish"}),
        ("trl 0.21.0", changed(init=init_sends_to_the_space), set()),
        ("trl 0.24.0", changed(init=init_sends_to_the_space), {"init-private"}),
        ("transformers 4.56.2", changed(context_vars=None), set()),
        ("transformers 5.5.0", changed(context_vars=None), {"project-at-push", "space-at-push"}),
        ("transformers 5.6.0", changed(context_vars=None), {"space-after-init", "project-at-push"}),
        ("trl 1.16.0", changed(context_vars=STRANGER), {"model-card"}),
        ("accelerate 1.15.0", changed(log=log_needs_a_step), set()),
        (
            "transformers 4.56.2",
            changed(log=log_needs_a_step),
            {"log", "evaluation-after-finish", "prediction"},
        ),
        ("transformers 5.5.0", changed(log=log_needs_a_run), {"evaluation-after-finish", "prediction"}),
        ("transformers 5.23.0", changed(log=log_needs_a_run), set()),
        ("trl 1.16.0", changed(log=log_needs_a_run), {"profiling-before-init", "profiling-after-finish"}),
        ("trl 1.16.0", changed(log=log_knows_one_thread), {"rollouts"}),
        ("trl 1.16.0", changed(Table=half_a_table), TABLES),
        ("transformers 4.56.2", Replaces(trackio), {"config", "config-item"}),
        ("transformers 5.5.0", changed(finish=finish_forgets), {"project-at-push"}),
        ("transformers 5.23.0", changed(finish=finish_forgets), set()),
        ("transformers 5.5.0", changed(__version__="0.12.0"), {"version-at-push"}),
        ("transformers 5.23.0", changed(__version__="0.21.0"), {"version-for-freeze"}),
    ],
)
def test_a_module_with_a_fault_fails_the_rows_that_meet_it(release: str, module: Any, due: set[str]) -> None:
    by, version = release.split()
    assert set(faults("trackio", by, version, module)) == due


@pytest.mark.parametrize(
    "module, some, others",
    [
        (changed(init=init_never_resumes), {"init-after-finish"}, {"init-bucket", "log", "finish"}),
        (changed(log=log_rounds), {"log"}, {"config", "prediction"}),
        (changed(log=log_empties), {"log"}, {"config", "prediction"}),
        (Counts(trackio), {"log", "prediction"}, {"config", "finish"}),
    ],
)
def test_a_fault_that_spoils_what_follows_is_found_where_it_begins(
    module: Any, some: set[str], others: set[str]
) -> None:
    found = set(faults("trackio", "transformers", "5.23.0", module))
    assert some <= found and not others & found
