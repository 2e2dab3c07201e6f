from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class LosesEqualSteps(Honest):
    """Keeps the first log of a step and drops the others."""

    last = None

    def record(self, logs, step):
        if step == self.last:
            return []
        self.last = step
        return super().record(logs, step)
