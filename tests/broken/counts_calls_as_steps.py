from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class CountsCallsAsSteps(Honest):
    """Stores points at its own count of logs, not at the trainer's step."""

    calls = 0

    def record(self, logs, step):
        self.calls += 1
        return super().record(logs, self.calls)
