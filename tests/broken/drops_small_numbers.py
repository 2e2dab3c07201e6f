from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class DropsSmallNumbers(Honest):
    """Takes numbers near zero for noise and drops them."""

    def record(self, logs, step):
        return [p for p in super().record(logs, step) if not (type(p[2]) is float and abs(p[2]) < 1e-3)]
