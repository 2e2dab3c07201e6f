"""`trackio.wandb.install`: the module in wandb's place, for this process and for those it starts."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trackio
from trackio import wandb

Python = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    wandb._said.clear()


def only(project: str = "p") -> Any:
    (run,) = trackio.Api().runs(project)
    return run


def said(process: subprocess.Popen[str]) -> Any:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return json.loads(out)


def path(*folders: str) -> str:
    """Folders for `PYTHONPATH`, before those that are on it."""
    return os.pathsep.join([*folders, *filter(None, [os.environ.get("PYTHONPATH")])])


LOOK = """
import importlib.metadata, importlib.util, json, sys
spec = importlib.util.find_spec("wandb")
try: version = importlib.metadata.version("wandb")
except importlib.metadata.PackageNotFoundError: version = None
import trackio.wandb
ours = spec is not None and spec.origin.startswith(trackio.wandb.STAND_IN)
facts = [ours, version]
if spec is not None:
    import wandb
    from wandb.sdk.lib.config_util import ConfigError
    import wandb.env, wandb.errors, wandb.util
    facts += [hasattr(wandb, "run") and wandb.run is None, wandb.init is trackio.wandb.init]
"""
TOLD = [True, wandb.__version__, True, True]


def test_the_metadata_says_the_same_version() -> None:
    (found,) = importlib.metadata.distributions(path=[wandb.STAND_IN])
    assert (found.metadata["Name"], found.version) == ("wandb", wandb.__version__)
    assert importlib.metadata.version("trackio") != found.version


def test_install_reaches_children_grandchildren_and_what_is_spawned(python: Python) -> None:
    child = LOOK + "print(json.dumps(facts))"
    code = (
        "import trackio.wandb\ntrackio.wandb.install()\ntrackio.wandb.install()\n"
        + LOOK
        + "import multiprocessing, subprocess\n"
        + f"child = {child!r}\n"
        + "parent = 'import subprocess, sys; print(subprocess.check_output([sys.executable, \"-c\", '"
        + "  + repr(child) + '], text=True))'\n"
        + "for code in (child, parent):\n"
        + "    facts.append(json.loads(subprocess.check_output([sys.executable, '-c', code], text=True)))\n"
        + "with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        + "    facts.append(pool.apply(importlib.metadata.version, ('wandb',)))\n"
        + "    facts.append(pool.apply(eval, (\"__import__('wandb').__file__ == %r\" % wandb.__file__,)))\n"
        + "facts.append(sys.path.count(trackio.wandb.STAND_IN))\n"
        + "print(json.dumps(facts))\n"
    )
    assert said(python(code)) == [*TOLD, TOLD, TOLD, wandb.__version__, True, 1]


def test_the_folder_alone_is_enough(python: Python) -> None:
    code = LOOK + "print(json.dumps([*facts, wandb.Table is trackio.wandb.Table]))"
    assert said(python(code, PYTHONPATH=path(wandb.STAND_IN))) == [*TOLD, True]


def test_uninstall_undoes_it(python: Python, tmp_path: Path) -> None:
    code = (
        "import os, sys, trackio.wandb as ours\n"
        "before = list(sys.path), os.environ.get('PYTHONPATH') or None\n"
        "ours.install(); import wandb.errors; ours.uninstall(); ours.uninstall()\n"
        "assert (list(sys.path), os.environ.get('PYTHONPATH')) == before\n"
        "assert not [name for name in sys.modules if name.startswith('wandb')]\n"
        "try: import wandb\n"
        "except ModuleNotFoundError: print('true')\n"
    )
    for value in (path(), path(str(tmp_path)), path("", str(tmp_path))):
        assert said(python(code, PYTHONPATH=value)) is True


@pytest.fixture
def real(tmp_path: Path) -> str:
    """A folder with something that is installed as wandb."""
    folder = tmp_path / "site"
    (folder / "wandb").mkdir(parents=True)
    (folder / "wandb" / "__init__.py").write_text("run = None\n")
    (folder / "wandb-0.20.0.dist-info").mkdir()
    (folder / "wandb-0.20.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: wandb\nVersion: 0.20.0\n"
    )
    return str(folder)


def test_a_wandb_that_is_installed_is_hidden_until_uninstall(python: Python, real: str) -> None:
    code = (
        "import trackio.wandb\ntrackio.wandb.install()\n"
        + LOOK
        + "trackio.wandb.uninstall()\nimport wandb\n"
        + "print(json.dumps([*facts, importlib.metadata.version('wandb'), wandb.__file__]))"
    )
    expected = [*TOLD, "0.20.0", os.path.join(real, "wandb", "__init__.py")]
    assert said(python(code, PYTHONPATH=path(real))) == expected


def test_a_wandb_that_is_imported_is_an_error_that_says_what_to_do(python: Python, real: str) -> None:
    code = (
        "import os, sys, wandb, trackio.wandb\n"
        "before = list(sys.path), dict(os.environ)\n"
        "try: trackio.wandb.install()\n"
        "except RuntimeError as error: print(error, file=sys.stderr)\n"
        "assert before == (list(sys.path), dict(os.environ)) and sys.modules['wandb'] is wandb\n"
    )
    process = python(code, PYTHONPATH=path(real))
    err = process.communicate(timeout=60)[1]
    assert process.returncode == 0 and len(err.splitlines()) == 1
    assert f"already imported ({real}" in err and "install() first" in err


def test_who_looked_too_early_is_named_once(python: Python) -> None:
    code = (
        "import sys, types, warnings, trackio.wandb\n"
        "def module(name, **values):\n"
        "    sys.modules[name] = types.ModuleType(name)\n"
        "    vars(sys.modules[name]).update(values)\n"
        "module('trl.trainer.grpo_trainer', is_wandb_available=bool)\n"
        "module('trl.trainer.utils')\n"
        "module('trl.has_it', is_wandb_available=bool, wandb=1)\n"
        "module('accelerate.tracking', _available_trackers=['trackio'])\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    trackio.wandb.install(); trackio.wandb.install()\n"
        "import json; print(json.dumps([str(item.message) for item in caught]))\n"
    )
    (text,) = said(python(code))
    assert "too late for accelerate.tracking, trl.trainer.grpo_trainer: " in text


def test_importing_the_surface_imports_nothing_heavy(python: Python) -> None:
    code = "import trackio.wandb, json, sys; print(json.dumps(sorted(sys.modules)))"
    heavy = {"numpy", "pandas", "torch", "PIL", "pyarrow", "importlib.metadata", "asyncio", "multiprocessing"}
    assert heavy & set(said(python(code))) == set()
