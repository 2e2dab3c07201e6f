"""The GPUs that CUDA shows this process, and their counters, read through NVML (nvidia-ml-py, module
`pynvml`, imported at use).

A counter that a GPU does not have, or that this user may not see, is left out; it never becomes a zero.
NVML calls may take long, and hang where a driver does: only the sampler's own thread makes them.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

GIB = 1024**3

#: After an outage NVML is opened anew at the next reading, then after 2, 4, … readings, at most so many.
LONGEST_PAUSE = 64

#: Errors after which a handle is of no use until NVML is opened anew (nvml.h, `nvmlReturn_t`): uninitialized,
#: driver not loaded, GPU is lost, reset required, another driver than the library's.
_GONE = {1, 9, 15, 16, 18}
#: Errors that say nothing of a counter: timeout, unknown. A GPU that answers with nothing else is lost too.
_SILENT = {10, 999}
_NO_PERMISSION = 4

#: Bits of the reasons for lower clocks (nvml.h, `nvmlClocksEventReason…`).
_REASONS = {
    "throttle_apps": 0x02,
    "throttle_power": 0x04,
    "throttle_hw_slowdown": 0x08,
    "throttle_thermal": 0x20,
}


# Plain classes: a named tuple is made by `eval`, and an `eval` in a thread makes CPython forget that Ctrl-C
# ended the main thread (3.11, Python/pythonrun.c, `run_eval_code_obj`), and what the exit status is to be.
class Unit:
    """What CUDA shows as one device: a GPU, or one compute instance of a GPU in MIG mode.

    `names` are its identifiers, the first being what NVML finds it by, empty if NVML could not say;
    `instance` is (GPU, GPU instance) of a compute instance and None for a whole GPU.
    """

    def __init__(self, names: tuple[str, ...], instance: tuple[int, int] | None = None) -> None:
        self.names, self.instance = names, instance


class Gpu:
    """A GPU as NVML counts it: its UUID, and its units: itself, or its compute instances in MIG mode."""

    def __init__(self, uuid: str, units: tuple[Unit, ...]) -> None:
        self.uuid, self.units = uuid, units


def visible(text: str | None, gpus: Sequence[Gpu], many: bool = True) -> list[Unit]:
    """Return the units that CUDA shows, in CUDA's order, for a value of `CUDA_VISIBLE_DEVICES`; None: unset.

    The list is indices, or UUIDs of GPUs or of MIG devices; a beginning of a UUID will do if no other has
    it. It ends before the first entry that is none; an entry that comes twice leaves no device at all; an
    empty list shows none. (CUDA C++ Programming Guide, "CUDA Environment Variables"; where that is silent,
    as torch 2.13.0 has it, cuda/__init__.py, `_parse_visible_devices` and `_transform_uuid_to_ordinals`.)

    A GPU in MIG mode stands for its compute instances, one of each GPU instance. `many=False`, for drivers
    before R570: if there is any, the first is all that CUDA shows. (MIG User Guide, "CUDA Device
    Enumeration".)
    """
    if text is None:
        units = [unit for gpu in gpus for unit in gpu.units]
    elif text.startswith("MIG-"):
        parts = [unit for gpu in gpus for unit in gpu.units if unit.instance is not None]
        units = [parts[index] for index in _named(text, [unit.names for unit in parts])]
    else:
        if text.startswith("GPU-"):
            indices = _named(text, [(gpu.uuid,) for gpu in gpus])
        else:
            indices = _numbered(text, len(gpus))
        units = [unit for index in indices for unit in gpus[index].units]
    if not many:
        return next(([unit] for unit in units if unit.instance is not None), units)
    first = {unit.instance: unit for unit in reversed(units)}
    return [unit for unit in units if unit.instance is None or first[unit.instance] is unit]


def _named(text: str, names: Sequence[tuple[str, ...]]) -> list[int]:
    kind = text[:4]
    return _until(
        [index for index, known in enumerate(names) if any(name.startswith(word) for name in known)]
        if word.startswith(kind)
        else []
        for word in text.split(",")
    )


def _numbered(text: str, count: int) -> list[int]:
    # CUDA reads numbers as strtoul(3) does: `1gpu` is 1.
    found = [re.match(r"\+?0*([0-9]{1,9})", word.strip()) for word in text.split(",")]
    return _until([int(match[1])] if match and int(match[1]) < count else [] for match in found)


def _until(matches: Iterable[list[int]]) -> list[int]:
    """Return the only match of each entry, up to an entry without one; nothing if one comes twice."""
    chosen: list[int] = []
    for match in matches:
        if len(match) != 1:
            break
        if match[0] in chosen:
            return []
        chosen += match
    return chosen


class Gpus:
    """The visible GPUs. For one thread; `open`, then `read` as often as wanted, then `close`.

    Keys `gpu/{i}/…` with CUDA's index `i`, named and measured as Hugging Face's Trackio does (0.43.0, gpu.py,
    `collect_gpu_metrics`): `utilization` and `memory_utilization` (percent of the time that a kernel ran,
    that memory was read or written), `allocated_memory` and `total_memory` (GiB), `memory_usage` (their
    ratio), `power` and `power_limit` (W), `power_percent`, `temp` (°C), `sm_clock` and `memory_clock` (MHz),
    `fan_speed` (percent), `performance_state` (0 is fastest), `energy_consumed` (J since the first reading),
    `pcie_tx` and `pcie_rx` (MiB/s), `throttle_{thermal,power,hw_slowdown,apps}` (0 or 1),
    `corrected_memory_errors` and `uncorrected_memory_errors` (since the driver was loaded). Over all GPUs
    that have it: `gpu/mean_utilization`, `gpu/total_allocated_memory`, `gpu/total_power`, `gpu/max_temp`.

    An index is a place in NVML's order, that of the PCI bus. CUDA's own default is `FASTEST_FIRST`, an order
    that NVIDIA does not define: set `CUDA_DEVICE_ORDER=PCI_BUS_ID` where a machine's GPUs differ.
    """

    def __init__(self) -> None:
        #: Why the latest reading lacks a GPU that was there once, None if it lacks none.
        self.failure: Exception | None = None
        self._nvml: Any = None
        #: UUID and handle, None while it has none, by CUDA's index. The UUIDs stay as they are: when a GPU is
        #: lost, the indices of the others change.
        self._devices: list[tuple[str, Any]] = []
        self._energy: dict[int, tuple[float, float]] = {}
        self._pause, self._skip = 1, 0

    def open(self) -> int:
        """Open NVML and find the GPUs; return how many are visible. Raises ImportError, OSError and
        `NVMLError`.
        """
        import importlib

        if "pynvml" not in sys.modules:
            import ctypes

            # What pynvml would load: where it is missing, this says so a tenth of a second sooner.
            ctypes.CDLL("libnvidia-ml.so.1")
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
        self._nvml = nvml
        if not self._devices or any(not uuid for uuid, _ in self._devices):
            driver = re.match(r"[0-9]+", _text(nvml.nvmlSystemGetDriverVersion()))
            many = driver is not None and int(driver[0]) >= 570
            units = visible(os.environ.get("CUDA_VISIBLE_DEVICES"), _gpus(nvml), many)
            self._devices = [(unit.names[0], None) for unit in units]
        self._devices = [(uuid, self._handle(uuid)) for uuid, _ in self._devices]
        return len(self._devices)

    def _handle(self, uuid: str) -> Any:
        try:
            if not uuid:
                raise LookupError("NVML counts a GPU that it cannot name")
            return self._nvml.nvmlDeviceGetHandleByUUID(uuid)
        except (LookupError, self._nvml.NVMLError) as error:
            self.failure = error
            return None

    def close(self) -> None:
        """Let go of NVML; `open` may follow."""
        nvml, self._nvml = self._nvml, None
        if nvml is not None:
            with suppress(Exception):
                nvml.nvmlShutdown()

    def read(self) -> dict[str, Any]:
        """Return the counters of the GPUs that can be read now; `failure` tells why others could not."""
        if self.failure is not None or self._nvml is None:
            self._reopen()
        else:
            self._pause, self._skip = 1, 0
        readings = {}
        for index, (uuid, handle) in enumerate(self._devices):
            if self._nvml is None or handle is None:
                continue
            try:
                readings[index] = self._counters(index, handle)
            except Exception as error:
                self.failure = error
                self._devices[index] = (uuid, None)
        values = {
            f"gpu/{index}/{name}": value
            for index, reading in readings.items()
            for name, value in reading.items()
        }
        return {**values, **_totals(list(readings.values()))}

    def _reopen(self) -> None:
        if self._skip:
            self._skip -= 1
            return
        self._skip, self._pause = self._pause - 1, min(2 * self._pause, LONGEST_PAUSE)
        self.close()
        known, self.failure = self.failure, None
        try:
            self.open()
        except Exception as error:
            self.close()
            # Nobody is told of a driver that is missing where no GPU was ever seen.
            self.failure = error if known is not None or self._devices else None

    def _counters(self, index: int, handle: Any) -> dict[str, Any]:
        nvml = self._nvml
        values: dict[str, Any] = {}
        silence: list[Exception] = []

        def ask(function: str, *constants: str) -> Any:
            try:
                return getattr(nvml, function)(handle, *(getattr(nvml, name) for name in constants))
            except AttributeError:  # an older nvidia-ml-py, or a newer one
                return None
            except nvml.NVMLError as error:
                if error.value in _GONE:
                    raise
                if error.value in _SILENT:
                    silence.append(error)
                return None

        def keep(name: str, value: Any, divisor: int | None = None) -> None:
            if value is not None:
                values[name] = value if divisor is None else value / divisor

        if (rates := ask("nvmlDeviceGetUtilizationRates")) is not None:
            values.update(utilization=rates.gpu, memory_utilization=rates.memory)
        if (memory := ask("nvmlDeviceGetMemoryInfo")) is not None:
            values.update(allocated_memory=memory.used / GIB, total_memory=memory.total / GIB)
            if memory.total:
                values["memory_usage"] = memory.used / memory.total
        keep("power", ask("nvmlDeviceGetPowerUsage"), 1000)
        keep("power_limit", ask("nvmlDeviceGetPowerManagementLimit"), 1000)
        if "power" in values and values.get("power_limit"):
            values["power_percent"] = values["power"] / values["power_limit"] * 100
        temperature = ask("nvmlDeviceGetTemperature", "NVML_TEMPERATURE_GPU")
        if temperature is None:  # the former is to go with CUDA 14
            temperature = ask("nvmlDeviceGetTemperatureV", "NVML_TEMPERATURE_GPU")
        keep("temp", temperature)
        keep("sm_clock", ask("nvmlDeviceGetClockInfo", "NVML_CLOCK_SM"))
        keep("memory_clock", ask("nvmlDeviceGetClockInfo", "NVML_CLOCK_MEM"))
        keep("fan_speed", ask("nvmlDeviceGetFanSpeed"))
        keep("performance_state", ask("nvmlDeviceGetPerformanceState"))
        keep("energy_consumed", self._consumed(index, ask("nvmlDeviceGetTotalEnergyConsumption")), 1000)
        keep("pcie_tx", ask("nvmlDeviceGetPcieThroughput", "NVML_PCIE_UTIL_TX_BYTES"), 1024)
        keep("pcie_rx", ask("nvmlDeviceGetPcieThroughput", "NVML_PCIE_UTIL_RX_BYTES"), 1024)
        reasons = ask("nvmlDeviceGetCurrentClocksEventReasons")
        if reasons is None:  # its name before R535
            reasons = ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        if reasons is not None:
            values.update({name: int(bool(reasons & bit)) for name, bit in _REASONS.items()})
        for kind in ("CORRECTED", "UNCORRECTED"):
            errors = ask("nvmlDeviceGetTotalEccErrors", f"NVML_MEMORY_ERROR_TYPE_{kind}", "NVML_VOLATILE_ECC")
            keep(f"{kind.lower()}_memory_errors", errors)
        if silence and not values:
            raise silence[0]
        return values

    def _consumed(self, index: int, energy: float | None) -> float | None:
        """Return the energy since the first reading, None at the first one, in the unit of `energy`."""
        if energy is None:
            return None
        if index not in self._energy:
            self._energy[index] = (energy, 0)
            return None
        last, consumed = self._energy[index]
        # A driver that was loaded again counts from 0 again.
        consumed += energy - last if energy >= last else energy
        self._energy[index] = (energy, consumed)
        return consumed


def _totals(readings: list[dict[str, Any]]) -> dict[str, Any]:
    def each(name: str) -> list[Any]:
        return [reading[name] for reading in readings if name in reading]

    totals: dict[str, Any] = {}
    if rates := each("utilization"):
        totals["gpu/mean_utilization"] = sum(rates) / len(rates)
    if memory := each("allocated_memory"):
        totals["gpu/total_allocated_memory"] = sum(memory)
    if power := each("power"):
        totals["gpu/total_power"] = sum(power)
    if temperatures := each("temp"):
        totals["gpu/max_temp"] = max(temperatures)
    return totals


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)  # nvidia-ml-py before 11.5


def _gpus(nvml: Any) -> list[Gpu]:
    """Return the GPUs in NVML's order, without those this user may not use: CUDA does not count them."""
    gpus: list[Gpu] = []
    for number in range(nvml.nvmlDeviceGetCount()):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(number)
            uuid = _text(nvml.nvmlDeviceGetUUID(handle))
        except nvml.NVMLError as error:
            if error.value != _NO_PERMISSION:
                gpus.append(Gpu("", (Unit(("",)),)))  # there, and not to be read now
            continue
        gpus.append(Gpu(uuid, _units(nvml, len(gpus), handle, uuid)))
    return gpus


def _units(nvml: Any, index: int, handle: Any, uuid: str) -> tuple[Unit, ...]:
    try:
        if not nvml.nvmlDeviceGetMigMode(handle)[0]:
            return (Unit((uuid,)),)
        count = nvml.nvmlDeviceGetMaxMigDeviceCount(handle)
    except (nvml.NVMLError, AttributeError):  # a GPU, a driver or a pynvml that knows no MIG
        return (Unit((uuid,)),)
    units = []
    for number in range(count):
        with suppress(nvml.NVMLError):  # no such instance
            part = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
            instance = nvml.nvmlDeviceGetGpuInstanceId(part)
            # Drivers before R470 know it by the second name only, and say so themselves.
            old = f"MIG-{uuid}/{instance}/{nvml.nvmlDeviceGetComputeInstanceId(part)}"
            units.append(Unit((_text(nvml.nvmlDeviceGetUUID(part)), old), (index, instance)))
    return tuple(units)
