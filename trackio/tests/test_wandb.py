"""wandb's surface without its callers: runs, steps, values, the summary.

See `test_wandb_install.py` and `test_wandb_callers.py` for the rest.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hubs
import numpy
import pandas
import pytest

import trackio
from trackio import _wandb_run, wandb

Python = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    wandb._said.clear()


def only(project: str = "p") -> Any:
    (run,) = trackio.Api().runs(project)
    return run


def said(process: subprocess.Popen[str]) -> Any:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return json.loads(out)


def path(*folders: str) -> str:
    """Folders for `PYTHONPATH`, before those that are on it."""
    return os.pathsep.join([*folders, *filter(None, [os.environ.get("PYTHONPATH")])])


# -- the run
# ------------------------------------------------------------------------------------------------------------


def test_run_is_none_before_init_and_after_finish() -> None:
    assert wandb.run is None
    wandb.finish()
    run = wandb.init(project="p", name="n")
    assert wandb.run is run and wandb.run is not None and run.config is wandb.config is trackio.config
    wandb.finish()
    assert wandb.run is None and only().status == "finished"


def test_identity() -> None:
    run = wandb.init(project="p", name="n", entity="e", group="g", job_type="j", tags=("a", "b"), notes="t")
    stored = only()
    assert (run.id, run.name, run.project, run.entity) == (stored.id, "n", "p", "e")
    assert str(run) == run.id and run.path == f"e/p/{run.id}" and run.dir == stored.folder
    assert (run.group, run.job_type, run.tags, run.notes) == ("g", "j", ("a", "b"), "t")
    facts = {"entity": "e", "group": "g", "job_type": "j", "tags": ["a", "b"], "notes": "t"}
    assert stored.config == {"_wandb": facts}
    # It would end in a published model card.
    assert run.url is None and run.get_url() is None
    run.name = "shown"
    assert run.name == "shown" and only().name == "n" and only().config["_wandb"]["name"] == "shown"
    assert run.tags == ("a", "b")


def test_the_entity_is_text_without_one() -> None:
    run = wandb.init(project="p")
    assert run.entity + "/" + run.project == "local/p" and run.tags == () and run.group is None
    assert only().config == {}


def test_a_name_is_no_identity() -> None:
    for value in (1, 2):
        with wandb.init(project="p", name="n"):
            wandb.log({"a": value})
    assert [[v for *_, v in run.points()] for run in trackio.Api().runs("p")] == [[1], [2]]


def test_an_open_run_is_returned_unless_reinit(capsys: pytest.CaptureFixture[str]) -> None:
    first = wandb.init(project="p", name="a")
    assert wandb.init(project="p", name="b") is first and "finish()" in capsys.readouterr().err
    second = wandb.init(project="p", name="b", reinit=True)
    assert second is not first and [run.status for run in trackio.Api().runs("p")] == ["finished", "running"]


def test_an_older_run_of_a_name_goes_on_by_its_id() -> None:
    ids = []
    for _ in range(3):
        with wandb.init(project="p", name="n", tags=["t"]) as run:
            ids.append(run.id)
            run.log({"a": 0}, step=4)
    with wandb.init(project="p", id=ids[1], resume="must") as run:
        assert (run.id, run.name, run.tags) == (ids[1], "n", ("t",))
        run.log({"b": 1})
    stored = {run.id: [point[:2] for point in run.points()] for run in trackio.Api().runs("p")}
    assert stored == {ids[0]: [(4, "a")], ids[1]: [(4, "a"), (4, "b")], ids[2]: [(4, "a")]}


def test_an_id_of_the_caller_s() -> None:
    with wandb.init(project="p", id="mine", name="shown", resume="allow") as run:
        assert (run.id, run.name) == ("mine", "shown")
        run.log({"a": 1})
    with wandb.init(project="p", id="mine", resume="must") as run:
        assert (run.id, run.name) == ("mine", "shown")
        run.log({"a": 2})
    assert [value for *_, value in only().points()] == [1, 2]
    with pytest.raises(wandb.UsageError, match="no run 'other'"):
        wandb.init(project="p", id="other", resume="must")


def test_settings_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "from-environment")
    monkeypatch.setenv("WANDB_NAME", "never")
    monkeypatch.setenv("WANDB_TAGS", "a,b")
    run = wandb.init(settings=wandb.Settings(run_name="from-settings"), entity="given")
    assert (run.project, run.name, run.entity) == ("from-environment", "from-settings", "given")
    assert run.tags == ("a", "b")


def test_disabled_leaves_nothing(python: Python, store: Path, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    code = (
        "import json, trackio.wandb as wandb\n"
        "run = wandb.init(project='p', mode='disabled')\n"
        "run.log({'a': 1}, step=3)\n"
        "print(json.dumps([run.summary['a'], run.dir]))\n"
    )
    value, folder = said(python(code, TMPDIR=str(tmp_path / "tmp")))
    assert value == 1 and folder.startswith(str(tmp_path / "tmp"))
    assert not store.exists() and list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("failing", [False, True])
def test_the_ends_of_a_run(failing: bool) -> None:
    try:
        with wandb.init(project="p"):
            if failing:
                raise KeyError
    except KeyError:
        pass
    assert only().status == ("failed" if failing else "finished")
    run = wandb.init(project="q")
    run.finish(exit_code=int(failing))
    assert only("q").status == ("failed" if failing else "finished")


def test_what_comes_before_init_belongs_to_the_run_and_is_none() -> None:
    wandb.log({"profiling": 1.5})
    assert wandb.run is None, "transformers would not call init"
    wandb.init(project="p", name="n")
    assert list(only().points()) == [(None, "profiling", 1.5)] and wandb.run.name == "n"


# -- values
# ------------------------------------------------------------------------------------------------------------


def test_steps_are_never_counted() -> None:
    wandb.init(project="p")
    wandb.log({"a": 1})
    wandb.log({"a": 2, "train/global_step": 5})
    wandb.log({"a": 3}, commit=False)
    wandb.log({"a": 4}, step=2)
    wandb.run.log({"a": 5}, step=None, sync=True)
    found = [(step, value) for step, key, value in only().points() if key == "a"]
    assert found == [(None, 1), (5, 2), (5, 3), (2, 4), (2, 5)]


def test_frames_and_tables_are_kept_as_tables() -> None:
    wandb.init(project="p")
    frame = pandas.DataFrame(columns=["step", "prompt"], data=[("1", "x"), ("1", "y")])
    table = wandb.Table(["a"], [[1], [2]])
    table.add_data(3)
    wandb.log({"bare": frame, "data": wandb.Table(data=frame), "table": table})
    table.add_column("b", "xyz")
    wandb.log({"table": table, "rows": wandb.Table(columns=["c"], rows=[[math.nan]])})
    found = [(key, kept.columns, repr(kept.rows)) for _, key, kept in only().tables()]
    assert found == [
        ("bare", ["step", "prompt"], "[['1', 'x'], ['1', 'y']]"),
        ("data", ["step", "prompt"], "[['1', 'x'], ['1', 'y']]"),
        ("table", ["a"], "[[1], [2], [3]]"),
        ("table", ["a", "b"], "[[1, 'x'], [2, 'y'], [3, 'z']]"),
        ("rows", ["c"], "[[nan]]"),
    ]
    assert table.data == [[1, "x"], [2, "y"], [3, "z"]]
    with pytest.raises(ValueError, match="2 cells"):
        table.add_column("d", [1, 2])


def test_images_and_histograms() -> None:
    wandb.init(project="p")
    pixels = numpy.arange(12, dtype="uint8").reshape(2, 2, 3)
    with pytest.warns(UserWarning, match="'boxes'"):
        image = wandb.Image(pixels, "RGB", caption="c", boxes={})
    wandb.log({"images": [image], "weights": wandb.Histogram([1.0, 2.0], num_bins=2)})
    (_, images, (kept,)), (_, _, histogram) = only().media()
    assert (images, kept.caption, kept.format) == ("images", "c", "png") and histogram.histogram == [1, 1]
    assert kept.data == trackio.Image(pixels).data


def test_the_configuration() -> None:
    wandb.init(project="p", config=Namespace(lr=0.1, token="secret"), config_exclude_keys=["token"])
    wandb.config.update({"lr": 0.2, "layers": None}, allow_val_change=True)
    wandb.config["model/num_parameters"] = 2
    wandb.config.seed = 3
    assert only().config == {"lr": 0.2, "layers": None, "model/num_parameters": 2, "seed": 3}
    assert wandb.config.get("model/num_parameters") == 2 and wandb.config.lr == 0.2
    wandb.init(project="q", config={"a": 1, "b": 2}, config_include_keys=["b"], reinit=True)
    assert only("q").config == {"b": 2}


def test_artifacts(tmp_path: Path) -> None:
    run = wandb.init(project="p")
    (tmp_path / "file.txt").write_text("text")
    artifact = wandb.Artifact(name="model-x", type="model", metadata={"n": 1})
    with artifact.new_file("deep.bin", mode="wb") as file:
        file.write(b"\0")
    assert run.log_artifact(artifact, aliases=["base"]) is artifact
    wandb.log_artifact(tmp_path / "file.txt", type="data")
    model, data = only().artifacts()
    assert (model.name, model.type, model.metadata, model.file("deep.bin").read()) == (
        "model-x",
        "model",
        {"n": 1},
        b"\0",
    )
    assert "base" in model.aliases
    assert (data.name, data.type, data.file("file.txt").read()) == ("file.txt", "data", b"text")


# -- the summary
# ------------------------------------------------------------------------------------------------------------


def test_the_summary_is_the_last_of_what_was_logged_and_set() -> None:
    assert dict(wandb.summary) == {}
    run = wandb.init(project="p")
    wandb.log({"loss": 2.0, "train/global_step": 1})
    run.summary["train_loss"] = 0.5
    wandb.summary["loss"] = 9.0
    expected = {"loss": 9.0, "train/global_step": 1, "train_loss": 0.5}
    assert dict(wandb.summary) == dict(run.summary) == expected
    wandb.log({"loss": math.inf})
    wandb.summary.update({"best": {"a": [1]}}, worst=None)
    assert wandb.summary["loss"] == math.inf and wandb.summary["best"] == {"a": [1]}
    assert wandb.summary.get("no") is None and "worst" in wandb.summary and len(wandb.summary) == 5
    with pytest.raises(KeyError):
        wandb.summary["no"]
    # What is set belongs to no step, and is no step.
    points = [point for point in only().points() if point[1] in ("train_loss", "loss")]
    assert points == [(1, "loss", 2.0), (None, "train_loss", 0.5), (None, "loss", 9.0), (1, "loss", math.inf)]


def test_the_summary_knows_what_was_before_and_what_others_write(python: Python) -> None:
    with wandb.init(project="p", id="i") as run:
        run.summary["best"] = 1
        run.log({"table": wandb.Table(columns=["c"], rows=[[2]])})
    code = (
        "import json, trackio.wandb as wandb\n"
        "run = wandb.init(project='p', id='i', resume='must')\n"
        "before = {k: v for k, v in run.summary.items() if k != 'table'}\n"
        "run.summary['best'] = 2\n"
        "print(json.dumps([before, run.summary['best'], run.summary['table'].rows]))\n"
    )
    assert said(python(code)) == [{"best": 1}, 2, [[2]]]
    assert run.summary["best"] == 2, "written by another process since the last reading"


def test_the_summary_reads_only_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []
    parse = _wandb_run.parse
    monkeypatch.setattr(_wandb_run, "parse", lambda line: (read.append(line), parse(line))[1])
    run = wandb.init(project="p")
    for value in range(3):
        run.log({"a": value})
    assert run.summary["a"] == 2 and len(read) == 3
    run.log({"a": 3})
    assert run.summary["a"] == 3 and len(read) == 4


def test_a_bad_line_hides_nothing_and_half_a_line_waits() -> None:
    run = wandb.init(project="p")
    run.log({"a": 1})
    (path,) = Path(run.dir).glob("w-*")
    with path.open("ab") as file:
        file.write(b'[7,7,"log",null,{"a"\n')
        file.write(b'[8,8,"log",null,{"b":')
    assert dict(run.summary) == {"a": 1}
    with path.open("ab") as file:
        file.write(b"2}]\n")
    assert dict(run.summary) == {"a": 1, "b": 2}


# -- what is not there
# ------------------------------------------------------------------------------------------------------------


def test_unknown_attributes_say_what_to_do() -> None:
    for thing in (wandb, wandb.init(project="p")):
        with pytest.raises(AttributeError, match=r"trackio\.wandb.* has no 'use_artifact': .*\.install\(\)"):
            thing.use_artifact  # noqa: B018
    assert not hasattr(wandb, "Api") and getattr(wandb, "Video", None) is None


def test_what_cannot_be_done_is_said() -> None:
    with pytest.raises(wandb.UsageError, match="optuna"):
        wandb.sweep({}, project="p", entity=None)
    with pytest.raises(wandb.UsageError, match="optuna"):
        wandb.agent("id", function=print, count=1)
    with pytest.warns(UserWarning, match="gradients and parameters are not kept"):
        wandb.watch(None, log="all", log_freq=100)
    with pytest.warns(UserWarning, match="'epoch'"):
        wandb.define_metric("val/*", step_metric="epoch")
    with pytest.warns(UserWarning, match="'colour'"):
        wandb.init(project="p", colour=1)
    assert wandb.login() is True and wandb.setup() is None


def test_what_transformers_defines_is_no_reason_to_warn(recwarn: pytest.WarningsRecorder) -> None:
    wandb.init(project="p")
    wandb.define_metric("train/global_step")
    wandb.define_metric("*", step_metric="train/global_step", step_sync=True)
    wandb.run._label(code="transformers_trainer")
    assert list(recwarn) == [] and list(only().points()) == [] and only().config == {}


def test_termwarn(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        wandb.termwarn("once", repeat=False)
        wandb.termwarn("twice")
    err = capsys.readouterr().err
    assert err.count("once") == 1 and err.count("twice") == 2


# -- a dataset
# ------------------------------------------------------------------------------------------------------------


def test_the_dataset_of_the_environment_is_pushed_to(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DATASET_REPO", "user/data")
    run = wandb.init(project="p", name="n")
    wandb.log({"loss": 0.5}, step=1)
    wandb.finish()
    assert hubs.there(hub) == hubs.here(run._kept) and hub.repo("user/data").private


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_a_mode_that_sends_nothing(hub: Any, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setenv("TRACKIO_DATASET_REPO", "user/data")
    wandb.init(project="p", name="n", mode=mode)
    wandb.log({"loss": 0.5}, step=1)
    wandb.finish()
    assert not hub.requests
