"""The real client's acts, whichever release of huggingface_hub is installed: in memory, and over loopback."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import play
import pytest

from conformance.hub import Hub

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", play.ACTS)
def test_in_memory(name: str, hub: Hub, tmp_path: Path) -> None:
    hub.part_size = 1000
    hub.add_user("other", play.OTHER)
    play.play(name, tmp_path)
    assert hub.requests


#: Over loopback the acts are played once more where the client has Xet, which is native code that no other door sees.
WAYS = ["plain", *(["xet"] if importlib.util.find_spec("hf_xet") else [])]


@pytest.fixture(scope="session")
def loopback(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Play all acts in one process to the Hub that another one serves; return what became of each."""
    home = tmp_path_factory.mktemp("loopback")
    command = [sys.executable, "-m", "conformance", "hub", "serve", "--part-size", "1000"]
    command += ["--user", "user:hf_user", "--user", f"other:{play.OTHER}"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING", "TRANSFORM"))}
    path = os.pathsep.join([str(ROOT), clean.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**clean, "PYTHONPATH": path}) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        known = {"HF_ENDPOINT": url, "HF_TOKEN": "hf_user", "HF_HOME": str(home), "HF_ENDPOINT_ONLY": "1"}
        known["HF_HUB_DISABLE_XET"] = "0" if request.param == "xet" else "1"
        played = subprocess.run(
            [sys.executable, play.__file__], capture_output=True, text=True, env={**clean, **known}, cwd=home
        )
        server.terminate()
    assert played.returncode == 0, played.stderr
    return json.loads(played.stdout.splitlines()[-1])


@pytest.mark.parametrize("loopback", WAYS, indirect=True, scope="session")
@pytest.mark.parametrize("name", play.ACTS)
def test_over_loopback(name: str, loopback: dict[str, str]) -> None:
    assert not loopback[name], loopback[name]
