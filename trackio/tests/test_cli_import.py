"""`trackio import`: what real TensorBoard and real Trackio wrote comes back equal, and only once."""

from __future__ import annotations

import importlib
import json
import math
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import trackio
from trackio.cli import main
from trackio.cli.from_tensorboard import nanoseconds
from trackio.cli.importer import Import
from trackio.journal import Damage, journals, read
from trackio.values import Encoder
from trackio.verify import verify

DATA = Path(__file__).with_name("data")


def run(project: str, name: str) -> trackio.api.StoredRun:  # type: ignore[name-defined]
    return trackio.Api().run(project, name)


def logged(project: str, name: str) -> list[tuple[int, Any, str, Any]]:
    """Return (time, step, key, value) of everything logged."""
    return list(run(project, name)._logged())


def by_key(project: str, name: str) -> dict[str, list[tuple[int, Any, Any]]]:
    found: dict[str, list[tuple[int, Any, Any]]] = {}
    for moment, step, key, value in logged(project, name):
        found.setdefault(key, []).append((moment, step, value))
    return found


def bring(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[str, str]:
    assert main(["import", *map(str, arguments)]) == 0
    out, err = capsys.readouterr()
    # What came in is as whole as what was logged here.
    assert verify().ok, verify().problems
    return out, err


def everything(store: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in store.rglob("*") if path.is_file()}


# -- TensorBoard ---------------------------------------------------------------------------------------------


@pytest.fixture
def logdir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "logs"


def writer(folder: Path, **more: Any) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), **more)


