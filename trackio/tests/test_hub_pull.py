"""There and back: what is pulled is what was pushed, byte for byte; and the commands."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy
import pytest
from conformance.hub import Reset
from hubs import REPO, here, machine, more, no_waiting, push, pusher, there, twice, unload

import trackio
from trackio.cli import main
from trackio.hub import pull
from trackio.journal import journals


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    no_waiting(monkeypatch)
    monkeypatch.delenv("TRACKIO_DATASET_REPO", raising=False)


def rich(top: Path, name: str = "n") -> Any:
    """Return a finished run of everything that can be logged."""
    run = trackio.init("p", name, config={"lr": 1e-4, "none": None})
    trackio.log(
        {"nan": math.nan, "inf": -math.inf, "zero": -0.0, "big": 2**70, "none": None, "text": "NaN"}, step=1
    )
    trackio.log({"f32": numpy.float32(0.1), "bool": True, "list": [1, {"$": 2}], 3: "a key", "\ud800": 1})
    trackio.log(
        {
            "a": 0.5,
            "t": trackio.Table(columns=["x"], data=[[math.nan]]),
            "b": 1,
            "image": trackio.Image(b"\x89PNG"),
        }
    )
    trackio.log({"large": numpy.arange(100_000), "bytes": b"x" * 100_000})
    trackio.log({})
    trackio.log({"step": "falls"}, step=0)
    run.log_system({"gpu/0/power": 100.5})
    source = top / "model"
    source.mkdir()
    (source / "weights").write_bytes(b"w" * 1000)
    run.log_artifact(source, type="model", metadata={"a": math.inf})
    trackio.finish()
    return run


def contents(folder: Any) -> dict[str, bytes]:
    """Return what a run's folder holds, without the marks of pushes."""
    top = Path(folder)
    files = [path for path in top.rglob("*") if path.is_file() and not path.name.startswith("push.")]
    return {str(path.relative_to(top)): path.read_bytes() for path in files}


