"""Readings of the system: which process, when, whether, and what an outage does."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_nvml import Error, Gpu, Machine

import trackio
from trackio import ranks, system
from trackio import run as run_module

A, B = "GPU-aa11", "GPU-ab22"


@pytest.fixture(autouse=True)
def alone(store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No launcher, no selection, no GPU, and no sampler left behind."""
    for name in (*ranks._RANK, *ranks._LOCAL_RANK, *ranks._WORLD_SIZE, "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    for name in ("TRACKIO_SYSTEM", "TRACKIO_SYSTEM_INTERVAL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    yield
    for run in list(system._samplers):
        system.stop(run)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Machine]:
    """Make a machine with these GPUs."""

    def make(*gpus: Gpu, **more: Any) -> Machine:
        machine = Machine(*gpus, **more)
        monkeypatch.setitem(sys.modules, "pynvml", machine)
        return machine

    return make


class Clock:
    """A monotonic clock that only moves when somebody waits, and the end that comes after `waits` waits."""

    def __init__(self, waits: int) -> None:
        self.now, self.waits = 1000.25, waits

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        self.waits -= 1
        return self.waits <= 0


def readings(name: str = "n") -> list[dict[str, Any]]:
    """The stored readings, one dict per record."""
    records = trackio.Api().run("p", name).records()
    return [body for _, _, kind, _, body in records if kind == "sys"]


def sampled(
    run: trackio.Run, clock: Clock, always: bool = False, interval: float = 10.0
) -> list[dict[str, Any]]:
    """Sample in this thread until the clock's end."""
    system.Sampler(run, always, interval, clock, clock.wait).run()
    return readings()


# -- when


@pytest.mark.parametrize(
    ("slow", "times"),
    [
        ({}, [0, 10, 20, 30, 40]),
        ({1: 3.0}, [0, 10, 20, 30, 40]),  # no drift
        ({1: 10.0, 2: 9.99}, [0, 10, 30, 40, 50]),
        ({0: 25.0, 2: 11.0}, [0, 30, 40, 60, 70]),  # skipped, not queued
    ],
)
def test_readings_lie_on_a_grid(
    slow: dict[int, float], times: list[float], gpus: Callable[..., Machine]
) -> None:
    clock, seen = Clock(waits=4), []

    def power() -> int:
        seen.append(clock.now - 1000.25)
        clock.now += slow.get(len(seen) - 1, 0.0)
        return 1000

    gpus(Gpu(A, PowerUsage=power))
    stored = sampled(trackio.init("p", "n", auto_log_gpu=False), clock)
    assert seen == times and len(stored) == 5, "the first at once, the last at the end"


def test_a_wait_that_ends_early_gives_no_second_reading(gpus: Callable[..., Machine]) -> None:
    clock = Clock(waits=3)
    waits = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return clock.wait(seconds - 0.001)

    gpus(Gpu(A))
    system.Sampler(trackio.init("p", "n", auto_log_gpu=False), False, 10.0, clock, wait).run()
    assert waits == pytest.approx([10.0, 10.001, 10.001]) and len(readings()) == 4


def test_an_end_before_the_first_reading_leaves_one(gpus: Callable[..., Machine]) -> None:
    gpus(Gpu(A))
    sampler = system.Sampler(trackio.init("p", "n", auto_log_gpu=False), False, 10.0)
    sampler._end.set()
    sampler.run()
    assert len(readings()) == 1


def test_a_run_from_start_to_finish(gpus: Callable[..., Machine]) -> None:
    machine = gpus(Gpu(A))
    run = trackio.init("p", "n", auto_log_gpu=False)
    system.start(run, None, 3600)
    system.start(run, None, 3600)  # again is harmless
    deadline = time.monotonic() + 20
    while not readings() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert [thread.name for thread in threading.enumerate()].count("trackio-system") == 1
    trackio.log({"loss": 0.5}, step=3)
    run.finish()
    assert machine.opened == 0
    assert "trackio-system" not in [thread.name for thread in threading.enumerate()]
    stored = trackio.Api().run("p", "n")
    assert list(stored.points()) == [(3, "loss", 0.5)]
    assert [(step, kind) for _, _, kind, step, _ in stored.records() if kind == "sys"] == [(None, "sys")] * 2
    kinds = [kind for _, _, kind, _, _ in stored.records()]
    assert kinds[-2:] == ["sys", "status"] and stored.status == "finished"
    moments = [(moment, value) for moment, key, value in stored.system() if key == "gpu/0/power"]
    assert [value for _, value in moments] == [250.0, 250.0]
    assert 0 < moments[0][0] <= moments[1][0] <= time.time_ns()
    assert run.health()["written"] == 1 and "unsampled" not in run.health()


