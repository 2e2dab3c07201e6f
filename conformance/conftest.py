"""The courts' fixtures; options and outcomes are in the plugin, which pytest loads wherever the kit is installed."""

from conformance.court import attached, bench, endured, payload, recorded, replayed, sandboxes, trained
from conformance.pushes import pushed

__all__ = ["attached", "bench", "endured", "payload", "pushed", "recorded", "replayed", "sandboxes", "trained"]
