"""What the tests of the command share: a run to look at, and what the command printed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import trackio


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def write(project: str = "p", name: str = "n", config: Any = None, steps: int = 5) -> trackio.Run:
    run = trackio.init(project, name, config=config)
    for step in range(steps):
        trackio.log({"loss": 1 / (step + 1), "odd": math.nan if step == 1 else step}, step=step * 10)
    trackio.finish()
    return run


def only_journal(run: Any) -> Path:
    (path,) = Path(run.folder).glob("w-*.jsonl")
    return path
