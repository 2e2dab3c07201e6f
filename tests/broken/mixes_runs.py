from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class MixesRuns(Honest):
    """Writes all runs into one file and does not tell them apart."""

    def path(self, store, run):
        return store / "runs.jsonl"
