"""Which GPUs CUDA shows, what is read of them, and what an outage does."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import fake_nvml
import pytest
from fake_nvml import Error, Gpu, Machine, memory, part, rates
from hypothesis import given
from hypothesis import strategies as st

from trackio.nvml import Gpu as Counted
from trackio.nvml import Gpus, Unit, visible

A, B, C = "GPU-aa11", "GPU-ab22", "GPU-cc33"


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Machine]:
    """Make a machine with these GPUs; before, there is none."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setitem(sys.modules, "pynvml", None)

    def make(*gpus: Gpu, **more: Any) -> Machine:
        machine = Machine(*gpus, **more)
        monkeypatch.setitem(sys.modules, "pynvml", machine)
        return machine

    return make


# -- which GPUs


def whole(*uuids: str) -> list[Counted]:
    return [Counted(uuid, (Unit((uuid,)),)) for uuid in uuids]


def shown(text: str | None, gpus: list[Counted], many: bool = True) -> list[str]:
    return [unit.names[0] for unit in visible(text, gpus, many)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, [A, B, C]),
        ("", []),
        ("NoDevFiles", []),
        ("-1", []),
        ("2,1", [C, B]),  # NVIDIA's own two examples
        ("0,2,-1,1", [A, C]),
        ("0,1,7,2", [A, B]),
        ("1,1", []),
        ("0,7,7", [A]),
        (" 1 , 0 ", [B, A]),
        ("1gpu,+2", [B, C]),
        ("0,,1", [A]),
        ("99999999999999999999", []),
        ("GPU-cc33,GPU-aa11", [C, A]),
        ("GPU-c,GPU-ab", [C, B]),
        ("GPU-a,GPU-c", []),  # ambiguous
        ("GPU-c,GPU-a", [C]),
        ("GPU-c,GPU-cc", []),
        ("GPU-zz", []),
        ("GPU-c,1", [C]),
        ("GPU-c,", [C]),
        ("1,GPU-c", [B]),
        ("gpu-cc33", []),
        ("MIG-1", []),
    ],
)
def test_what_is_visible(text: str | None, expected: list[str]) -> None:
    assert shown(text, whole(A, B, C)) == expected


def model(words: list[str], uuids: list[str]) -> list[str]:
    """The rule, word by word, another way: what each word may mean, and when to stop."""
    kind = "uuid" if words[0].startswith("GPU-") else "index"
    result: list[str] = []
    for word in words:
        if kind == "uuid":
            fits = {uuid for uuid in uuids if uuid[: len(word)] == word and len(word) > 3}
        else:
            digits = ""
            rest = word.strip(" ")
            rest = rest[1:] if rest[:1] == "+" else rest
            while rest and rest[0] in "0123456789":
                digits, rest = digits + rest[0], rest[1:]
            fits = {uuid for place, uuid in enumerate(uuids) if digits and place == int(digits)}
        if len(fits) != 1:
            return result
        if fits <= set(result):
            return []
        result.extend(fits)
    return result


UUIDS = st.lists(
    st.text("ab", min_size=2, max_size=4).map("GPU-".__add__), min_size=1, max_size=5, unique=True
)
WORDS = st.one_of(
    st.integers(-2, 6).map(str),
    st.sampled_from(["", " 1", "+0", "1x", "x", "00", "-0", "GPU-", "GPU-ab ", "MIG"]),
    st.text("ab", max_size=4).map("GPU-".__add__),
)


@given(UUIDS, st.lists(WORDS, min_size=1, max_size=6))
def test_visible_devices_follow_the_rule(uuids: list[str], words: list[str]) -> None:
    assert shown(",".join(words), whole(*uuids)) == model(words, uuids)


# GPU 0 has two instances, the first of them with two compute instances; GPU 1 is whole.
SPLIT = [
    Counted(
        A,
        tuple(
            Unit((f"MIG-{n}", f"MIG-{A}/{gi}/{ci}"), (0, gi))
            for n, gi, ci in [(1, 3, 0), (2, 3, 1), (5, 4, 0)]
        ),
    ),
    *whole(B),
]


