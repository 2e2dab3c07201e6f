"""Plays acts: one to the Hub of this process, or, as a script, all to the Hub at HF_ENDPOINT.

The script prints what became of each act, as JSON: nothing, or the traceback.
"""

from __future__ import annotations

import json
import tempfile
import traceback
from pathlib import Path

import acts_buckets
import acts_files
import acts_repos
from huggingface_hub import HfApi
from stage import ACTS, OTHER

__all__ = ["ACTS", "OTHER", "acts_buckets", "acts_files", "acts_repos", "play"]


def play(name: str, folder: Path) -> None:
    """Play one act to the Hub that this process has."""
    ACTS[name](HfApi(), f"user/of-{name.replace('_', '-')}", folder)


if __name__ == "__main__":
    outcomes = {}
    for name in ACTS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                play(name, Path(folder))
                outcomes[name] = ""
            except BaseException:
                outcomes[name] = traceback.format_exc()
    print("\n" + json.dumps(outcomes))
