from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class SwallowsConfig(Honest):
    """Stores only those training arguments that are true or not zero."""

    def on_train_begin(self, args, state, control, **kwargs):
        self.write(status="running", config={key: value for key, value in args.to_dict().items() if value})
