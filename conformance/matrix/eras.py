"""The era of a TRL release: what was current soon after it came out, resolved from its date.

`fixtures/eras.toml` says which releases there are (the last one of each minor) and what the date alone would get
wrong; `fixtures/constraints/trl-<minor>.txt` is what comes out, names and versions only. Resolving needs `uv` and an
index that tells upload times (PyPI does).
"""

from __future__ import annotations

import datetime
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conformance import fixtures
from conformance.trainers import minor

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYTHON = "3.11"
#: A pin names one version: when that was uploaded does not matter.
ANY_DAY = "9999-01-01"


class ResolveError(RuntimeError):
    """An era could not be resolved; the message is one line: the resolver's, or what is missing."""


@dataclass(frozen=True)
class Era:
    """One TRL minor: `trl` its last release, `released` the day of its upload."""

    trl: str
    released: datetime.date
    also: tuple[str, ...] = ()
    pins: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    why: str = ""

    @property
    def minor(self) -> str:
        """`1.16` for `1.16.0`."""
        return minor(self.trl)

    @property
    def constraints(self) -> str:
        """Name of its constraint file in `fixtures/constraints`."""
        return f"trl-{self.minor}.txt"

    def until(self, days: int) -> datetime.date:
        """Return the day on which the era is over: what is uploaded later does not belong to it."""
        return self.released + datetime.timedelta(days=days)


def number(version: str) -> tuple[int, ...]:
    """Return `(1, 16)` for `1.16`: releases in their order."""
    return tuple(int(part) for part in version.split("."))


def settings(text: str | None = None) -> dict[str, Any]:
    """Return what `eras.toml` says for all eras, and the eras under `era`."""
    found: dict[str, Any] = tomllib.loads(text or (fixtures() / "eras.toml").read_text(encoding="utf-8"))
    return found


def eras(text: str | None = None) -> list[Era]:
    """Return every era of `text` (default: of `eras.toml`), oldest release first."""
    return [
        Era(
            e["trl"],
            e["released"],
            tuple(e.get("also", ())),
            tuple(e.get("pins", ())),
            e.get("env", {}),
            e.get("why", ""),
        )
        for e in settings(text)["era"]
    ]


def _uv(arguments: list[str], requirements: list[str]) -> str:
    """Return what `uv pip compile` prints for some requirements. Raises ResolveError."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv is None:
        raise ResolveError("eras are resolved by uv, which is not installed: pip install uv")
    command = [uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--python-version", PYTHON, *arguments]
    with tempfile.TemporaryDirectory() as folder:  # uv writes some forms of output beside a file's name only
        listed = Path(folder) / "requirements.in"
        listed.write_text("\n".join(requirements) + "\n", encoding="utf-8")
        # uv does not read pip's settings.
        env = {**os.environ, "UV_FIND_LINKS": os.environ.get("UV_FIND_LINKS") or os.environ.get("PIP_FIND_LINKS", "")}
        done = subprocess.run([*command, str(listed)], capture_output=True, text=True, env=env)
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise ResolveError(f"{', '.join(requirements)}: uv: {said}")
    return done.stdout


def resolve(era: Era, common: Mapping[str, Any]) -> list[str]:
    """Return the lines `name==version` of an era. Raises ResolveError.

    `common` is what `settings` returns. Local versions (`+cpu`) are dropped: a plain one serves everywhere.
    """
    arguments = ["--exclude-newer", era.until(common["days"]).isoformat()]
    for name in ("torch", *common["torch_needs"]):
        arguments += ["--exclude-newer-package", f"{name}={common['torch_date']}"]
    for pin in (pin for pin in era.pins if "==" in pin):
        arguments += ["--exclude-newer-package", f"{pin.partition('==')[0]}={ANY_DAY}"]
    wanted = [f"trl=={era.trl}", f"torch=={common['torch']}", *common["always"], *era.also, *era.pins]
    lines = _uv(arguments, wanted).splitlines()
    return [re.sub(r"\+.*", "", line) for line in lines if "==" in line]


def constraints(era: Era, common: Mapping[str, Any]) -> str:
    """Resolve an era and return the text of its constraint file. Raises ResolveError."""
    head = f"# The era of TRL {era.minor}: what was current {common['days']} days after {era.trl} (eras.toml)."
    return "\n".join([head, *resolve(era, common)]) + "\n"


def released(version: str) -> tuple[str, datetime.date]:
    """Return the TRL release that `version` names, and the day on which the index got it.

    A minor (`1.16`) names its newest release. Raises ResolveError if there is none or the index tells no times.
    """
    if not re.fullmatch(r"\d+\.\d+(\.\d+)?", version):
        raise ResolveError(f"{version!r} is no release of TRL: say 1.16.0, or 1.16 for the newest of a minor")
    wanted = version if version.count(".") == 2 else f"{version}.*"
    lock = tomllib.loads(_uv(["--no-deps", "--format", "pylock.toml"], [f"trl=={wanted}"]))
    package = lock["packages"][0]
    files = [package.get("sdist", {}), *package.get("wheels", [])]
    times = [file["upload-time"] for file in files if "upload-time" in file]
    if not times:
        raise ResolveError(f"the index does not tell when trl {package['version']} was uploaded: is it a mirror?")
    day: datetime.date = min(times).date()
    return package["version"], day
