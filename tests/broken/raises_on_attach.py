from pathlib import Path

from conformance.registry import load

Honest = load(f"{Path(__file__).with_name('honest.py')}:Honest")


class RaisesOnAttach(Honest):
    """Raises when it is attached: it asks for a login that nobody gave."""

    def attach(self, store, run):
        raise PermissionError("not logged in: set HONEST_API_KEY")
