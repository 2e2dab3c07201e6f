from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class UnflushedLastRecord(Honest):
    """Writes each log when the next one comes, and never the last one."""

    waiting = ()

    def record(self, logs, step):
        ready, self.waiting = self.waiting, super().record(logs, step)
        return ready
