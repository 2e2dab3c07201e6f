"""Small pushes as texts: there and back, exact; and how they come into the tables, without loss and once."""

from __future__ import annotations

import shutil
from base64 import b85encode
from pathlib import Path
from typing import Any

import orjson
import pytest
from hubs import REPO, found, here, machine, more, no_waiting, push, pusher, requests, there, twice
from hypothesis import given
from hypothesis import strategies as st
from test_hub_shards import bodies, kinds, steps

import trackio
from trackio.cli import main
from trackio.hub import push as push_module
from trackio.hub import shards
from trackio.hub.redact import Redactor
from trackio.hub.texts import pack, unpack
from trackio.values import encode_mapping


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    no_waiting(monkeypatch)


def spans(hub: Any, table: str = shards.PENDING) -> list[tuple[int, int]]:
    return sorted((shard.first, shard.last) for shard, _ in found(hub) if shard.table == table)


# -- there and back ------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(kinds, steps, bodies), max_size=5))
def test_every_record_comes_back_byte_for_byte(drawn: list[Any]) -> None:
    texts = [encode_mapping(body) for _, _, body in drawn]
    records = [
        [sequence * 3, 10**18 + sequence, kind, step, orjson.loads(text)]
        for sequence, ((kind, step, _), text) in enumerate(zip(drawn, texts, strict=True))
    ]
    text = pack(records, str)
    assert text.isascii() and b"\0" not in text
    back = unpack(text)
    assert [[row["seq"], row["time"], row["kind"], row["step"]] for row in back] == [
        record[:4] for record in records
    ]
    assert [row["json"].encode() for row in back] == texts


def test_a_log_of_21_numbers_is_short() -> None:
    logs = [{f"train/metric_{key}": 1 / (key + step + 3) for key in range(21)} for step in range(10)]
    text = pack([[step, 10**18 + step, "log", step, body] for step, body in enumerate(logs)], str)
    assert len(text) < 2300, "8 bytes a double would be 1680, and base85 of that 2100"


def test_tokens_are_hidden() -> None:
    hide = Redactor("secret-word")
    body = {"secret-word": 0.5, "text": "x secret-word", "list": ["secret-word"], "number": 0.25}
    records = [[0, 1, "cfg", None, body], [1, 1, "log", None, body]]
    for row in unpack(pack(records, hide)):
        assert orjson.loads(row["json"]) == {"***": 0.5, "text": "x ***", "list": ["***"], "number": 0.25}


TEXT = pack([[0, 1, "log", 1, {"a": 0.5}]], str)
HEAD, LOW, _ = TEXT.splitlines()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"one line\n",
        b"\xff\n\xff\n",
        TEXT[:-4],
        b"\n".join([HEAD, LOW, b85encode(b"no zlib")]),
        b"\n".join([HEAD, LOW, LOW]),
        b"\n".join([HEAD, *pack([], str).splitlines()[1:]]),
    ],
)
def test_what_is_no_text(text: bytes) -> None:
    with pytest.raises(ValueError):
        unpack(text)


# -- into the tables -----------------------------------------------------------------------------------------


def test_what_is_pending_comes_into_the_tables_at_the_end(hub: Any, tmp_path: Path) -> None:
    import datasets

    run = machine(tmp_path)
    its = pusher(run)
    its.once()
    for _ in range(3):
        more(run, 10)
        run._write_config({"lr": 1e-4})
        its.once()
    assert spans(hub) == [(11, 21), (22, 32), (33, 43)] and spans(hub, "metrics") == [(0, 10)]
    assert there(hub) == here(run) and twice(hub) == []
    assert len(datasets.load_dataset(REPO, split="train")) == 20, "the tables can be loaded, texts or not"
    run.finish()
    push(its, final=True)
    assert spans(hub) == [] and spans(hub, "metrics") == [(0, 10), (11, 44)] == spans(hub, "runs")
    assert there(hub) == here(run) and twice(hub) == []
    push(its, final=True)
    assert len(hub.commits(REPO)) == 6, "and then there is nothing left to do"


def test_all_that_a_run_can_log_goes_through_a_text(hub: Any, tmp_path: Path) -> None:
    run = machine(tmp_path)
    its = pusher(run)
    its.once()
    run.log({"table": trackio.Table(columns=["a"], data=[[1]]), "large": b"x" * 100_000, "nan": float("nan")})
    run.log_system({"gpu/0/power": 100.5})
    its.once()
    assert spans(hub) == [(11, 12)] and there(hub) == here(run)
    assert [path for path in hub.files(REPO) if path.startswith("files/")], "with the file of the large one"
    run.finish()
    push(its, final=True)
    assert spans(hub, "tables") == spans(hub, "system") == [(11, 13)] and there(hub) == here(run)


