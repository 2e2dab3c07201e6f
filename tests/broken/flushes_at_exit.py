import atexit
from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class FlushesAtExit(Honest):
    """Writes everything when the process ends by itself."""

    def open(self, store, run):
        super().open(store, run)
        self.waiting = []
        atexit.register(self.flush)

    def write(self, **line):
        self.waiting.append(line)

    def flush(self):
        for line in self.waiting:
            super().write(**line)
