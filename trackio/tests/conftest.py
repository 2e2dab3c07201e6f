"""Each test has a root folder of its own and a module that has seen no run."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import hypothesis.configuration
import pytest

from trackio import context_vars, hooks, run, session


def mountable() -> bool:
    """Tell whether this process may mount: as root, where namespaces are allowed."""
    command = ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"]
    return bool(shutil.which("unshare")) and subprocess.run(command, capture_output=True).returncode == 0


# What needs something that is not on every machine is not part of the suite without it; the first lines
# say so.
CALLERS = ["test_integrations", "test_callback", "test_callback_trl", "test_origin", "test_wandb_callers"]
CALLERS += ["test_hub_callers"]
# The dataset is pushed to the Hub in memory, which is part of trl-conformance, by whatever client there is.
HUB = ["test_hub_shards", "test_hub_push", "test_hub_pull", "test_hub_background", "test_hub_contents"]
HUB += ["test_hub_faults", "test_hub_callers"]
PUSHING = [n for n in ("conformance", "huggingface_hub", "pyarrow") if not importlib.util.find_spec(n)]
WITHOUT = {
    "transformers": [] if importlib.util.find_spec("transformers") else [*CALLERS, "test_cli_import"],
    " and ".join(PUSHING): HUB if PUSHING else [],
    "the right to mount a file system": [] if mountable() else ["test_real_disk"],
    "$TRACKIO_HF_PYTHON, a Python with Hugging Face's Trackio": (
        [] if os.environ.get("TRACKIO_HF_PYTHON") else ["test_real_trackio"]
    ),
}
collect_ignore = [f"{name}.py" for names in WITHOUT.values() for name in names]


def pytest_report_header() -> list[str]:
    """Say which releases the files with real callers run against, and what is not collected and why."""
    names = ("transformers", "trl", "accelerate", "huggingface_hub")
    found = [f"{name} {importlib.metadata.version(name)}" for name in names if importlib.util.find_spec(name)]
    absent = [f"not collected without {what}: {', '.join(files)}" for what, files in WITHOUT.items() if files]
    return [f"integrations: {', '.join(found) or 'none installed'}", *absent]


# Tests write nothing into the working directory: no database, and the tables Hypothesis makes go elsewhere.
hypothesis.configuration.set_hypothesis_home_dir(os.path.join(tempfile.gettempdir(), "trackio-hypothesis"))
# No deadline: shared machines pause. Where nobody watches, every run tries the same examples.
hypothesis.settings.register_profile(
    "here", database=None, deadline=None, max_examples=60, derandomize=bool(os.environ.get("CI"))
)
hypothesis.settings.load_profile("here")


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The root folder, empty and not yet there."""
    folder = tmp_path / "store"
    monkeypatch.setenv("TRACKIO_DIR", str(folder))
    # The sampler has a thread, which belongs to the tests that ask for it.
    monkeypatch.setenv("TRACKIO_SYSTEM", "0")
    names = ("TRACKIO_STRICT", "TRACKIO_FSYNC", "TRACKIO_PROJECT", "TRACKIO_SPACE_ID", "EXPERIMENT_NAME")
    for name in (*names, "TRACKIO_DATASET_REPO", "MONITORING_MODE"):
        monkeypatch.delenv(name, raising=False)
    forget_everything()
    yield folder
    forget_everything()


def forget_everything() -> None:
    """Bring the module into the state of a fresh import."""
    os.environ.pop("TRACKIO_STRICT", None)
    for open_run in list(hooks.OPEN):
        open_run.finish()
    session._current = session._last = session._provisional = session._shown = None
    session._runs.clear()
    # `trackio.config` is the object; its module is reached through sys.modules.
    sys.modules["trackio.config"].bind({}, None)  # type: ignore[attr-defined]
    run._warned.clear()
    context_vars.current_run.set(None)
    context_vars.current_project.set(None)
    context_vars.current_space_id.set(None)


@pytest.fixture
def python(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start a Python process on some code, in an empty working directory."""
    (tmp_path / "work").mkdir()

    def begin(code: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=tmp_path / "work",
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return begin
