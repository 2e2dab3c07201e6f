import json
import os
from pathlib import Path

from conformance.registry import load

HonestHub = load(f"{Path(__file__).with_name('honest.py')}:HonestHub")


class PushesItsEnvironment(HonestHub):
    """Pushes the environment variables beside each run."""

    def content(self):
        return super().content() + json.dumps({"environment": dict(os.environ)}).encode() + b"\n"
