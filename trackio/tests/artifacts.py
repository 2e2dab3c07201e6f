"""What the tests of artifacts share: trees of files, and what a run has of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import trackio

MIB = 1 << 20


def stored(name: str = "n") -> Any:
    return trackio.Api().run("p", name)


def kept(store: Path) -> list[Path]:
    return sorted(store.rglob("files/*"))


def tree(top: Path | str) -> dict[bytes, bytes | None]:
    """Every file below a folder with its content, and every empty folder, by its path within."""
    found: dict[bytes, bytes | None] = {}
    base = os.fsencode(top)
    for folder, folders, files in os.walk(base):
        inner = os.path.relpath(folder, base)
        for name in files:
            with open(os.path.join(folder, name), "rb") as file:
                found[os.path.normpath(os.path.join(inner, name))] = file.read()
        if not folders and not files and inner != b".":
            found[inner] = None
    return found


def make(top: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    top.mkdir(parents=True, exist_ok=True)
    return top


def counted(run: Any, match: str) -> None:
    """One call was not kept, for a reason that says `match`; and the run goes on."""
    health = run.health()
    assert health["dropped"] == 1 and match in health["last_error"], health
    assert list(stored().artifacts()) == []
    trackio.log({"after": 1})
    assert [value for _, key, value in stored().points() if key == "after"] == [1]
