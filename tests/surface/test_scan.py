"""conformance.surface.scan and store: releases from wheels and folders; what a wheel adds is seen."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from surfaces import made

from conformance.__main__ import main
from conformance.surface import scan, store
from conformance.surface.model import Surface

SOURCE = """
import os
import wandb
if is_wandb_available():
    wandb.init(project=os.getenv("WANDB_PROJECT"), **more).log({"a": 1}, step=2)
"""


def wheel(folder: Path, files: dict[str, str], name: str = "trl", version: str = "1.2.0") -> Path:
    """Write a wheel."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for place, text in files.items():
            archive.writestr(place, text)
        archive.writestr(f"{name}-{version}.dist-info/METADATA", f"Name: {name}\nVersion: {version}\n")
    return path


def test_what_is_written_is_read_again() -> None:
    surface = made(SOURCE)
    assert (len(surface.uses), len(surface.variables)) == (2, 1)
    assert Surface.parse(surface.text()) == surface
    assert all(len(line) < 400 for line in surface.text().splitlines())


def test_a_wheel_and_its_folder_have_one_surface(tmp_path: Path) -> None:
    files = {"trl/__init__.py": "", "trl/trainer/b.py": SOURCE, "trl/trainer/a.py": SOURCE, "other/x.py": SOURCE}
    for place, text in files.items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(text)
    packed = scan.of_wheel(wheel(tmp_path, files))
    assert packed == scan.of_folder("trl", "1.2.0", tmp_path / "trl")
    assert [use.file for use in packed.uses] == ["trl/trainer/a.py"] * 2 + ["trl/trainer/b.py"] * 2


def test_a_file_that_is_no_python_is_told(tmp_path: Path) -> None:
    surface = scan.of_wheel(wheel(tmp_path, {"trl/x.py": "import wandb\nprint 'hello'"}))
    assert surface.unread == ("trl/x.py: Missing parentheses in call to 'print'. Did you mean print(...)? (line 2)",)


@pytest.mark.parametrize(
    "name, line",
    [("numpy", "is a wheel of numpy; scanned are trl, transformers, accelerate"), ("", "is no wheel")],
)
def test_what_cannot_be_scanned_is_told_in_one_line(
    tmp_path: Path, name: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = wheel(tmp_path, {}, name) if name else tmp_path / "x.whl"
    path.touch()
    assert main(["surface", "scan", str(path), "-o", str(tmp_path)]) == 2
    assert line in capsys.readouterr().err


def test_a_planted_requirement_is_found_and_told_as_the_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What stands for a future release: the newest one's own source, with one more call."""
    newest = store.load("trl", store.versions("trl")[-1])
    uses = [use for use in newest.uses if use.module == "trackio"]
    assert uses, "the newest release asks nothing of trackio"
    old = wheel(tmp_path, {"trl/x.py": "import trackio\ntrackio.log({})\n"}, version="9.0.0")
    new = wheel(tmp_path, {"trl/x.py": "import trackio\ntrackio.log({})\ntrackio.alert(title='x')\n"}, version="9.1.0")
    assert main(["surface", "diff", "trl", str(old), str(new)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "trl 9.0.0 -> trl 9.1.0: 1 changes for trackers",
        "trackio",
        "  + alert(title=)                                        trl/x.py:3",
    ]


def test_scanning_writes_only_what_changed_and_takes_the_place_of_an_older_patch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "surface"
    for version in ("1.2.0", "1.2.1"):
        path = wheel(tmp_path, {"trl/x.py": SOURCE}, version=version)
        assert main(["surface", "scan", str(path), "-o", str(out)]) == 0
        assert [file.name for file in out.iterdir()] == [f"trl-{version}.json"]
    capsys.readouterr()
    assert main(["surface", "scan", str(path), "-o", str(out), "--check"]) == 0
    assert capsys.readouterr().out == "1 scanned, 0 would change\n"


def test_every_release_of_the_matrix_was_scanned_and_every_file_was_read() -> None:
    from conformance.matrix.eras import eras

    for era in eras():
        assert store.load("trl", era.minor).version == era.trl
        for line in (store.folder().parent / "constraints" / era.constraints).read_text().splitlines():
            name, _, version = line.partition("==")
            if name in ("transformers", "accelerate"):
                assert store.load(name, store.minor(version))
    assert {f"{s}: {u}" for lib in scan.LIBRARIES for s in store.every(lib) for u in s.unread} == set()


def test_a_release_that_was_not_scanned_says_how(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["surface", "diff", "trl", "1.0", "99.0"]) == 2
    assert "trl 99.0 was not scanned (there are 0.7.1 to" in capsys.readouterr().err


def test_the_difference_of_two_real_releases_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """TRL 1.10 is the first that makes traces (trl/experimental/async_grpo/async_grpo_trainer.py)."""
    assert main(["surface", "diff", "trl", "1.9", "1.10", "--module", "trackio", "--json"]) == 0
    changes = json.loads(capsys.readouterr().out)["changes"]
    assert [c["what"] for c in changes if c["how"] == "added"] == ["Trace(messages=, metadata=)"]
