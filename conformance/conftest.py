"""The courts' fixtures; options and outcomes are in the plugin, which pytest loads wherever the kit is installed."""

from conformance.court import attached, bench, endured, payload, recorded, replayed, sandboxes, trained

__all__ = ["attached", "bench", "endured", "payload", "recorded", "replayed", "sandboxes", "trained"]
