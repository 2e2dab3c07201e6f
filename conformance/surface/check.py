"""Hold the uses that a scan found against a live module of the process that this runs in."""

from __future__ import annotations

import importlib
from typing import Any

from conformance.surface.model import Use
from conformance.surface.resolve import Missing, Unknown, serves


def unserved(uses: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return those of `uses` (plain data) that the importable module of their name does not serve, with `problem`.

    What is asked for only if it is there (`hasattr`) is never missing. What exists only while a run is open, and is
    told by no annotation, is left to live runs.
    """
    found = []
    for told in uses:
        if told["kind"] != "probe" and (problem := _problem(Use.from_json(told))):
            found.append({**told, "problem": problem})
    return found


def _problem(use: Use) -> str:
    try:
        module = importlib.import_module(use.module)
    except Exception as error:
        return f"import {use.module} fails: {type(error).__name__}: {error}"
    try:
        serves(module, use, use.module)
    except Missing as error:
        return str(error)
    except Unknown:
        pass
    return ""
