from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class ReturnsNoCallback(Honest):
    """Attaches an object that has the hooks but is no TrainerCallback."""

    def attach(self, store, run):
        return object()
