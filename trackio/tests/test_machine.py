"""Random lives of a process against a small model of what must be kept; and random payloads of arrays."""

from __future__ import annotations

import importlib.util
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy
import pytest
from conftest import forget_everything
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from test_values import LEAVES, TEXT, VALUES, same

import trackio
from trackio import Array, session

# -- payloads ----------------------------------------------------------------------------------------------

DTYPES = ("bool", "int8", "uint16", "int32", "uint64", "float16", "float32", "float64", "complex64")
SHAPES = st.lists(st.integers(0, 3), max_size=3).map(tuple)


@st.composite
def arrays(draw: st.DrawFn) -> tuple[Any, Any]:
    """Draw a numpy array or scalar, and what comes back of it."""
    dtype, shape = numpy.dtype(draw(st.sampled_from(DTYPES))), draw(SHAPES)
    size = int(numpy.prod(shape)) * dtype.itemsize
    data = draw(st.binary(min_size=size, max_size=size))
    if dtype.name == "bool":
        data = bytes(byte & 1 for byte in data)
    array = numpy.frombuffer(data, dtype).reshape(shape)
    if shape == ():
        return draw(st.sampled_from([array, array[()]])), array.item()
    if draw(st.booleans()):
        array = numpy.asfortranarray(array)
    return array, Array(dtype.name, shape, data)


@st.composite
def tensors(draw: st.DrawFn) -> tuple[Any, Any]:
    """Draw a torch tensor, also one with a gradient or a transposed one, and what comes back of it."""
    import torch

    dtype = draw(st.sampled_from([torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.bool]))
    shape = draw(SHAPES)
    count = int(numpy.prod(shape))
    numbers = draw(st.lists(st.integers(0, 1) | st.integers(-100, 100), min_size=count, max_size=count))
    tensor = torch.tensor(numbers, dtype=torch.float32).to(dtype).reshape(shape)
    values = tensor.tolist()
    if draw(st.booleans()) and len(shape) == 2:
        tensor = tensor.t().contiguous().t()
    if tensor.is_floating_point():
        tensor.requires_grad_(draw(st.booleans()))
    return tensor, values if shape == () else (str(dtype).removeprefix("torch."), shape, values)


#: Values that come back equal, and pairs of a value and what comes back of it.
PAIRS = VALUES.map(lambda value: (value, value)) | arrays()
if importlib.util.find_spec("torch"):
    PAIRS |= tensors()


def nested(pair: tuple[Any, Any], others: list[Any]) -> tuple[Any, Any]:
    value, back = pair
    return {"in": [value, (value, others)], "$": value}, {"in": [back, (back, others)], "$": back}


def as_written(found: Any, expected: Any) -> bool:
    """Tell whether `found` is what was to come back: to the last bit, arrays and tensors too."""
    if isinstance(found, Array) and isinstance(expected, tuple):
        return (found.dtype, found.shape, found.tolist()) == expected
    if isinstance(expected, (list, tuple)) and type(found) is type(expected):
        return len(found) == len(expected) and all(map(as_written, found, expected))
    if isinstance(expected, dict) and type(found) is dict:
        pairs = zip(found.items(), expected.items(), strict=True)
        return len(found) == len(expected) and all(
            same(x, a) and as_written(y, b) for (x, y), (a, b) in pairs
        )
    return same(found, expected)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.dictionaries(TEXT, PAIRS, max_size=4), st.lists(LEAVES, max_size=2))
def test_any_payload_comes_back_in_a_fresh_reader(
    payload: dict[str, tuple[Any, Any]], others: list[Any]
) -> None:
    payload = {**payload, "nested": nested(payload["$"], others)} if "$" in payload else payload
    run = session.start("p", None, "never")
    run.log({key: value for key, (value, _) in payload.items()}, step=1)
    run.finish()
    assert run.health()["dropped"] == 0
    found = [(key, value) for _, key, value in trackio.Api().run("p", run.name).points()]
    assert [key for key, _ in found] == list(payload)
    for (_, value), (_, expected) in zip(found, payload.values(), strict=True):
        assert as_written(value, expected), f"{value!r} is not {expected!r}"


# -- the life of a process ---------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "../c"])
KEYS = st.sampled_from(["loss", "$", "é", "", "global_step "]) | TEXT
PAYLOADS = st.dictionaries(KEYS, VALUES | st.floats() | st.integers(), max_size=3)
STEPS = st.none() | st.integers(-5, 50) | st.integers(-(2**63), 2**63 - 1)


class Kept:
    """What the model knows of one run: what is stored, and what this process thinks of it."""

    def __init__(self, name: str, id: str) -> None:
        self.name, self.id = name, id
        self.points: list[tuple[int | None, str, Any]] = []
        self.config: dict[Any, Any] = {}
        self.stored_step: int | None = None
        self.status = "running"
        # Of this process; None: it does not know the run yet.
        self.settings: dict[Any, Any] | None = {}
        self.step: int | None = None

    def log(self, payload: dict[str, Any], step: int | None, last: int | None) -> int | None:
        """Keep a payload; return the step it was given."""
        if step is None:
            step = payload.get("global_step", last)
        self.points += [(step, key, value) for key, value in payload.items()]
        if step is not None:
            self.stored_step = step
        return step


