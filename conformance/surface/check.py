"""Hold the uses that a scan found against a live module."""

from __future__ import annotations

import importlib
import inspect
from typing import Any


def unserved(uses: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the uses that the importable module does not serve, each with `problem`.

    The first attribute must exist; a call must fit the signature where Python can tell it. What lies deeper
    (`wandb.run.url`) exists only while a run is open and is left to live runs.
    """
    found = []
    for use in uses:
        problem = _problem(use)
        if problem:
            found.append({**use, "problem": problem})
    return found


def _problem(use: dict[str, Any]) -> str:
    try:
        module = importlib.import_module(use["module"])
    except Exception as error:
        return f"import {use['module']} fails: {type(error).__name__}: {error}"
    name = use["chain"][0]
    if not hasattr(module, name):
        try:
            importlib.import_module(f"{use['module']}.{name}")
        except ImportError:
            return f"{use['module']}.{name} does not exist"
    if use["positional"] is None or len(use["chain"]) > 1:
        return ""
    try:
        signature = inspect.signature(getattr(module, name))
    except (TypeError, ValueError):
        return ""
    parameters = list(signature.parameters.values())
    if parameters and parameters[0].name == "self" and not isinstance(getattr(module, name), type):
        # wandb.log before wandb.init is a stand-in that shows the signature of Run.log.
        signature = signature.replace(parameters=parameters[1:])
    try:
        signature.bind(*[None] * use["positional"], **dict.fromkeys(use["keywords"]))
    except TypeError as error:
        return f"{use['module']}.{name}: {error}"
    return ""
