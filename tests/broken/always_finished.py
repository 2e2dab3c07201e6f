from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class AlwaysFinished(Honest):
    """Says of every run that it is finished."""

    def status(self, store, run):
        return "finished"
