from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class LosesSignOfZero(Honest):
    """Stores -0.0 as 0.0."""

    def value(self, value):
        return value + 0.0 if type(value) is float else value
