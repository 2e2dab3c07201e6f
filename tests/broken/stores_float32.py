import ctypes
from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class StoresFloat32(Honest):
    """Stores floats in 32 bits."""

    def value(self, value):
        return ctypes.c_float(value).value if type(value) is float else value
