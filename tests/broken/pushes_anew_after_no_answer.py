import time
from pathlib import Path

from conformance.registry import load

HonestHub = load(f"{Path(__file__).with_name('honest.py')}:HonestHub")


class PushesAnewAfterNoAnswer(HonestHub):
    """Pushes each time to another file, as if a push without an answer had not been made."""

    def name_there(self):
        return f"{super().name_there()}~{time.time_ns()}"
