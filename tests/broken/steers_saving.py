from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class SteersSaving(Honest):
    """Lets the trainer save after every step."""

    def on_step_end(self, args, state, control, **kwargs):
        control.should_save = True