def test_there_and_back(hub: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = rich(tmp_path)
    assert main(["push", "p", "--repo", "data"]) == 0
    assert main(["pull", REPO, "--root", str(tmp_path / "two")]) == 0
    back = trackio.Api(tmp_path / "two").run("p", "n")
    assert contents(back.folder) == contents(run.folder) and back.id == run.id
    assert [repr(point) for point in back.points()] == [
        repr(point) for point in trackio.Api().run("p", "n").points()
    ]
    assert back.status == "finished" and not back.damage
    out = capsys.readouterr().out.splitlines()
    assert out == ["user/data: 1 run, 11 records sent in 1 commit", "p / n: 11 records and 3 files came in"]
    assert main(["verify", "--root", str(tmp_path / "two")]) == 0


def test_again_there_is_nothing_to_do(hub: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rich(tmp_path)
    two = str(tmp_path / "two")
    for _ in range(2):
        main(["push", "p", "--repo", "data"])
        main(["pull", REPO, "--root", two])
        main(["push", "--root", two])
    out = capsys.readouterr().out.splitlines()
    assert out[2:] == [
        "user/data: 1 run, 0 records sent in 0 commits",
        "user/data: 1 run, 0 records sent in 0 commits",
        "p / n: 0 records and 0 files came in",
        "user/data: 1 run, 0 records sent in 0 commits",
    ]
    assert len(hub.commits(REPO)) == 2


def test_a_run_that_is_gone_on_with_elsewhere_comes_back_whole(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = rich(tmp_path)
    main(["push", "--repo", REPO])
    home, two = str(Path(run.folder).parents[1]), str(tmp_path / "two")
    main(["pull", REPO, "--root", two])
    monkeypatch.setenv("TRACKIO_DIR", two)
    other = trackio.init("p", "n", resume="must", dataset_id=REPO)
    trackio.log({"from": "elsewhere"})
    trackio.finish()
    assert len(hub.state.repos) == 1 and len({key for key, _ in there(hub)}) == 1, "it is one run"
    main(["pull", REPO, "--root", home])
    assert contents(run.folder) == contents(other.folder) and len(journals(run.folder)) == 2


def test_runs_of_one_name_from_two_machines_are_two(hub: Any, tmp_path: Path) -> None:
    runs = [machine(tmp_path / str(number), logs=number + 1) for number in range(2)]
    for run in runs:
        run.finish()
        push(pusher(run))
    assert main(["pull", REPO, "--root", str(tmp_path / "all")]) == 0
    found = trackio.Api(tmp_path / "all").runs("p")
    assert [run.name for run in found] == ["n", "n"] and len({run.id for run in found}) == 2
    assert sorted(len(list(run.points())) for run in found) == [2, 4]
    assert trackio.Api(tmp_path / "all").run("p", "n").folder != runs[1].folder


def test_what_is_here_is_never_less_for_it(hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = machine(tmp_path)
    run.finish()
    its = pusher(run)
    push(its)
    more(run, 5)
    run.finish()
    before = contents(run.folder)
    assert main(["pull", REPO, "--root", str(tmp_path)]) == 0
    assert contents(run.folder) == before, "the dataset is behind"
    (path,) = Path(str(run.folder)).glob("w-*")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4] + lines[6:]))
    main(["pull", REPO, "--root", str(tmp_path)])
    assert contents(run.folder) != before, "its writer, this process, may be about to write"
    monkeypatch.setattr(pull, "_alive", lambda who, path: False)
    assert main(["pull", REPO, "--root", str(tmp_path)]) == 0
    assert contents(run.folder) == before, "lost lines come back, later ones stay"


def test_one_project_of_several(hub: Any, tmp_path: Path) -> None:
    for project in ("p", "q"):
        trackio.init(project, "n")
        trackio.finish()
    main(["push", "--repo", REPO])
    assert main(["pull", REPO, "q", "--root", str(tmp_path / "two")]) == 0
    assert trackio.Api(tmp_path / "two").projects() == ["q"]


def test_a_pull_that_breaks_off_is_taken_up(hub: Any, tmp_path: Path) -> None:
    run = rich(tmp_path)
    main(["push", "--repo", REPO])
    two = str(tmp_path / "two")
    number = 0
    while True:
        number += 1
        fault = hub.fail("GET *", on=number, times=50, with_=Reset())
        code = main(["pull", REPO, "--root", two])
        struck = fault.hits
        hub.calm()
        assert main(["pull", REPO, "--root", two]) == 0
        assert contents(trackio.Api(two).run("p", "n").folder) == contents(run.folder)
        shutil.rmtree(two)
        shutil.rmtree(Path(hub_home(hub)), ignore_errors=True)
        if not struck:
            break
        assert code == 2
    assert number > 5


def hub_home(hub: Any) -> str:
    import huggingface_hub

    return str(huggingface_hub.constants.HF_HUB_CACHE)


def test_push_finds_out_where_each_run_goes(hub: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "ab":
        trackio.init("p", name, dataset_id=name)
        trackio.log({"name": name})
        trackio.finish()
        run = trackio.init("p", name)
        trackio.log({"late": 1})
        trackio.finish()
        run._pushing = None
    trackio.init("p", "nowhere")
    trackio.finish()
    assert main(["push"]) == 0
    assert sorted(line.split(":")[0] for line in capsys.readouterr().out.splitlines()) == ["user/a", "user/b"]
    for name in "ab":
        assert len(there(hub, f"user/{name}")) == 1 and not twice(hub, f"user/{name}")


def test_push_public_and_large(hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trackio.hub import push as push_module

    monkeypatch.setattr(push_module, "LARGE", 10)
    rich(tmp_path)
    assert main(["push", "--repo", REPO, "--public", "--large"]) == 0
    assert not hub.repo(REPO).private
    assert len([path for path in hub.files(REPO) if path.startswith("files/")]) == 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["push"], "no run says which dataset it goes to: --repo USER/NAME or $TRACKIO_DATASET_REPO"),
        (["push", "nothing", "--repo", "x"], "no project 'nothing'"),
        (["push", "--repo", "a/b/c"], "Repo id must be in the form"),
        (["push", "--repo", "others/x"], "others/x"),
        (["pull", "user/none"], "user/none"),
        (["pull", "user/empty"], "the dataset 'user/empty' has no runs"),
        (["pull", REPO, "other"], "has no runs of project 'other'"),
    ],
)
def test_what_the_user_can_put_right_is_one_line(
    hub: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    run = machine(tmp_path / "other")
    run.finish()
    push(pusher(run))
    hub.create("user/empty", "dataset")
    trackio.init("p", "n")
    trackio.finish()
    capsys.readouterr()
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("trackio: error: ") and says in err and err.count("\n") == 1


@pytest.mark.parametrize("command", [["push", "--repo", "x"], ["pull", "user/x"]])
def test_the_commands_without_the_extra(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trackio.init("p", "n")
    trackio.finish()
    unload("huggingface_hub", monkeypatch)
    assert main(command) == 2
    assert capsys.readouterr().err == (
        "trackio: error: this needs huggingface_hub: pip install 'trackio[hub]'"
        + (" (0 records sent before that)" if command[0] == "push" else "")
        + "\n"
    )


def test_a_push_waits_out_what_passes(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from trackio.cli import hub as commands

    waited: list[float] = []
    monkeypatch.setattr(commands.time, "sleep", waited.append)
    run = trackio.init("p", "n")
    trackio.finish()
    hub.fail("GET /api/datasets/*", status=429, retry_after=9, times=2)
    assert main(["push", "--repo", REPO]) == 0
    assert len(waited) == 2 and min(waited) >= 9 and there(hub) == here(run)
