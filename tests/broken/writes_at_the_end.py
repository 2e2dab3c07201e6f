from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class WritesAtTheEnd(Honest):
    """Writes what it has when the training ends, and whatever comes later at once."""

    waiting = None

    def on_train_begin(self, args, state, control, **kwargs):
        super().on_train_begin(args, state, control, **kwargs)
        self.waiting = []

    def write(self, **line):
        if self.waiting is None:
            super().write(**line)
        else:
            self.waiting.append(line)

    def on_train_end(self, args, state, control, **kwargs):
        waiting, self.waiting = self.waiting, None
        for line in waiting:
            self.write(**line)
        super().on_train_end(args, state, control, **kwargs)
