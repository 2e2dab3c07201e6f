from pathlib import Path

from conformance.registry import load

HonestHub = load(f"{Path(__file__).with_name('honest.py')}:HonestHub")


class PushesTooEarly(HonestHub):
    """Pushes when the training begins, and not when it ends."""

    def on_train_begin(self, args, state, control, **kwargs):
        super().on_train_begin(args, state, control, **kwargs)
        self.push_at_the_end()

    def on_train_end(self, args, state, control, **kwargs):
        self.write(status="finished")
