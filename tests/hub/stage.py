"""What an act is: something that the real client does to a Hub, checked through the client alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import HfApi, hf_hub_download

VERSION = tuple(int(part) for part in huggingface_hub.__version__.split(".")[:2])
#: The token of the second user of the Hub that the acts are played to.
OTHER = "hf_other"
Act = Callable[[HfApi, str, Path], None]
ACTS: dict[str, Act] = {}


def act(function: Act) -> Act:
    """Register an act: given the client, the name of a repository that is not there yet, and an empty folder."""
    ACTS[function.__name__] = function
    return function


def where(method: str) -> Callable[[Act], Act]:
    """Register an act only where the client has this method; docs/hub.md says which releases have it."""
    return act if hasattr(HfApi, method) else lambda function: function


def content(repo: str, path: str, **at: Any) -> bytes:
    """Download a file."""
    return Path(hf_hub_download(repo, path, **at)).read_bytes()
