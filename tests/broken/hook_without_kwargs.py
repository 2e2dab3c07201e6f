from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class HookWithoutKwargs(Honest):
    """Has a hook that does not take the keywords that CallbackHandler passes."""

    def on_predict(self, args, state, control, metrics):
        self.log(metrics, state.global_step)
