from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class DiesOnPredict(Honest):
    """Raises when a prediction is told."""

    def on_predict(self, args, state, control, metrics=None, **kwargs):
        raise KeyError("train_loss")
