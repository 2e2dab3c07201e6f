"""`import wandb` means `trackio.wandb`: in this process and in its children.

Nothing is faked. The folder `stand_in` holds a small package `wandb` with metadata of its own, and `install`
puts that folder first on `sys.path` and on `PYTHONPATH`. So every question has one answer: `find_spec` asks
for the module (transformers 5.23.0, integrations/integration_utils.py, `is_wandb_available`), the metadata
for the distribution (accelerate 1.15.0, utils/imports.py, `_is_package_available`), and what multiprocessing
spawns or a shell starts finds what its parent found.
"""

from __future__ import annotations

import importlib
import os
import sys

from .run import warn_once

#: The folder to put first on `PYTHONPATH` where no call of `install` can be made.
STAND_IN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "stand_in")


def install() -> None:
    """Make `import wandb` mean this module, here and in processes started from now on. Again is harmless.

    Call it before trl, transformers' trainer or accelerate is imported: they look for wandb when they are
    imported, and what looked too early is named in one warning. A wandb that is installed, but not yet
    imported, stays as it is and is not seen until `uninstall`. Raises RuntimeError if a wandb is already
    imported.
    """
    there = sys.modules.get("wandb")
    if there is not None and not _ours(there):
        where = getattr(there, "__file__", None) or "a folder without a module"
        raise RuntimeError(
            f"wandb is already imported ({where}): call trackio.wandb.install() first, before trl, "
            "transformers or accelerate is imported"
        )
    late = _late()
    if STAND_IN not in sys.path:
        sys.path.insert(0, STAND_IN)
    entries = _python_path()
    if STAND_IN not in entries:
        os.environ["PYTHONPATH"] = os.pathsep.join([STAND_IN, *entries])
    importlib.invalidate_caches()
    if not _ours(importlib.import_module("wandb")):
        uninstall()
        raise RuntimeError("import wandb finds another module although this one is first on sys.path")
    if late:
        named = ", ".join(late[:3]) + (f" and {len(late) - 3} more" if len(late) > 3 else "")
        warn_once(
            f"trackio.wandb.install() came too late for {named}: when they were imported they looked for "
            "wandb, and found none. Call it before trl, transformers or accelerate is imported"
        )


def uninstall() -> None:
    """Undo `install`, for imports and processes from now on; a module that imported wandb keeps it."""
    while STAND_IN in sys.path:
        sys.path.remove(STAND_IN)
    entries = _python_path()
    if STAND_IN in entries:
        rest = [entry for entry in entries if entry != STAND_IN]
        if rest:
            os.environ["PYTHONPATH"] = os.pathsep.join(rest)
        else:
            del os.environ["PYTHONPATH"]
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "wandb" and _ours(module):
            del sys.modules[name]
    importlib.invalidate_caches()


def _ours(module: object) -> bool:
    return str(getattr(module, "__file__", None) or "").startswith(STAND_IN + os.sep)


def _python_path() -> list[str]:
    # An empty entry is the working directory, and stays one.
    text = os.environ.get("PYTHONPATH")
    return text.split(os.pathsep) if text else []


def _late() -> list[str]:
    """Return the modules that looked for wandb, found none, and will not look again."""
    late = []
    for name, module in sorted(sys.modules.items()):
        known = vars(module) if hasattr(module, "__dict__") else {}
        if name == "accelerate.tracking":
            if "wandb" not in map(str, known.get("_available_trackers", ())):
                late.append(name)
        elif name.startswith("trl.") and "is_wandb_available" in known and "wandb" not in known:
            late.append(name)
    return late