@pytest.mark.parametrize(
    ("text", "now", "before_570"),
    [
        (None, ["MIG-1", "MIG-5", B], ["MIG-1"]),
        ("MIG-5", ["MIG-5"], ["MIG-5"]),
        ("MIG-5,MIG-2", ["MIG-5", "MIG-2"], ["MIG-5"]),
        ("MIG-2,MIG-1,MIG-5", ["MIG-2", "MIG-5"], ["MIG-2"]),  # one of each GPU instance
        (f"MIG-{A}/4/0", ["MIG-5"], ["MIG-5"]),
        (f"MIG-{A}/3", [], []),  # ambiguous
        ("MIG-", [], []),
        ("0", ["MIG-1", "MIG-5"], ["MIG-1"]),
        ("1", [B], [B]),
        ("1,0", [B, "MIG-1", "MIG-5"], ["MIG-1"]),
        (B, [B], [B]),
        (A, ["MIG-1", "MIG-5"], ["MIG-1"]),
    ],
)
def test_gpus_in_mig_mode(text: str | None, now: list[str], before_570: list[str]) -> None:
    assert shown(text, SPLIT) == now
    assert shown(text, SPLIT, many=False) == before_570


# -- what is read


def test_keys_and_units(gpus: Callable[..., Machine]) -> None:
    machine = gpus(Gpu(A), Gpu(B, UtilizationRates=rates(20, 10), Temperature={0: 70}, FanSpeed=35))
    reader = Gpus()
    assert reader.open() == 2
    first = reader.read()
    assert {
        key.removeprefix("gpu/0/"): value for key, value in first.items() if key.startswith("gpu/0/")
    } == {
        "utilization": 80,
        "memory_utilization": 40,
        "allocated_memory": 20.0,
        "total_memory": 80.0,
        "memory_usage": 0.25,
        "power": 250.0,
        "power_limit": 400.0,
        "power_percent": 62.5,
        "temp": 61,
        "sm_clock": 1410,
        "memory_clock": 1593,
        "performance_state": 0,
        "pcie_tx": 2.0,
        "pcie_rx": 1.0,
        "throttle_thermal": 1,
        "throttle_power": 1,
        "throttle_hw_slowdown": 0,
        "throttle_apps": 0,
        "corrected_memory_errors": 3,
        "uncorrected_memory_errors": 0,
    }
    assert first["gpu/1/fan_speed"] == 35
    assert {key: value for key, value in first.items() if key.count("/") == 1} == {
        "gpu/mean_utilization": 50.0,
        "gpu/total_allocated_memory": 40.0,
        "gpu/total_power": 500.0,
        "gpu/max_temp": 70,
    }
    machine.gpus[0].counters["TotalEnergyConsumption"] += 1500
    assert reader.read()["gpu/0/energy_consumed"] == 1.5
    machine.gpus[0].counters["TotalEnergyConsumption"] = 500  # the driver was loaded again
    assert reader.read()["gpu/0/energy_consumed"] == 2.0
    reader.close()
    assert machine.opened == 0


def test_what_a_gpu_does_not_have_is_left_out(gpus: Callable[..., Machine]) -> None:
    names = ("UtilizationRates", "PowerUsage", "Temperature", "ClockInfo", "TotalEccErrors")
    machine = gpus(
        Gpu(A, **{name: Error("NOT_SUPPORTED") for name in names}), Gpu(B, PowerUsage=Error("NO_PERMISSION"))
    )
    reader = Gpus()
    reader.open()
    values = reader.read()
    assert reader.failure is None
    assert not {"gpu/0/utilization", "gpu/0/power", "gpu/0/power_percent", "gpu/0/temp"} & set(values)
    assert values["gpu/0/power_limit"] == 400.0 and "gpu/1/power" not in values
    assert values["gpu/mean_utilization"] == 80 and "gpu/total_power" not in values
    assert all(value is not None for value in values.values())
    machine.gpus[:] = []
    assert Gpus().open() == 0


def test_older_and_newer_releases_of_the_library(gpus: Callable[..., Machine]) -> None:
    machine = gpus(Gpu(A, CurrentClocksThrottleReasons=0x08, TemperatureV={0: 55}))
    machine.without = {"nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetTemperature"}
    machine.without |= {"nvmlDeviceGetTotalEnergyConsumption"}
    reader = Gpus()
    reader.open()
    values = reader.read()
    assert values["gpu/0/throttle_hw_slowdown"] == 1 and values["gpu/0/temp"] == 55
    assert values["gpu/0/utilization"] == 80 and reader.failure is None


def test_compute_instances_have_what_is_their_own(
    gpus: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [
        part("MIG-1", 3, 0),
        part("MIG-2", 3, 1),
        part("MIG-5", 4, 0, MemoryInfo=memory(0, 20 * fake_nvml.GIB)),
    ]
    gpus(Gpu(A, parts), Gpu(B))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"MIG-{A}/4/0,MIG-1")
    reader = Gpus()
    assert reader.open() == 2
    values = reader.read()
    assert values["gpu/0/total_memory"] == 20 and values["gpu/0/allocated_memory"] == 0
    assert values["gpu/1/total_memory"] == 10 and values["gpu/total_allocated_memory"] == 1
    assert not [key for key in values if "utilization" in key or "power" in key]
    gpus(Gpu(A, parts), Gpu(B), driver="535.129.03")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert Gpus().open() == 1


