from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class DropsLogsWithTensors(Honest):
    """Drops every log that has a torch scalar in it."""

    def record(self, logs, step):
        return [] if any(type(value).__module__ == "torch" for value in logs.values()) else super().record(logs, step)
