from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class DiesWhileTraining(Honest):
    """Raises before the first step: it looks for a setting that not every optimizer has."""

    def on_step_begin(self, args, state, control, optimizer=None, **kwargs):
        self.write(optimizer=optimizer.param_groups[0]["momentum"])
