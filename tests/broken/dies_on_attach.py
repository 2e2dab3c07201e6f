import os
from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class DiesOnAttach(Honest):
    """Ends the process while it is being attached."""

    def attach(self, store, run):
        os._exit(3)
