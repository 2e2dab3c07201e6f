"""`trl-conformance era`: resolve eras anew, add the row of a new TRL release, renew tox's environments.

Everything is resolved before anything is written: a command that fails changes no file.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from conformance import fixtures
from conformance.matrix import eras as eras_
from conformance.matrix.eras import Era, ResolveError, number

BEGIN = "# >>> eras: written by `trl-conformance era` from fixtures/eras.toml, not by hand"
END = "# <<< eras"
_ROW = "[[era]]\n"


def repository() -> Path:
    """Return the clone that the kit is run from. Raises ResolveError where it is installed without one."""
    root = fixtures().parent
    if not (root / "tox.ini").is_file():
        raise ResolveError("eras are kept in the repository: run this in a clone, with the kit installed from it")
    return root


def with_row(text: str, version: str, day: datetime.date) -> str:
    """Return `eras.toml` with the row of a release: a new one, or that of an older patch of the same minor renewed.

    What a row says beside version and day stays. Raises ResolveError for a patch older than the row's.
    """
    head, *rows = text.split(_ROW)
    rows = [row.strip("\n") + "\n" for row in rows]
    known = eras_.eras(text)
    minor = Era(version, day).minor
    for i, era in enumerate(known):
        if era.minor == minor:
            if number(version) < number(era.trl):
                raise ResolveError(f"trl {version} is older than {era.trl}, which stands for {minor} in eras.toml")
            row = re.sub(r'^trl = ".*"$', f'trl = "{version}"', rows[i], flags=re.M)
            rows[i] = re.sub(r"^released = .*$", f"released = {day}", row, flags=re.M)
            break
    else:
        place = sum(number(era.trl) < number(version) for era in known)
        rows.insert(place, f'trl = "{version}"\nreleased = {day}\n')
    return head + "\n".join(_ROW + row for row in rows)


def tox_block(found: Iterable[Era]) -> str:
    """Return the lines between the markers of `tox.ini`: what each TRL minor's environments install and set.

    They belong to the section [testenv]: tox knows an environment by the factors in such sections alone.
    """
    found = list(found)
    newest = max(found, key=lambda era: number(era.trl))
    pins = [f"    trl{era.minor}: -r fixtures/constraints/{era.constraints}" for era in found]
    env = [f"    trl{era.minor}: {name} = {value}" for era in found for name, value in era.env.items()]
    newest_line = f"era_newest = -r fixtures/constraints/{newest.constraints}"
    return "\n".join([newest_line, "era_pins =", *pins, "era_env =", *env]) + "\n"


def with_block(text: str, block: str) -> str:
    """Return `tox.ini` with another block between the markers. Raises ResolveError if they are not there."""
    before, begin, rest = text.partition(BEGIN + "\n")
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ResolveError(f"tox.ini has no lines {BEGIN!r} and {END!r}: they mark what is written there")
    return before + begin + block + end + after


def renewed(versions: list[str], root: Path, progress: Callable[[Era], None] = lambda era: None) -> dict[Path, str]:
    """Return path -> new text of every file: without `versions` all eras, with them only theirs. Raises ResolveError.

    `progress` is called before an era is resolved.
    """
    folder = root / "fixtures"
    text = (folder / "eras.toml").read_text(encoding="utf-8")
    chosen = set()
    for version in versions:
        release, day = eras_.released(version)
        text = with_row(text, release, day)
        chosen.add(Era(release, day).minor)
    files = {folder / "eras.toml": text} if versions else {}
    for era in eras_.eras(text):
        if era.minor in chosen or not versions:
            progress(era)
            files[folder / "constraints" / era.constraints] = eras_.constraints(era, eras_.settings(text))
    tox = root / "tox.ini"
    files[tox] = with_block(tox.read_text(encoding="utf-8"), tox_block(eras_.eras(text)))
    return files


def changes(path: Path, new: str) -> list[str]:
    """Return the lines that a file gains (`+`) and loses (`-`), sorted by what they say; comments do not count."""
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    before, after = ({line for line in text.splitlines() if line and line[0] != "#"} for text in (old, new))
    marked = [(line, "-") for line in before - after] + [(line, "+") for line in after - before]
    return [f"{mark}{line}" for line, mark in sorted(marked)]


def command(versions: list[str], check: bool) -> int:
    """Run `era`; print what changes. Return 1 if `check` found something to change. Raises ResolveError."""
    root = repository()
    files = renewed(versions, root)
    changed = {path: lines for path, new in files.items() if (lines := changes(path, new))}
    for path, lines in changed.items():
        print(path.relative_to(root), *lines, sep="\n  ")
    if not check:
        for path, new in files.items():
            path.write_text(new, encoding="utf-8")
    days = eras_.settings()["days"]
    for era in eras_.eras(files.get(root / "fixtures" / "eras.toml")):
        if era.until(days) > datetime.date.today() and root / "fixtures" / "constraints" / era.constraints in files:
            print(
                f"the era of {era.trl} lasts until {era.until(days)}: run `trl-conformance era {era.minor}` again then"
            )
    told = f"{len(changed)} of {len(files)} files"
    print(f"{told} would change" if check else f"{told} changed")
    return 1 if check and changed else 0
