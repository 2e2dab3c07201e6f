from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class LogsTwice(Honest):
    """Stores every point twice."""

    def record(self, logs, step):
        return super().record(logs, step) * 2
