import math
from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class DropsWhatIsNotFinite(Honest):
    """Drops NaN and infinities."""

    def record(self, logs, step):
        return [p for p in super().record(logs, step) if not (type(p[2]) is float and not math.isfinite(p[2]))]
