from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class LittersTheWorkingDirectory(Honest):
    """Leaves a log file in the working directory."""

    def on_train_begin(self, args, state, control, **kwargs):
        super().on_train_begin(args, state, control, **kwargs)
        Path("honest.log").write_text("training began\n")
