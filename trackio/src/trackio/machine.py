"""Which machine this is, and since when: what tells a process that is gone from one that runs elsewhere."""

from __future__ import annotations

import os
import time


def boot_id() -> str:
    """Return what names this life of the kernel, empty where the system does not say. (random(4).)

    Two machines of one name differ in it, and process ids of before a reboot mean nothing.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


def quiet_for(path: str) -> float:
    """Return for how many seconds a file has not been written to. Raises OSError."""
    return time.time() - os.stat(path).st_mtime


def up_for() -> float:
    """Return how many seconds ago this machine was booted; infinity where the system does not say.

    A journal that was last written before is nobody's any more, if its writer was on this machine.
    """
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return float("inf") if clock is None else time.clock_gettime(clock)
