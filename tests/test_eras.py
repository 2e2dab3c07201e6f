"""conformance.matrix.eras and renew: what is asked of uv, what is written, and that errors are one line."""

from __future__ import annotations

import datetime
import itertools
import os
import sys
from pathlib import Path

import pytest

from conformance import __main__ as command
from conformance.matrix import eras, renew
from conformance.matrix.eras import Era, ResolveError

TABLE = """# A table.
days = 21
torch = "2.13.0"
torch_date = 2026-11-01
torch_needs = ["sympy"]
always = ["pandas", "pyarrow<26"]

[[era]]
trl = "0.9.6"
released = 2024-07-08
also = ["diffusers"]

[[era]]
trl = "1.9.2"
released = 2026-07-28
pins = ["transformers==5.9.0", "anyio!=4.15.0"]
why = "a reason"

[[era]]
trl = "1.15.0"
released = 2026-10-08
env = { TRITON_INTERPRET = "1" }
"""
TOX = f"""[testenv]
deps = {{[testenv]era_pins}}
{renew.BEGIN}
{renew.END}

[testenv:lint]
"""
#: Answers as uv does: one requirement per line for the era, a lock file for `--no-deps`; writes down what it was asked.
UV = """#!{python}
import os, sys
wanted = open(sys.argv[-1]).read().split()
open(os.environ["ASKED"], "a").write(" ".join([*sys.argv[1:-1], *wanted]) + "\\n")
if "--no-deps" in sys.argv:
    version = {{"trl==1.17.0": "1.17.0", "trl==1.17.*": "1.17.0", "trl==1.15.1": "1.15.1", "trl==0.9.5": "0.9.5"}}
    version.update({{"trl==1.15.0": "1.15.0", "trl==1.10.0": "1.10.0", "trl==1.8.0": "1.8.0"}})
    if wanted[0] not in version:
        sys.exit("error: No solution found\\n  cause: there is no version of " + wanted[0])
    time = "" if wanted[0] == "trl==1.8.0" else ", upload-time = 2026-12-01T10:00:00Z"
    late = "" if wanted[0] == "trl==1.8.0" else ", upload-time = 2026-12-03T10:00:00Z"
    print('lock-version = "1.0"\\n[[packages]]\\nname = "trl"\\nversion = "' + version[wanted[0]] + '"')
    print('sdist = {{ url = "a"' + late + ' }}\\nwheels = [{{ url = "b"' + time + ' }}]')
else:
    print("accelerate==1.0\\ntorch==2.13.0+cpu\\n" + wanted[0])
"""


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with three eras, and a uv that knows a newer release."""
    root = tmp_path / "clone"
    (root / "fixtures" / "constraints").mkdir(parents=True)
    (root / "fixtures" / "eras.toml").write_text(TABLE)
    (root / "tox.ini").write_text(TOX)
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text(UV.format(python=sys.executable))
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", str(uv.parent))
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none" / "python"))
    for module in (eras, renew):
        monkeypatch.setattr(module, "fixtures", lambda: root / "fixtures")
    return root


def asked(clone: Path) -> list[list[str]]:
    """Return the words of every call of uv."""
    return [line.split() for line in (clone.parent / "asked").read_text().splitlines()]


def options(words: list[str], name: str) -> list[str]:
    return [after for word, after in itertools.pairwise(words) if word == name]


def test_an_era_is_what_was_current_some_days_after_its_release(clone: Path) -> None:
    lines = eras.resolve(eras.eras()[1], eras.settings())
    assert lines == ["accelerate==1.0", "torch==2.13.0", "trl==1.9.2"]
    (words,) = asked(clone)
    assert options(words, "--exclude-newer") == ["2026-08-18"]
    assert options(words, "--exclude-newer-package") == [
        "torch=2026-11-01",
        "sympy=2026-11-01",
        f"transformers={eras.ANY_DAY}",
    ]
    assert words[-6:] == ["trl==1.9.2", "torch==2.13.0", "pandas", "pyarrow<26", "transformers==5.9.0", "anyio!=4.15.0"]


def test_all_eras_are_resolved_anew_and_the_second_time_nothing_changes(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["era", "--check"]) == 1
    assert not list((clone / "fixtures" / "constraints").iterdir())
    assert (clone / "tox.ini").read_text() == TOX
    assert command.main(["era"]) == 0
    names = sorted(path.name for path in (clone / "fixtures" / "constraints").iterdir())
    assert names == ["trl-0.9.txt", "trl-1.15.txt", "trl-1.9.txt"]
    text = (clone / "fixtures" / "constraints" / "trl-0.9.txt").read_text()
    assert text.splitlines()[1:] == ["accelerate==1.0", "torch==2.13.0", "trl==0.9.6"]
    assert (clone / "fixtures" / "eras.toml").read_text() == TABLE
    capsys.readouterr()
    assert command.main(["era", "--check"]) == 0
    assert capsys.readouterr().out == "0 of 4 files would change\n"


def test_a_new_release_is_one_command(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["era", "1.17"]) == 0
    assert eras.eras()[-1] == Era("1.17.0", datetime.date(2026, 12, 1))
    assert [path.name for path in (clone / "fixtures" / "constraints").iterdir()] == ["trl-1.17.txt"]
    tox = (clone / "tox.ini").read_text()
    assert "era_newest = -r fixtures/constraints/trl-1.17.txt\n" in tox
    assert "    trl0.9: -r fixtures/constraints/trl-0.9.txt\n" in tox
    assert "era_env =\n    trl1.15: TRITON_INTERPRET = 1\n# <<< eras\n\n[testenv:lint]\n" in tox
    told = capsys.readouterr().out
    assert '+trl = "1.17.0"' in told
    assert "3 of 3 files changed" in told


def test_rows_stand_in_the_order_of_releases() -> None:
    text = renew.with_row(TABLE, "1.10.0", datetime.date(2026, 8, 13))
    assert [era.trl for era in eras.eras(text)] == ["0.9.6", "1.9.2", "1.10.0", "1.15.0"]
    assert text.replace('[[era]]\ntrl = "1.10.0"\nreleased = 2026-08-13\n\n', "") == TABLE


def test_a_patch_replaces_the_older_one_and_keeps_its_row(clone: Path) -> None:
    assert command.main(["era", "1.15.1"]) == 0
    assert eras.eras()[-1] == Era("1.15.1", datetime.date(2026, 12, 1), env={"TRITON_INTERPRET": "1"})
    assert len(eras.eras()) == 3


def test_an_era_that_is_not_over_is_to_be_resolved_again(
    clone: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Today(datetime.date):
        @classmethod
        def today(cls) -> datetime.date:
            return datetime.date(2026, 12, 5)

    monkeypatch.setattr(renew.datetime, "date", Today)
    command.main(["era", "1.17.0"])
    assert (
        "the era of 1.17.0 lasts until 2026-12-22: run `trl-conformance era 1.17` again then" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    "version, line",
    [
        ("1.99.0", "trl==1.99.0: uv: error: No solution found cause: there is no version of trl==1.99.0"),
        ("newest", "'newest' is no release of TRL: say 1.16.0, or 1.16 for the newest of a minor"),
        ("1.8.0", "the index does not tell when trl 1.8.0 was uploaded: is it a mirror?"),
        ("0.9.5", "trl 0.9.5 is older than 0.9.6, which stands for 0.9 in eras.toml"),
    ],
)
def test_wrong_input_ends_in_one_line_and_changes_nothing(
    clone: Path, capsys: pytest.CaptureFixture[str], version: str, line: str
) -> None:
    assert command.main(["era", version]) == 2
    assert capsys.readouterr().err == f"trl-conformance era: {line}\n"
    assert (clone / "fixtures" / "eras.toml").read_text() == TABLE
    assert (clone / "tox.ini").read_text() == TOX


def test_without_uv_it_says_how_to_get_it(
    clone: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(clone))
    assert command.main(["era"]) == 2
    assert capsys.readouterr().err == (
        "trl-conformance era: eras are resolved by uv, which is not installed: pip install uv\n"
    )


def test_a_tox_file_without_markers_and_a_kit_without_clone_are_errors(clone: Path) -> None:
    with pytest.raises(ResolveError, match="has no lines"):
        renew.with_block("[testenv]\n", "x\n")
    os.remove(clone / "tox.ini")
    with pytest.raises(ResolveError, match="run this in a clone"):
        renew.repository()


def test_the_files_of_this_clone_are_of_its_eras() -> None:
    """Without an index: every era has its file with its TRL and its pins, every file its era, tox every environment."""
    root = Path(__file__).parent.parent
    found = eras.eras((root / "fixtures" / "eras.toml").read_text(encoding="utf-8"))
    folder = root / "fixtures" / "constraints"
    assert {path.name for path in folder.glob("*.txt")} == {era.constraints for era in found}
    for era in found:
        lines = (folder / era.constraints).read_text(encoding="utf-8").splitlines()
        assert f"trl=={era.trl}" in lines
        assert {pin for pin in era.pins if "==" in pin} <= set(lines)
    numbers = [eras.number(era.minor) for era in found]
    assert numbers == sorted(set(numbers))
    tox = (root / "tox.ini").read_text(encoding="utf-8")
    assert renew.with_block(tox, renew.tox_block(found)) == tox
