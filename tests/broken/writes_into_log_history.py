from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class WritesIntoLogHistory(Honest):
    """Writes a mark of its own into the trainer's log_history."""

    def on_log(self, args, state, control, logs=None, **kwargs):
        super().on_log(args, state, control, logs, **kwargs)
        for entry in state.log_history[-1:]:
            entry["tracked"] = True