def test_a_large_push_makes_tables(hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push_module, "SMALL", 2000)
    run = machine(tmp_path)
    its = pusher(run)
    its.once()
    more(run, 10)
    its.once()
    assert spans(hub) == [(11, 20)]
    more(run, 50)
    its.once()
    assert spans(hub) == [] and spans(hub, "metrics") == [(0, 10), (11, 70)]
    assert there(hub) == here(run) and twice(hub) == []


def test_each_writer_has_its_own(hub: Any, tmp_path: Path) -> None:
    run, other = machine(tmp_path), machine(tmp_path)
    its = pusher(run)
    its.once()
    more(run, 10)
    its.once()
    more(other, 10)
    its.once()
    assert len(spans(hub)) == 2
    run.finish()
    push(its, final=True)
    assert spans(hub) == [] and there(hub) == here(run) and twice(hub) == []


@pytest.mark.parametrize("limit", [100, 500, 700, 1500])
def test_a_push_that_is_cut_takes_a_text_whole(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    run = machine(tmp_path)
    its = pusher(run)
    its.once()
    for _ in range(3):
        more(run, 10)
        its.once()
    run.finish()
    monkeypatch.setattr(push_module, "BATCH", limit)
    push(its, final=True)
    assert spans(hub) == [] and there(hub) == here(run) and twice(hub) == []


def test_records_that_the_journal_lost_stay_in_their_text(hub: Any, tmp_path: Path) -> None:
    run = machine(tmp_path)
    its = pusher(run)
    its.once()
    for _ in range(2):
        more(run, 10)
        its.once()
    run.finish()
    written = here(run)
    (path,) = Path(str(run.folder)).glob("w-*")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:15] + lines[16:]))
    push(its, final=True)
    assert spans(hub) == [(11, 20)], "the text that has it is the only one that does"
    assert there(hub) == written and twice(hub) == []


def test_a_gap_makes_tables(hub: Any, tmp_path: Path) -> None:
    run = machine(tmp_path)
    its = pusher(run)
    its.once()
    more(run, 10)
    (path,) = Path(str(run.folder)).glob("w-*")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:15], b"?" + lines[15][1:], *lines[16:]]))
    its.once()
    assert spans(hub) == [] and spans(hub, "metrics") == [(0, 10), (11, 20)]


def test_the_kit_reads_what_is_pending(hub: Any, tmp_path: Path) -> None:
    from conformance.trackers.reference import ReferenceTrackio

    run = machine(tmp_path, logs=2)
    its = pusher(run)
    its.once()
    run.log({"loss": 0.25, "text": "a", "table": trackio.Table(columns=["a"], data=[[1]])}, 7)
    its.once()
    files = {f"datasets/{REPO}/{path}": data for path, data in hub.files(REPO).items()}
    points = [tuple(point) for point in ReferenceTrackio().pushed(files, "n")]
    first = [(0, "loss", 1.0), (0, "step", 0), (1, "loss", 0.5), (1, "step", 1)]
    assert points == [*first, (7, "loss", 0.25), (7, "text", "a")]
    assert list(ReferenceTrackio().pushed(files, "other")) == []


# -- whose machine is gone -----------------------------------------------------------------------------------


def test_a_killed_run_is_pulled_and_pushed_from_elsewhere(hub: Any, tmp_path: Path) -> None:
    run = machine(tmp_path / "gone")
    its = pusher(run)
    its.once()
    for _ in range(3):
        more(run, 10)
        its.once()
    run._journal.abandon()
    written = here(run)
    shutil.rmtree(str(run.folder))
    assert spans(hub) != []
    two = str(tmp_path / "two")
    assert main(["pull", REPO, "--root", two]) == 0
    back = trackio.Api(two).run("p", "n")
    assert len(list(back.points())) == 2 * 40
    assert main(["push", "--root", two]) == 0
    assert spans(hub) == [] and spans(hub, "metrics") == [(0, 10), (11, 40)]
    assert there(hub) == written and twice(hub) == []
    start = len(hub.requests)
    assert main(["push", "--root", two]) == 0
    assert "POST commit" not in requests(hub, start)
