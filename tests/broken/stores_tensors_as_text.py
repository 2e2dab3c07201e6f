from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class StoresTensorsAsText(Honest):
    """Stores torch's scalars as text."""

    def value(self, value):
        return str(value) if type(value).__module__ == "torch" else value