def test_log_after_finish_samples_nothing_and_init_samples_again(gpus: Callable[..., Machine]) -> None:
    gpus(Gpu(A))
    run = trackio.init("p", "n", auto_log_gpu=False)
    system.start(run)
    run.finish()
    count = len(readings())
    trackio.log({"late": 1})
    assert not system._samplers and len(readings()) == count
    again = trackio.init("p", resume="allow", auto_log_gpu=False)
    assert again is run
    system.start(again)
    again.finish()
    assert len(readings()) > count


# -- whether


def test_off_without_a_gpu(gpus: Callable[..., Machine], store: Path) -> None:
    run = trackio.init("p", "n", auto_log_gpu=False)
    for make in (lambda: None, gpus, lambda: setattr(gpus(Gpu(A)), "down", Error("NO_PERMISSION"))):
        make()
        assert sampled(run, Clock(1)) == []
    assert sys.modules["pynvml"].inits == 1
    assert run.health()["last_error"] is None
    assert not list(Path(str(run.folder)).glob("*.lock")), "a run without readings has no lock"


@pytest.mark.parametrize(
    ("wanted", "variable", "visible_devices", "expected"),
    [
        (None, None, None, True),
        (None, None, "", False),
        (False, None, None, False),
        (False, "1", None, True),
        (True, "0", None, False),
        (None, "", None, True),
        (True, None, "", True),
    ],
)
def test_who_decides(
    wanted: bool | None,
    variable: str | None,
    visible_devices: str | None,
    expected: bool,
    gpus: Callable[..., Machine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("TRACKIO_SYSTEM", variable), ("CUDA_VISIBLE_DEVICES", visible_devices)):
        if value is not None:
            monkeypatch.setenv(name, value)
    gpus(Gpu(A))
    run = trackio.init("p", "n", auto_log_gpu=False)
    system.start(run, wanted)
    run.finish()
    assert bool(readings()) == expected


@pytest.mark.parametrize(
    ("argument", "variable", "expected"),
    [
        (None, None, 10),
        (2.5, None, 2.5),
        (2.5, "30", 30),
        (0, None, 10),
        (-1, "x", 10),
        (math.nan, "nan", 10),
    ],
)
def test_the_interval(
    argument: Any,
    variable: str | None,
    expected: float,
    monkeypatch: pytest.MonkeyPatch,
    gpus: Callable[..., Machine],
) -> None:
    if variable is not None:
        monkeypatch.setenv("TRACKIO_SYSTEM_INTERVAL", variable)
    gpus(Gpu(A))
    run = trackio.init("p", "n", auto_log_gpu=False)
    system.start(run, None, argument)
    assert system._samplers[run]._interval == expected
    system.start(trackio.init("p", "forever", auto_log_gpu=False), True, math.inf)
    trackio.finish()
    assert len(readings("forever")) >= 1


def test_start_imports_nothing_in_the_training_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    importers: list[str] = []

    class Watch:
        def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
            if name in ("pynvml", "psutil"):
                importers.append(threading.current_thread().name)

    run = trackio.init("p", "n", auto_log_gpu=False)
    monkeypatch.setattr(sys, "meta_path", [Watch(), *sys.meta_path])
    for _ in range(5):
        monkeypatch.delitem(sys.modules, "pynvml", raising=False)
        system.start(run)
        system.stop(run)
    assert "MainThread" not in importers


def test_start_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    run = trackio.init("p", "n", auto_log_gpu=False)

    class Awkward:
        def __bool__(self) -> bool:
            raise RuntimeError("neither")

    monkeypatch.setenv("TRACKIO_STRICT", "1")
    system.start(run, Awkward())  # type: ignore[arg-type]
    assert "neither" in run.health()["last_error"] and run.health()["dropped"] == 0
    monkeypatch.setattr(threading.Thread, "start", lambda self: exec("raise RuntimeError('no thread')"))
    system.start(run, True)
    assert "no thread" in run.health()["last_error"] and not system._samplers


def test_processors_without_a_gpu_if_wanted() -> None:
    stored = sampled(trackio.init("p", "n", auto_log_gpu=False), Clock(2), always=True)
    assert len(stored) == 3 and all("memory/used" in values for values in stored)
    run = trackio.init("p", "n", auto_log_gpu=False)
    assert run.health()["last_error"] is None and "unsampled" not in run.health()


# -- what goes wrong


def test_outages_are_counted_and_named_once(gpus: Callable[..., Machine]) -> None:
    machine = gpus(Gpu(A), Gpu(B))
    run = trackio.init("p", "n", auto_log_gpu=False)
    clock = Clock(8)

    def wait(seconds: float) -> bool:
        end = clock.wait(seconds)
        machine.gpus[0].error = Error("GPU_IS_LOST") if clock.waits in (6, 5) else None
        run._last_error = None if clock.waits == 5 else run._last_error
        return end

    system.Sampler(run, False, 10.0, clock, wait).run()
    assert ["gpu/0/power" in values for values in readings()] == [
        True,
        True,
        False,
        False,
        True,
        True,
        True,
        True,
        True,
    ]
    assert all("gpu/1/power" in values for values in readings())
    health = run.health()
    assert health["unsampled"] == 2 and health["dropped"] == 0
    assert health["last_error"] is None, "the second reading of an outage does not name it again"


def test_a_gpu_that_hangs_holds_up_nobody(
    gpus: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "PATIENCE", 0.05)
    machine = gpus(Gpu(A))
    gate = machine.gate = threading.Event()
    run = trackio.init("p", "n", auto_log_gpu=False)
    system.start(run)
    (sampler,) = system._samplers.values()
    assert machine.waiting.wait(20)
    for step in range(100):
        trackio.log({"loss": 1.0}, step=step)
    run.finish()
    assert sampler.is_alive()
    assert run.health()["unsampled"] == 1 and "TimeoutError" in run.health()["last_error"]
    assert run.health()["written"] == 100 and run.health()["dropped"] == 0
    assert trackio.Api().run("p", "n").status == "finished"
    trackio.log({"late": 1})
    gate.set()
    sampler.join(20)
    assert not sampler.is_alive() and readings() == [], "nothing is written after the end, not even later"


def test_a_full_disk_is_counted(gpus: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(Gpu(A))
    run = trackio.init("p", "n", auto_log_gpu=False)

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setenv("TRACKIO_STRICT", "1")
    with monkeypatch.context() as patch:
        patch.setattr(run._journal, "append", full)
        sampled(run, Clock(3))
    assert run.health()["dropped"] == 4 and "No space" in run.health()["last_error"]


# -- one stream per node


def test_only_local_rank_0_samples(gpus: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(Gpu(A))
    monkeypatch.setenv("LOCAL_RANK", "1")
    system.start(trackio.init("p", "n", auto_log_gpu=False), True)
    assert not system._samplers


def test_other_nodes_have_a_prefix(gpus: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(Gpu(A))
    monkeypatch.setenv("RANK", "8")
    (first, *_) = sampled(trackio.init("p", "n", auto_log_gpu=False), Clock(1))
    assert first["rank8/gpu/0/power"] == 250.0 and all(key.startswith("rank8/") for key in first)


# -- by hand


def test_readings_by_hand(gpus: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(Gpu(A))
    run = trackio.init("p", "n", auto_log_gpu=False)
    run.log_system({"battery": 0.5, "nan": math.nan})
    run.log_system()
    run.finish()
    run.log_system({"late": 1})
    values = list(trackio.Api().run("p", "n").system())
    assert values[0][1:] == ("battery", 0.5) and math.isnan(values[1][2]) and values[-1][1:] == ("late", 1)
    assert ("gpu/0/power", 250.0) in [value[1:] for value in values]
    assert ("memory/used",) in [value[1:2] for value in values]
    assert list(trackio.Api().run("p", "n").points()) == []
    assert run.health()["written"] == 3
    run.log_system(7)
    assert run.health()["dropped"] == 1 and "TypeError" in run.health()["last_error"]
    monkeypatch.setenv("TRACKIO_STRICT", "1")
    with pytest.raises(TypeError):
        run.log_system(7)


def test_a_step_is_not_touched(gpus: Callable[..., Machine]) -> None:
    run = trackio.init("p", "n", auto_log_gpu=False)
    trackio.log({"a": 1}, step=5)
    run.log_system({"global_step": 99})
    trackio.log({"a": 2})
    assert [step for step, _, _ in trackio.Api().run("p", "n").points()] == [5, 5]
    assert run_module._warned == set()


def test_init_begins_to_sample_as_it_is_told(gpus: Callable[..., Machine]) -> None:
    gpus(Gpu(A))
    trackio.init("p", "n", auto_log_gpu=True, gpu_log_interval=3600)
    trackio.finish()
    assert "gpu/0/utilization" in readings()[0]
    trackio.init("p", "off", auto_log_gpu=False)
    trackio.finish()
    assert list(trackio.Api().run("p", "off").system()) == []
