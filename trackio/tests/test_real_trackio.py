"""`trackio import` of a store of Hugging Face's Trackio, written now by the Python `$TRACKIO_HF_PYTHON`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from test_cli_import import DATA, bring, check


def test_a_store_of_the_real_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "theirs"
    python = os.environ["TRACKIO_HF_PYTHON"]
    command = [python, str(DATA / "trackio_store.py"), str(place)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    bring(capsys, "trackio", place, "--project", "my.proj")
    check("my.proj", pictures=True)