class Life(RuleBasedStateMachine):
    """init, log, config, finish, resume, threads, forks and new processes, in any order."""

    @initialize()
    def be_born(self) -> None:
        self.before = os.environ["TRACKIO_DIR"]
        self.folder = tempfile.TemporaryDirectory()
        os.environ["TRACKIO_DIR"] = self.folder.name
        forget_everything()
        self.runs: list[Kept] = []
        self.current: Kept | None = None
        self.last: Kept | None = None
        self.shown: Kept | None = None

    def teardown(self) -> None:
        forget_everything()
        os.environ["TRACKIO_DIR"] = self.before
        self.folder.cleanup()

    def target(self) -> Kept:
        """Return the run that `log` writes to; from then on it is current."""
        kept = self.current or self.last
        assert kept is not None
        self.current, kept.status = kept, "running"
        return kept

    def end(self) -> None:
        if self.current is not None:
            self.current.status = "finished"
            self.last, self.current = self.current, None

    @rule(name=st.none() | NAMES, resume=st.sampled_from([None, "allow", "must", "never"]))
    def init(self, name: str | None, resume: str | None) -> None:
        how = resume or ("never" if name is None else "allow")
        self.end()
        if name is None and how != "never" and self.last is not None:
            kept = self.last
        else:
            there = [kept for kept in self.runs if kept.name == name]
            if how == "must" and not there:
                with pytest.raises(ValueError, match="must"):
                    trackio.init("p", name, resume=resume)
                return
            kept = there[-1] if there and how != "never" else None  # type: ignore[assignment]
        run = trackio.init("p", name, resume=resume)
        if kept is None:
            kept = Kept(run.name, run.id)
            self.runs.append(kept)
        elif kept.settings is None:  # begun by another process: what is stored is taken up
            kept.settings, kept.step = dict(kept.config), kept.stored_step
        assert (run.name, run.id) == (kept.name, kept.id)
        assert name is None or run.name == name
        self.current = self.shown = kept
        self.last, kept.status = None, "running"

    @precondition(lambda self: self.current or self.last)
    @rule(payload=PAYLOADS, step=STEPS, inside=st.none() | st.integers(0, 9), threaded=st.booleans())
    def log(self, payload: dict[str, Any], step: int | None, inside: int | None, threaded: bool) -> None:
        if inside is not None:
            payload = {**payload, "global_step": inside}
        kept = self.target()
        kept.step = kept.log(payload, step, kept.step)
        if threaded:
            thread = threading.Thread(target=trackio.log, args=(payload, step))
            thread.start()
            thread.join()
        else:
            trackio.log(payload, step=step)

    @precondition(lambda self: self.shown)
    @rule(changes=st.dictionaries(KEYS, VALUES, min_size=1, max_size=3))
    def configure(self, changes: dict[str, Any]) -> None:
        assert self.shown is not None and self.shown.settings is not None
        self.shown.config.update(changes)
        self.shown.settings.update(changes)
        self.shown.status = "running"
        trackio.config.update(changes, allow_val_change=True)

    @rule()
    def finish(self) -> None:
        self.end()
        trackio.finish()

    @precondition(lambda self: self.current or self.last)
    @rule(payload=PAYLOADS, steps=st.lists(STEPS, max_size=3), finish=st.booleans())
    def fork(self, payload: dict[str, Any], steps: list[int | None], finish: bool) -> None:
        """A child logs and is gone, with or without a word; to this process nothing has happened."""
        kept = self.current or self.last
        assert kept is not None
        step = kept.step
        for given_step in steps:
            step = kept.log(payload, given_step, step)
        if (child := os.fork()) == 0:
            try:
                for given_step in steps:
                    trackio.log(payload, step=given_step)
                if finish:
                    trackio.finish()
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0

    @rule()
    def a_new_process(self) -> None:
        """All runs end, as at exit, and a process that knows nothing goes on."""
        forget_everything()
        self.current = self.last = self.shown = None
        for kept in self.runs:
            kept.settings, kept.step, kept.status = None, None, "finished"

    @invariant()
    def what_is_kept_is_what_was_logged(self) -> None:
        stored = trackio.Api().runs("p")
        assert [(run.name, run.id) for run in stored] == [(kept.name, kept.id) for kept in self.runs]
        for run, kept in zip(stored, self.runs, strict=True):
            points = list(run.points())
            assert [point[:2] for point in points] == [point[:2] for point in kept.points]
            for found, expected in zip(points, kept.points, strict=True):
                assert same(found[2], expected[2]), f"{found} is not {expected}"
            assert same(run.config, kept.config) and not run.damage
            assert run.status == kept.status
        if self.shown is not None and self.shown.settings is not None:
            assert same(trackio.config.as_dict(), self.shown.settings)
        assert trackio.context_vars.current_run.get() is None or self.current is not None


def test_any_life_of_a_process_is_kept(store: Path) -> None:
    run_state_machine_as_test(Life, settings=settings(max_examples=25, stateful_step_count=20))


@pytest.mark.parametrize("fault", ["a lost record", "a step of the past", "a forgotten change"])
def test_the_model_sees(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    log, write_config = trackio.Run.log, trackio.Run._write_config

    def broken_log(run: trackio.Run, metrics: Any, step: Any = None) -> None:
        if fault == "a lost record" and len(metrics) > 2:
            return
        log(run, metrics, step)
        if fault == "a step of the past" and step is not None and step < 0:
            run._step = 0

    def broken_config(run: trackio.Run, changes: Any) -> None:
        if fault != "a forgotten change" or len(changes) < 2:
            write_config(run, changes)

    monkeypatch.setattr(trackio.Run, "log", broken_log)
    monkeypatch.setattr(trackio.Run, "_write_config", broken_config)
    short = settings(max_examples=100, stateful_step_count=20, derandomize=True, report_multiple_bugs=False)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Life, settings=settings(short, phases=[Phase.generate]))
