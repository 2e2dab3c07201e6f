from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class OffByOneStep(Honest):
    """Stores every point one step too late."""

    def record(self, logs, step):
        return super().record(logs, step + 1)
