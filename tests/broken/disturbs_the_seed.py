from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class DisturbsTheSeed(Honest):
    """Seeds torch when training begins, to draw an id for its run."""

    def on_train_begin(self, args, state, control, **kwargs):
        super().on_train_begin(args, state, control, **kwargs)
        import torch

        torch.manual_seed(1234)
        self.write(id=int(torch.randint(2**31, ())))
