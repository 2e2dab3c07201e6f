from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class EditsCallersLogs(Honest):
    """Takes a key out of the caller's logs after it has stored it."""

    def on_log(self, args, state, control, logs=None, **kwargs):
        super().on_log(args, state, control, logs, **kwargs)
        logs.pop("total_flos", None)
