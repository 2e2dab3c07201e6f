from pathlib import Path

from conformance.registry import load

HonestWandb = load(f"{Path(__file__).with_name('honest.py')}:HonestWandb")


class KeepsFramesAsText(HonestWandb):
    """Stores a data frame that is not wrapped into a Table as its text."""

    def data(self, data):
        return {key: str(value) if type(value).__name__ == "DataFrame" else value for key, value in data.items()}
