"""`trl-conformance record`: golden tapes and schemas of the installed TRL. The one part that trains."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conformance.bench import Sandboxes, record, recorded
from conformance.matrix.schema import dump, schema
from conformance.recipes import repeatable
from conformance.trainers import discover, minor, release

#: The tracker under which TRL makes its module calls.
SCRIBE = "conformance.matrix.scribe:Scribe"


@contextmanager
def _place(preload: str) -> Iterator[tuple[Sandboxes, Path]]:
    with tempfile.TemporaryDirectory() as place:
        sandboxes = Sandboxes(Path(place), preload)
        try:
            yield sandboxes, Path(place)
        finally:
            sandboxes.close()


def _write(folder: Path, text: str) -> Path:
    path = folder / f"trl-{minor(release('trl'))}.json"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def tapes(folder: Path) -> tuple[Path, str]:
    """Train every stable trainer without a tracker and write what it logged; return the file and what is in it.

    Raises RuntimeError if one does not train.
    """
    with _place("conformance.jobs:preload") as (sandboxes, place):
        found = {t.id: record(t, sandboxes, place).to_json() for t in discover() if t.stable}
    return _write(folder, json.dumps(found, indent=0, sort_keys=True) + "\n"), f"{len(found)} tapes"


def schemas(folder: Path) -> tuple[Path, str]:
    """Train every trainer and write its tape's schema; return the file and what is in it.

    A trainer that does not train has the reason in its place.
    """
    found: dict[str, dict[str, Any]] = {}
    with _place("conformance.jobs:preload_all") as (sandboxes, place):
        versions = sandboxes.get({}, place).facts["versions"]
        for trainer in discover():
            known: dict[str, Any] = {"class": trainer.name, "module": trainer.module}
            if not repeatable(trainer):
                known["varies"] = True
            try:
                found[trainer.id] = known | schema(recorded(trainer, sandboxes, place, SCRIBE))
            except RuntimeError as error:
                found[trainer.id] = known | {"untestable": str(error).partition(" does not train: ")[2]}
    path = _write(folder, dump(versions, found))
    untestable = [id for id, entry in found.items() if "untestable" in entry]
    told = f"{len(found) - len(untestable)} schemas"
    return path, told + (f", untestable: {', '.join(untestable)}" if untestable else "")