def test_gpus_of_other_users_are_not_counted(
    gpus: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = gpus(Gpu(A), Gpu(B, UtilizationRates=rates(7, 7)))
    machine.gpus[0].error = Error("NO_PERMISSION")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    reader = Gpus()
    assert reader.open() == 1
    assert reader.read()["gpu/0/utilization"] == 7 and reader.failure is None


# -- outages


def outcome(reader: Gpus) -> tuple[bool, bool]:
    """Whether a reading has GPU 0, and GPU 1."""
    values = reader.read()
    return "gpu/0/power" in values, "gpu/1/power" in values


def test_a_lost_gpu_leaves_the_others_and_may_come_back(gpus: Callable[..., Machine]) -> None:
    machine = gpus(Gpu(A), Gpu(B))
    reader = Gpus()
    reader.open()
    assert outcome(reader) == (True, True)
    machine.gpus[0].error = Error("GPU_IS_LOST")
    inits = []
    for _ in range(20):
        assert outcome(reader) == (False, True)
        assert "lost" in str(reader.failure)
        inits.append(machine.inits)
    # It is looked for again at the next reading, then after 2, 4, 8 more.
    assert [number for number in range(1, 20) if inits[number] > inits[number - 1]] == [1, 2, 4, 8, 16]
    machine.gpus[0].error = None
    until_back = next(number for number in range(40) if outcome(reader) == (True, True))
    assert until_back == 12 and reader.failure is None
    assert outcome(reader) == (True, True) and machine.opened == 1
    machine.gpus[1].error = Error("RESET_REQUIRED")
    assert outcome(reader) == (True, False)
    machine.gpus[1].error = None
    assert outcome(reader) == (True, True), "after a success the pauses are short again"


def test_a_gpu_that_answers_nothing_is_lost(gpus: Callable[..., Machine]) -> None:
    machine = gpus(Gpu(A), Gpu(B))
    reader = Gpus()
    reader.open()
    machine.gpus[1].error = Error("UNKNOWN")
    assert outcome(reader) == (True, False) and "Unknown" in str(reader.failure)
    machine.gpus[1].error = None
    assert outcome(reader) == (True, True)


def test_a_gpu_that_fell_off_the_bus_renumbers_nobody(gpus: Callable[..., Machine]) -> None:
    machine = gpus(Gpu(A), Gpu(B, UtilizationRates=rates(7, 7)), Gpu(C, UtilizationRates=rates(9, 9)))
    reader = Gpus()
    reader.open()
    del machine.gpus[0]
    machine.reset()
    reader.read()
    values = reader.read()
    assert (values["gpu/1/utilization"], values["gpu/2/utilization"]) == (7, 9)
    assert "gpu/0/utilization" not in values and reader.failure is not None


def test_a_reset_of_the_driver(gpus: Callable[..., Machine]) -> None:
    machine = gpus(Gpu(A))
    reader = Gpus()
    reader.open()
    machine.reset()
    machine.down = Error("DRIVER_NOT_LOADED")
    assert reader.read() == {} and "Uninitialized" in str(reader.failure)
    assert reader.read() == {} and "Driver Not Loaded" in str(reader.failure)
    machine.down = None
    assert "gpu/0/power" in reader.read() and reader.failure is None


def test_a_gpu_that_is_lost_from_the_start(gpus: Callable[..., Machine]) -> None:
    machine = gpus(Gpu(A), Gpu(B))
    machine.gpus[0].error = Error("GPU_IS_LOST")
    reader = Gpus()
    assert reader.open() == 2
    assert outcome(reader) == (False, True) and reader.failure is not None
    machine.gpus[0].error = None
    assert (True, True) in [outcome(reader) for _ in range(3)]


def test_without_a_gpu_there_is_no_failure(gpus: Callable[..., Machine]) -> None:
    reader = Gpus()
    with pytest.raises(ImportError):
        reader.open()
    machine = gpus(Gpu(A))
    machine.down = Error("LIBRARY_NOT_FOUND")
    for _ in range(9):
        assert reader.read() == {} and reader.failure is None
    machine.down = None
    found = [reader.read() for _ in range(16)]
    assert found[0] == {} and "gpu/0/power" in found[-1], "a driver may be loaded later"
