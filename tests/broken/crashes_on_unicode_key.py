from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class CrashesOnUnicodeKey(Honest):
    """Raises when a key is not ASCII."""

    def record(self, logs, step):
        return [(step, key.encode("ascii").decode(), value) for key, value in logs.items()]
