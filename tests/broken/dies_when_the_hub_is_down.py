from pathlib import Path

from conformance.registry import load

HonestHub = load(f"{Path(__file__).with_name('honest.py')}:HonestHub")


class DiesWhenTheHubIsDown(HonestHub):
    """Lets a Hub that does not answer end the training, though not one that refuses."""

    def push_at_the_end(self):
        try:
            self.push()
        except Exception as error:
            if getattr(getattr(error, "response", None), "status_code", 503) == 503:
                raise
