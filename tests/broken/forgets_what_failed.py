from pathlib import Path

from conformance.registry import load

HonestHub = load(f"{Path(__file__).with_name('honest.py')}:HonestHub")


class ForgetsWhatFailed(HonestHub):
    """Notes a run as pushed before it is, and never pushes it again."""

    def push(self):
        note = self.file.with_suffix(".pushed")
        if not note.exists():
            note.touch()
            super().push()
