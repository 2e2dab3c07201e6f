from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class KeepsTwoKeysAsOne(Honest):
    """Stores `a/b` and `a_b` both as `a_b`, one behind the other, and says so."""

    def key(self, key):
        return key.replace("/", "_")

    def record(self, logs, step):
        return [(step, self.key(key), value) for key, value in logs.items()]
