from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class StoresNanAsZero(Honest):
    """Stores NaN as 0.0."""

    def value(self, value):
        return 0.0 if value != value else value
