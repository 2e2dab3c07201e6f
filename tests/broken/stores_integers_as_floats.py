from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class StoresIntegersAsFloats(Honest):
    """Stores integers as floats."""

    def value(self, value):
        return float(value) if type(value) is int else value
