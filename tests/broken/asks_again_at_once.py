from pathlib import Path

from conformance.registry import load

HonestHub = load(f"{Path(__file__).with_name('honest.py')}:HonestHub")


class AsksAgainAtOnce(HonestHub):
    """Tries a push that was refused three times, without waiting."""

    def push_at_the_end(self):
        for _ in range(3):
            super().push_at_the_end()
