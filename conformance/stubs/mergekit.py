"""What TRL's `MergeModelCallback` needs of mergekit, which can be installed beside few releases of TRL.

TRL's own code runs: it waits for the checkpoint, describes the merge and has it made. What is made is an empty folder.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType, SimpleNamespace
from typing import Any


def _run_merge(config: Any, out_path: str, options: Any) -> None:
    os.makedirs(out_path)


def stand() -> None:
    """Let the modules of TRL that ask for mergekit find this in its place, for the rest of the process."""
    for name, module in list(sys.modules.items()):
        asks = isinstance(module, ModuleType) and "is_mergekit_available" in vars(module)
        if asks and name.split(".")[0] == "trl":
            vars(module).update(
                is_mergekit_available=lambda: True,
                MergeConfiguration=SimpleNamespace(model_validate=dict),
                MergeOptions=SimpleNamespace,
                run_merge=_run_merge,
            )
