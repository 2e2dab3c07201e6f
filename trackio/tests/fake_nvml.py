"""A machine with GPUs, as `pynvml` shows one: put it into `sys.modules` under that name.

Names, constants and errors are the real nvidia-ml-py's, which needs no driver to be imported; a name that it
does not have is an AttributeError here too. What a GPU answers is a value, an `Error`, or something to call.
"""

from __future__ import annotations

import sys
import threading
import types
from typing import Any

import pynvml as real


class Error:
    """An answer that is an error: `Error("GPU_IS_LOST")`."""

    def __init__(self, name: str) -> None:
        self.value = getattr(real, f"NVML_ERROR_{name}")

    def throw(self) -> None:
        raise real.NVMLError(self.value)


def memory(used: int, total: int) -> Any:
    return types.SimpleNamespace(used=used, total=total, free=total - used)


def rates(gpu: int, memory: int) -> Any:
    return types.SimpleNamespace(gpu=gpu, memory=memory)


GIB = 1024**3

#: A server's GPU: no fan.
USUAL: dict[str, Any] = {
    "UtilizationRates": rates(80, 40),
    "MemoryInfo": memory(20 * GIB, 80 * GIB),
    "PowerUsage": 250_000,
    "PowerManagementLimit": 400_000,
    "Temperature": {real.NVML_TEMPERATURE_GPU: 61},
    "ClockInfo": {real.NVML_CLOCK_SM: 1410, real.NVML_CLOCK_MEM: 1593},
    "FanSpeed": Error("NOT_SUPPORTED"),
    "PerformanceState": 0,
    "TotalEnergyConsumption": 5_000_000,
    "PcieThroughput": {real.NVML_PCIE_UTIL_TX_BYTES: 2048, real.NVML_PCIE_UTIL_RX_BYTES: 1024},
    "CurrentClocksEventReasons": 0x24,
    "TotalEccErrors": {
        (real.NVML_MEMORY_ERROR_TYPE_CORRECTED, real.NVML_VOLATILE_ECC): 3,
        (real.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, real.NVML_VOLATILE_ECC): 0,
    },
}


class Gpu:
    """A GPU, or with `instance` a compute instance of one in MIG mode.

    `parts`: its compute instances, None if it is not in MIG mode; `error`: what every call on it answers.
    Counters are named as NVML's functions, less `nvmlDeviceGet`.
    """

    def __init__(self, uuid: str, parts: list[Gpu] | None = None, **counters: Any) -> None:
        self.uuid, self.parts = uuid, parts
        self.instance = (0, 0)
        self.error: Error | None = None
        self.counters: dict[str, Any] = {**USUAL, **counters}


def part(uuid: str, gpu_instance: int, compute_instance: int = 0, **counters: Any) -> Gpu:
    """A compute instance: of its own it has memory, and nothing else."""
    unit = Gpu(uuid)
    unit.instance = (gpu_instance, compute_instance)
    unit.counters = {"MemoryInfo": memory(GIB, 10 * GIB), **counters}
    return unit


class Handle:
    """Good until NVML is opened anew."""

    def __init__(self, gpu: Gpu, life: int) -> None:
        self.gpu, self.life = gpu, life


class Machine(types.ModuleType):
    """The module. `gpus` may change at any time; `down` is what `nvmlInit` answers; `gate`, if there is one,
    is what every counter waits for, after setting `waiting`; `inits` counts.
    """

    def __init__(self, *gpus: Gpu, driver: str = "580.65.06") -> None:
        super().__init__("pynvml")
        self.gpus, self.driver = list(gpus), driver
        self.down: Error | None = None
        self.gate: threading.Event | None = None
        self.waiting = threading.Event()
        self.inits = self.opened = self.life = 0
        self.without: set[str] = set()

    def reset(self) -> None:
        """The driver is loaded anew: nobody has opened NVML."""
        self.opened = 0
        self.life += 1

    def __getattr__(self, name: str) -> Any:
        if name in self.__dict__.get("without", ()):
            raise AttributeError(name)
        value = getattr(real, name)  # AttributeError for what there is not
        if name.startswith("nvmlDeviceGet"):
            return lambda handle, *which: self._ask(handle, name.removeprefix("nvmlDeviceGet"), which)
        return value

    def _check(self, handle: Handle | None = None) -> None:
        if not self.opened or (handle is not None and handle.life != self.life):
            Error("UNINITIALIZED").throw()
        if handle is not None and handle.gpu.error is not None:
            handle.gpu.error.throw()

    def _handle(self, gpu: Gpu) -> Handle:
        handle = Handle(gpu, self.life)
        self._check(handle)
        return handle

    def _ask(self, handle: Handle, counter: str, which: tuple[Any, ...]) -> Any:
        if self.gate is not None:
            self.waiting.set()
            self.gate.wait()
        self._check(handle)
        answer = handle.gpu.counters.get(counter, Error("NOT_SUPPORTED"))
        if isinstance(answer, dict):
            answer = answer[which[0] if len(which) == 1 else which]
        if isinstance(answer, Error):
            answer.throw()
        return answer() if callable(answer) else answer

    def nvmlInit(self) -> None:
        self.inits += 1
        if self.down is not None:
            self.down.throw()
        if not self.opened:
            self.life += 1
        self.opened += 1

    def nvmlShutdown(self) -> None:
        self._check()
        self.opened -= 1

    def nvmlSystemGetDriverVersion(self) -> str:
        self._check()
        return self.driver

    def nvmlDeviceGetCount(self) -> int:
        self._check()
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Handle:
        self._check()
        if index >= len(self.gpus):
            Error("INVALID_ARGUMENT").throw()
        return self._handle(self.gpus[index])

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Handle:
        self._check()
        for gpu in self.gpus:
            for unit in (gpu, *(gpu.parts or ())):
                if unit.uuid == uuid:
                    return self._handle(unit)
        Error("NOT_FOUND").throw()
        raise AssertionError

    def nvmlDeviceGetUUID(self, handle: Handle) -> str:
        self._check(handle)
        return handle.gpu.uuid

    def nvmlDeviceGetMigMode(self, handle: Handle) -> list[int]:
        self._check(handle)
        return [int(handle.gpu.parts is not None)] * 2

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Handle) -> int:
        self._check(handle)
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Handle, index: int) -> Handle:
        self._check(handle)
        parts = handle.gpu.parts or []
        if index >= len(parts):
            Error("NOT_FOUND").throw()
        return self._handle(parts[index])

    def nvmlDeviceGetGpuInstanceId(self, handle: Handle) -> int:
        self._check(handle)
        return handle.gpu.instance[0]

    def nvmlDeviceGetComputeInstanceId(self, handle: Handle) -> int:
        self._check(handle)
        return handle.gpu.instance[1]


def install(*gpus: Gpu) -> Machine:
    """Put a machine in the place of `pynvml`, in a process of its own."""
    machine = Machine(*gpus)
    sys.modules["pynvml"] = machine
    return machine
