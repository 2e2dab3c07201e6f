from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class RoundsToTwoDigits(Honest):
    """Rounds floats to two digits."""

    def value(self, value):
        return round(value, 2) if type(value) is float else value
