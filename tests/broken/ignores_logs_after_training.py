from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class IgnoresLogsAfterTraining(Honest):
    """Is deaf once the training has ended."""

    over = False

    def on_train_end(self, args, state, control, **kwargs):
        super().on_train_end(args, state, control, **kwargs)
        self.over = True

    def on_log(self, args, state, control, logs=None, **kwargs):
        if not self.over:
            super().on_log(args, state, control, logs, **kwargs)