def test_scalars_come_back_as_stored(logdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numpy = importlib.import_module("numpy")
    values = [0.1, -0.0, 1e30, 1e-42, math.inf, -math.inf, math.nan, 3, *(1 / n for n in range(1, 3000))]
    with writer(logdir / "a" / "b") as board:
        for step, value in enumerate(values):
            board.add_scalar("train/loss", value, step, walltime=1_700_000_000.1 + step / 7)
        board.add_scalar("double", 0.1, 2**40, new_style=True, double_precision=True)
    out, err = bring(capsys, "tensorboard", logdir, "--project", "p")
    assert out == "p / a/b: 3008 points\n" and err == ""
    points = by_key("p", "a/b")["train/loss"]
    assert len(points) == len(values)  # not thinned out
    assert [repr(value) for _, _, value in points] == [repr(float(numpy.float32(value))) for value in values]
    assert [step for _, step, _ in points] == list(range(len(values)))
    assert [moment / 10**9 for moment, _, _ in points] == [
        1_700_000_000.1 + step / 7 for step in range(len(values))
    ]
    assert by_key("p", "a/b")["double"][0][1:] == (2**40, 0.1)
    stored = run("p", "a/b")
    assert stored.status == "finished" and stored.created == points[0][0]


def test_everything_else_too(logdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch
    from tensorboard.compat.proto import event_pb2

    numpy = importlib.import_module("numpy")
    picture = numpy.random.default_rng(0).integers(0, 255, (3, 40, 50), dtype="uint8")
    with writer(logdir) as board:
        board.add_text("note", "é **bold**", 1)
        board.add_histogram("weights", numpy.array([1.0, 2, 2, 3, 3, 3]), 2, bins=[0.5, 1.5, 2.5, 3.5])
        board.add_image("picture", picture, 3)
        board.add_audio("sound", torch.zeros(1, 100), 4, sample_rate=8000)
        board.add_pr_curve("curve", numpy.array([0, 1, 1]), numpy.array([0.1, 0.8, 0.9]), 5)
        board.add_hparams({"lr": 0.1, "opt": "adam", "flag": True}, {"final": 0.5}, run_name="trial")
        board._get_file_writer().add_event(event_pb2.Event(graph_def=b""))
    out, err = bring(capsys, "tensorboard", logdir, "--project", "p")
    assert out.splitlines() == ["p / logs: 5 points", "p / trial: 1 point"]
    assert "not taken over: 1 graph_def" in err
    found = by_key("p", "logs")
    assert found["note/text_summary"][0][1:] == (1, "é **bold**")
    histogram = found["weights"][0][2]
    assert (histogram.histogram, histogram.bins) == ([1, 2, 3], [0.5, 1.5, 2.5, 3.5])
    image = numpy.asarray(found["picture"][0][2].to_pil())
    assert (image == picture.transpose(1, 2, 0)).all()
    sound = found["sound"][0][2]
    assert sound["audio"].startswith(b"RIFF") and (sound["format"], sound["sample_rate"]) == ("wav", 8000)
    curve = found["curve"][0][2]
    assert (curve.dtype, curve.shape) == ("float32", (6, 127))
    assert run("p", "trial").config == {"lr": 0.1, "opt": "adam", "flag": True}
    assert by_key("p", "trial")["final"][0][2] == 0.5


def test_a_second_import_takes_only_what_is_new(
    logdir: Path, store: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    board = writer(logdir / "r")
    for step in range(3):
        board.add_scalar("a", step, step)
    board.flush()
    bring(capsys, "tensorboard", logdir, "--project", "p")
    before = everything(store)
    out, _ = bring(capsys, "tensorboard", logdir, "--project", "p")
    assert out == "p / r: was there already; nothing new\n" and everything(store) == before
    # The run goes on, and its folder has moved.
    board.add_scalar("a", 3, 3)
    board.close()
    with writer(logdir / "r", filename_suffix=".later") as board:
        board.add_scalar("b", 4, 4)
    shutil.move(logdir, tmp_path / "moved")
    out, _ = bring(capsys, "tensorboard", tmp_path / "moved", "--project", "p")
    assert out == "p / r: was there; 2 new points\n"
    assert [row[1:] for row in logged("p", "r")] == [(n, "a", float(n)) for n in range(4)] + [(4, "b", 4.0)]
    assert before.items() <= everything(store).items()


def test_times_of_any_order_are_sorted_and_kept(logdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with writer(logdir / "r") as board:
        for moment in (5.0, 3.0, 4.0, 3.0):
            board.add_scalar("a", moment, 1, walltime=1_600_000_000 + moment)
    bring(capsys, "tensorboard", logdir, "--project", "p")
    assert [value for _, _, _, value in logged("p", "r")] == [3.0, 3.0, 4.0, 5.0]
    (path,) = journals(run("p", "r").folder)
    damage = Damage()
    records = list(read(path, damage=damage))
    assert [record[0] for record in records] == list(range(len(records))) and not damage
    assert [record[1] for record in records] == sorted(record[1] for record in records)


def test_an_import_stays_apart_from_a_run_of_that_name(
    logdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trackio.init("p", "r")
    trackio.log({"mine": 1})
    trackio.finish()
    for number in (1, 2):
        with writer(logdir / str(number) / "r") as board:
            board.add_scalar("theirs", number, 1, walltime=1_600_000_000.0 + number)
        bring(capsys, "tensorboard", logdir / str(number), "--project", "p")
    bring(capsys, "tensorboard", logdir / "1", "--project", "p")
    found = [[value for _, _, value in stored.points()] for stored in trackio.Api().runs("p")]
    assert sorted(found) == [[1], [1.0], [2.0]] and len(found) == 3


def test_a_damaged_event_file_says_from_where(logdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with writer(logdir / "r") as board:
        for step in range(10):
            board.add_scalar("a", step, step)
    (path,) = (logdir / "r").iterdir()
    data = path.read_bytes()
    path.write_bytes(data[:-30] + b"\0\0\0\0" + data[-26:])
    _, err = bring(capsys, "tensorboard", logdir, "--project", "p")
    assert f"{path}: from byte " in err and "are no whole record" in err
    assert len(logged("p", "r")) == 9


def test_wall_times_are_exact() -> None:
    for seconds in (0.0, 1.5, 1_700_000_000.123456789, 4e9 + 1e-6, -1.25):
        assert nanoseconds(seconds) / 10**9 == seconds
    assert nanoseconds(math.nan, 7) == 7


# -- Hugging Face's Trackio ----------------------------------------------------------------------------------


def recorded(place: Path, skip: tuple[str, ...] = ()) -> Path:
    """Make the store that Trackio 0.43 left; `skip` leaves out columns that older releases had not."""
    place.mkdir(parents=True)
    with sqlite3.connect(place / "myproj.db") as base:
        for table, parts in json.loads((DATA / "trackio-0.43.json").read_text()).items():
            keep = [i for i, name in enumerate(parts["columns"]) if name not in skip]
            base.execute(f"CREATE TABLE {table} ({', '.join(parts['columns'][i] for i in keep)})")
            for row in parts["rows"]:
                cells = [row[i]["bytes"].encode() if isinstance(row[i], dict) else row[i] for i in keep]
                base.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(keep))})", cells)
    base.close()
    for number, name in enumerate(media(place)):
        path = place / "media" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(png(number))
    return place


def media(place: Path) -> list[str]:
    text = (DATA / "trackio-0.43.json").read_text()
    return [part.split('\\"')[0] for part in text.split('file_path\\":\\"')[1:]]


def png(number: int) -> bytes:
    from trackio.rich import _png

    return _png(bytes([7, 9][number : number + 1]) * 18, (2, 3, 3))


def check(project: str, pictures: bool = False) -> None:
    """Compare with what `data/trackio_store.py` logged."""
    found = by_key(project, "one")
    rows = {key: [(step, value) for _, step, value in values] for key, values in found.items()}
    assert rows["loss"] == [(0, 1 / 3), (10, 1 / 4), (20, 1 / 5)] and rows["n"] == [(0, 0), (10, 1), (20, 2)]
    assert [math.isnan(value) for _, value in rows["nan"]] == [True] * 3
    assert rows["text"] == [(step, "é") for step in (0, 10, 20)] and rows["flag"][0] == (0, True)
    assert rows["inf"] == [(21, -math.inf)] and rows["none"] == [(21, None)]
    assert rows["nested"] == [(21, {"a": [1, 2.5]})]
    table = rows["table"][0][1]
    assert table.columns == ["k", "im"] and table.rows[1] == [2, "NaN"]
    image = rows["image"][0][1]
    assert isinstance(table.rows[0][1], trackio.Image) and image.caption == "c" and image.format == "png"
    assert table.rows[0][1].data != image.data
    assert rows["histogram"] == [
        (42, trackio.Histogram(np_histogram=([1, 0, 1, 2], [1.0, 1.5, 2.0, 2.5, 3.0])))
    ]
    traces = [trackio.Trace([{"role": "user", "content": str(i)}], {"i": i}) for i in range(2)]
    assert rows["traces"] == [(43, traces)] and rows["trace"] == [(44, traces[0])]
    assert rows["other"] == [(43, 1)]
    assert rows["alert"] == [(44, {"title": "title", "text": "text", "level": "warn"})]
    stored = run(project, "one")
    assert {key: stored.config[key] for key in ("lr", "nested", "big")} == {
        "lr": 1e-3,
        "nested": {"x": [1, None]},
        "big": math.inf,
    }
    system = [record[4] for record in stored.records() if record[2] == "sys"]
    assert system == [{"gpu/0/power": 61.5}]
    assert [(step, value) for _, step, value in by_key(project, "two")["loss"]] == [(0, 0.5)]
    if pictures:
        numpy = importlib.import_module("numpy")
        assert (numpy.asarray(image.to_pil().convert("RGB")) == 9).all()
        assert (numpy.asarray(table.rows[0][1].to_pil().convert("RGB")) == 7).all()


def test_a_recorded_store_comes_back(tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = recorded(tmp_path / "theirs")
    left = everything(place)
    out, err = bring(capsys, "trackio", place, "--project", "my.proj")
    assert out.splitlines()[1] == "my.proj / two: 1 point" and err == ""
    check("my.proj")
    one = json.loads((DATA / "trackio-0.43.json").read_text())["metrics"]["rows"][0]
    moment = by_key("my.proj", "one")["loss"][0][0]
    assert one[2].startswith(trackio.cli.text.iso(moment)[:26])  # type: ignore[attr-defined]
    before = everything(store)
    out, _ = bring(capsys, "trackio", place, "--project", "my.proj")
    assert out.count("nothing new") == 2 and everything(store) == before
    assert everything(place) == left


def test_a_store_that_has_grown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = recorded(tmp_path / "theirs")
    bring(capsys, "trackio", place / "myproj.db")
    with sqlite3.connect(place / "myproj.db") as base:
        columns, moment = "id, run_id, timestamp, run_name, step, metrics", "2020-01-01T00:00:00Z"
        row = f"SELECT 11, run_id, '{moment}', run_name, 1, '{{\"loss\": 7}}' FROM metrics WHERE id = 10"
        base.execute(f"INSERT INTO metrics ({columns}) {row}")
    base.close()
    out, _ = bring(capsys, "trackio", place / "myproj.db")
    assert out.splitlines() == [
        "myproj / two: was there; 1 new point",
        "myproj / one: was there already; nothing new",
    ]
    assert [row[3] for row in logged("myproj", "two")] == [7, 0.5]


def test_an_older_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Before 0.24 a run was its name; log_id and space_id came later too.
    place = recorded(tmp_path / "theirs", ("run_id", "log_id", "space_id", "spans"))
    bring(capsys, "trackio", place, "--project", "my.proj")
    check("my.proj")


def test_media_that_are_gone_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = recorded(tmp_path / "theirs")
    shutil.rmtree(place / "media")
    _, err = bring(capsys, "trackio", place)
    assert "2 media files are not in" in err
    assert by_key("myproj", "one")["image"][0][2]["file_path"].endswith(".png")


def test_a_folder_that_may_not_be_written_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from trackio.cli.from_trackio import _open

    place = recorded(tmp_path / "theirs")
    base = sqlite3.connect(place / "myproj.db")
    base.execute("PRAGMA journal_mode = WAL")
    base.close()
    (place / "myproj.db").chmod(0o400)
    place.chmod(0o500)
    try:
        with_rows = _open(str(place / "myproj.db")).execute("SELECT COUNT(*) FROM metrics").fetchone()
    finally:
        place.chmod(0o700)
    assert with_rows == (10,)


@pytest.mark.parametrize("content", [b"no database", b""])
def test_what_is_no_store_is_one_line(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.db").write_bytes(content)
    assert main(["import", "trackio", str(tmp_path / "x.db")]) == 2
    err = capsys.readouterr().err
    assert str(tmp_path / "x.db") in err and err.count("\n") == 1


# -- the writer ----------------------------------------------------------------------------------------------


def test_an_import_that_fails_leaves_nothing(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError), Import(str(store)) as draft:
        draft.log(5, 1, {"a": b"x" * 100_000})
        raise RuntimeError
    assert list(store.iterdir()) == []


def test_an_imported_run_can_be_continued(store: Path) -> None:
    with Import(str(store)) as draft:
        draft.config(10, {"lr": 1})
        draft.log(20, 7, {"a": 0.5, "b": math.nan})
        draft.finish("p", "n", None, "test", {})
    continued = trackio.init("p", "n", resume="must")
    assert continued.config["lr"] == 1
    trackio.log({"a": 2})
    trackio.finish()
    assert [Encoder()(value) for _, _, value in run("p", "n").points()] == [
        0.5,
        {"$": "float", "v": "nan"},
        2,
    ]
    assert [step for step, _, _ in run("p", "n").points()] == [7, 7, 7]
