"""What the tests of the Hub have: no waiting between a client's tries."""

from __future__ import annotations

import sys
import time

import pytest


@pytest.fixture(autouse=True)
def no_sleep(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let the client's back-off take no time; return the seconds that it would have slept."""
    slept: list[float] = []
    real = time.sleep

    def sleep(seconds: float) -> None:
        if sys._getframe(1).f_globals.get("__name__", "").startswith("huggingface_hub.utils._http"):
            slept.append(seconds)
        else:
            real(seconds)

    monkeypatch.setattr(time, "sleep", sleep)
    return slept
