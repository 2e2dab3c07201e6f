from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class LeavesTheRunOpen(Honest):
    """Does not close the run when training ends."""

    def on_train_end(self, args, state, control, **kwargs):
        pass
