from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class IgnoresLogsBeforeTraining(Honest):
    """Listens from `on_train_begin` on only."""

    training = False

    def on_train_begin(self, args, state, control, **kwargs):
        self.training = True
        super().on_train_begin(args, state, control, **kwargs)

    def on_log(self, args, state, control, logs=None, **kwargs):
        if self.training:
            super().on_log(args, state, control, logs, **kwargs)
