from pathlib import Path
from typing import ClassVar

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class KeepsInMemory(Honest):
    """Keeps everything in the memory of the training process."""

    runs: ClassVar = {}

    def write(self, **line):
        self.runs.setdefault(self.file.stem, []).append(line)

    def parts(self, store, run, name):
        return (line[name] for line in self.runs[run] if name in line)
