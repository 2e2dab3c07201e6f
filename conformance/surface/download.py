"""Wheels of releases, by pip, from wherever it is told to look. Nothing of them is installed."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

#: `trl==1.16.0`; a bare name is what is installed.
PINNED = re.compile(r"([A-Za-z_]+)==([0-9][0-9A-Za-z.]*)")


class DownloadError(RuntimeError):
    """A wheel could not be had; the message is pip's last line."""


@contextlib.contextmanager
def wheels(what: Sequence[str], keep: Path | None = None) -> Iterator[Iterator[str]]:
    """Yield the sources to scan, in the order of `what`: paths of wheels, and names of installed libraries as they are.

    Wheels that are not in `keep` yet are downloaded into it, or into a folder that is removed afterwards. Raises
    DownloadError while they are taken.
    """
    with contextlib.ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        yield (_wheel(word, folder) for word in what)


def _wheel(word: str, folder: Path) -> str:
    pinned = PINNED.fullmatch(word)
    if not pinned:
        return word
    name, version = pinned.groups()
    if there := sorted(folder.glob(f"{name}-{version}-*.whl")):
        return str(there[0])
    how = ["download", "--quiet", "--no-deps", "--only-binary", ":all:", "--disable-pip-version-check", "--dest"]
    done = subprocess.run([*_pip(), *how, str(folder), word], capture_output=True, text=True, check=False)
    there = sorted(folder.glob(f"{name}-{version}-*.whl"))
    if done.returncode or not there:
        said = [line for line in done.stderr.strip().splitlines() if line.startswith("ERROR")] or [done.stderr.strip()]
        raise DownloadError(f"{word}: {said[-1]}")
    return str(there[0])


def _pip() -> list[str]:
    """Return the command that is pip: this Python's, or, as environments made by uv have none, one on the path."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    if found := shutil.which("pip"):
        return [found]
    raise DownloadError("downloading a release needs pip, and there is none: install pip, or name wheels instead")
