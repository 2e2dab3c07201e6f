"""The surface of the TRL, transformers and accelerate that are installed beside the kit's own tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.__main__ import main
from conformance.surface import coverage, scan, store


@pytest.mark.parametrize("library", scan.LIBRARIES)
def test_the_installed_release_is_as_it_was_scanned(library: str) -> None:
    surface = scan.of_installed(library)
    assert surface == store.load(library, surface.version)


def test_the_installed_release_uses_trackio() -> None:
    assert {use.names[0] for use in scan.uses(("trackio",))} >= {"init", "log", "finish", "Table", "Trace"}
    assert scan.uses(("no_tracker_of_this_name",)) == ()


@pytest.mark.parametrize("what", [["trackio"], ["wandb", "--before", "trackio.wandb:install"]])
def test_the_reference_serves_all_that_every_release_asks(what: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["surface", "check", *what]) == 0
    assert " · 0 gaps · " in capsys.readouterr().out


def test_the_reference_under_the_name_of_wandb_lacks_what_wandb_has(capsys: pytest.CaptureFixture[str]) -> None:
    """`import trackio as wandb` has `run`, but that is a module: never None, and without a url."""
    assert main(["surface", "check", "trackio", "--as", "wandb"]) == 1
    told = capsys.readouterr().out
    assert "  trackio.run has no url\n      trl 0.20 - 1.16 " in told
    assert "  trackio has no Table" not in told


def test_what_nobody_asks_anything_of_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["surface", "check", "json"]) == 2
    assert (
        "nobody asks anything of json: say what it stands for, --as NAME of trackio, wandb" in capsys.readouterr().err
    )


def test_a_training_reaches_sites_and_uses_nothing_that_no_scan_saw(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["surface", "reach", "--trainer", "sft", "-o", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("trl-*.json")
    told = coverage.read(path)
    assert told["ended"]["sft train"] == ""
    covered = [coverage.cover(told["surfaces"][library], told["asked"], []) for library in ("trl", "transformers")]
    assert [one.unseen for one in covered] == [[], []]
    reached = {str(use) for one in covered for use in one.reached}
    assert {"wandb.run.url", "trackio.init(bucket_id=, name=, private=, project=, resume=, space_id=)"} <= reached
    assert main(["surface", "coverage", str(path)]) == 1, "one trainer alone does not reach every site"
    assert "## Not reached, without a reason" in capsys.readouterr().out
