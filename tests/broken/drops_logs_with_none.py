from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class DropsLogsWithNone(Honest):
    """Drops every log that has a None in it."""

    def record(self, logs, step):
        return [] if any(value is None for value in logs.values()) else super().record(logs, step)
