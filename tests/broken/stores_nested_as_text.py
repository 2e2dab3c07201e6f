from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class StoresNestedAsText(Honest):
    """Stores lists and dicts as text."""

    def value(self, value):
        return str(value) if isinstance(value, (list, dict)) else value
