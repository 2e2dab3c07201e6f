"""One push: what is sent, when the mark moves, and what each answer of the Hub leads to."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conformance.hub import Delete, Quota, Rename, Reset
from hubs import REPO, here, machine, more, no_waiting, push, pusher, requests, there, twice

from trackio.hub import push as push_module
from trackio.hub import spool
from trackio.hub.remote import Backoff, Conflict, Refused, Trouble, _wait, token
from trackio.hub.shards import shard_of


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    no_waiting(monkeypatch)


def shards(hub: Any, table: str = "metrics") -> list[tuple[int, int]]:
    found = [shard_of(path) for path in hub.files(REPO, "dataset")]
    return sorted((shard.first, shard.last) for shard in found if shard is not None and shard.table == table)


def marks(run: Any) -> Any:
    return spool.Ledger(str(run.folder)).repos[REPO]["writers"]


# -- what is there -------------------------------------------------------------------------------------------


def test_what_a_push_makes(hub: Any, tmp_path: Path) -> None:
    run = machine(tmp_path)
    assert pusher(run).once() is False
    files = hub.files(REPO, "dataset")
    assert hub.repo(REPO).private, "by default"
    assert sorted(path.partition("/")[0] for path in files) == [
        ".gitattributes", "README.md", "experiments", "metrics", "runs"
    ]  # fmt: skip
    assert there(hub) == here(run)
    first, made = hub.commits(REPO)[0], hub.commits(REPO)[1:]
    assert first.title == "trackio: 11 records of 1 run" and len(made) == 1, "one commit, after the Hub's own"
    assert list(marks(run).values()) == [[size := Path(run._journal.path).stat().st_size, 11, size]]


def test_a_public_dataset_is_asked_for(hub: Any, tmp_path: Path) -> None:
    its = pusher(machine(tmp_path))
    its.remote.private = False
    its.once()
    assert not hub.repo(REPO).private


def test_a_flush_is_one_request_and_every_sixth_makes_tables(hub: Any, tmp_path: Path) -> None:
    run = machine(tmp_path)
    its = pusher(run)
    its.once()
    for flush in range(1, 13):
        more(run, 10)
        start = len(hub.requests)
        its.once()
        sent = requests(hub, start)
        if flush % 6:
            assert sent == ["POST commit"]
        else:
            # What the client sends for a large file; older ones ask first whether it is one. No look at it.
            assert sent[-4:] == ["POST batch", "PUT whole", "POST verify", "POST commit"] and len(sent) <= 5
            assert shards(hub, "pending") == []
        assert there(hub) == here(run) and twice(hub) == []
    start = len(hub.requests)
    its.once()
    assert requests(hub, start) == [], "nothing new, nothing sent"
    assert shards(hub) == [(0, 10), (11, 70), (71, 130)]


def test_all_runs_that_are_pending_go_in_one_commit(hub: Any, tmp_path: Path) -> None:
    runs = [machine(tmp_path, name) for name in "abc"]
    pusher(*runs).once()
    assert hub.commits(REPO)[0].title == "trackio: 33 records of 3 runs" and there(hub) == here(*runs)


def test_all_writers_of_a_run_are_sent(hub: Any, tmp_path: Path) -> None:
    runs = [machine(tmp_path), machine(tmp_path)]
    assert runs[0].folder == runs[1].folder and len(here(runs[0])) == 2
    pusher(runs[0]).once()
    assert there(hub) == here(runs[0])


def test_a_long_journal_goes_in_several_commits(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = machine(tmp_path, logs=100)
    monkeypatch.setattr(push_module, "BATCH", 2000)
    its = pusher(run)
    assert its.once() is True
    assert len(there(hub).popitem()[1]) < 50, "about so many bytes at once"
    push(its)
    assert there(hub) == here(run) and twice(hub) == []


def test_a_torn_end_waits_and_damage_is_told(hub: Any, tmp_path: Path) -> None:
    run = machine(tmp_path)
    path = Path(run._journal.path)
    lines = path.read_bytes().splitlines(keepends=True)
    run._journal.abandon()
    path.write_bytes(b"".join(lines[:3]) + b"?" + lines[3][1:] + b"".join(lines[4:-1]) + lines[-1][:9])
    told: list[str] = []
    its = pusher(run, tell=told.append)
    its.once()
    (found,) = there(hub).values()
    assert [record[0] for record in found] == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert told == [f"{path}: 1 damaged records are not sent"]
    path.write_bytes(path.read_bytes() + lines[-1][9:])
    its.once()
    (found,) = there(hub).values()
    assert found[-1][0] == 10


def test_the_end_makes_one_shard_of_many_in_one_commit(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_module, "EVERY", 2)
    monkeypatch.setattr(push_module, "MANY", 3)
    run = machine(tmp_path)
    its = pusher(run)
    for _ in range(5):
        its.once()
        more(run, 10)
    run.finish()
    assert len(shards(hub)) == 3 and shards(hub, "pending") == []
    commits = len(hub.commits(REPO))
    push(its, final=True)
    assert shards(hub) == [(0, 61)] == shards(hub, "runs") and len(hub.commits(REPO)) == commits + 1
    assert there(hub) == here(run) and twice(hub) == []
    push(its, final=True)
    assert len(hub.commits(REPO)) == commits + 1, "and then there is nothing left to do"


def test_shards_are_not_made_one_from_a_journal_that_is_not_whole(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_module, "EVERY", 1)
    monkeypatch.setattr(push_module, "MANY", 4)
    run = machine(tmp_path)
    its = pusher(run)
    for _ in range(5):
        its.once()
        more(run, 10)
    run.finish()
    written = here(run)
    path = Path(run._journal.path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:20] + lines[21:]))
    push(its, final=True)
    assert there(hub) != here(run) and there(hub).keys() == written.keys()
    sequences = [record[0] for record in there(hub).popitem()[1]]
    assert 20 in sequences, "what the Hub has is not lost because the journal lost it"


# -- the mark ------------------------------------------------------------------------------------------------


def test_the_mark_moves_only_after_the_commit(hub: Any, tmp_path: Path) -> None:
    run = machine(tmp_path)
    its = pusher(run)
    its.once()
    before = marks(run)
    more(run, 5)
    for effect in (Reset(), Reset(after=True)):
        hub.fail("POST /api/datasets/*/commit/*", with_=effect)
        with pytest.raises(Trouble):
            its.once()
        assert marks(run) == before
    count = len(hub.commits(REPO))
    its.once()
    assert len(hub.commits(REPO)) == count, "the second one had arrived: that was looked up, not repeated"
    assert marks(run) != before and there(hub) == here(run) and twice(hub) == []


def test_a_process_that_dies_after_the_commit_sends_nothing_twice(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = machine(tmp_path)
    monkeypatch.setattr(spool.Ledger, "save", lambda ledger: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(OSError, match="killed"):
        pusher(run).once()
    monkeypatch.undo()
    no_waiting(monkeypatch)
    more(run, 5)
    pusher(run).once()
    assert (shards(hub), shards(hub, "pending")) == ([(0, 10)], [(11, 15)])
    assert there(hub) == here(run) and twice(hub) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"repos":{"user/data":{"writers":7}}}', b"\xff"])
def test_a_mark_that_cannot_be_read_costs_a_look(hub: Any, tmp_path: Path, content: bytes) -> None:
    run = machine(tmp_path)
    pusher(run).once()
    Path(str(run.folder), "push.json").write_bytes(content)
    more(run, 5)
    pusher(run).once()
    assert there(hub) == here(run) and twice(hub) == []


def test_another_dataset_gets_everything(hub: Any, tmp_path: Path) -> None:
    run = machine(tmp_path)
    pusher(run).once()
    pusher(run, repo="user/other").once()
    assert there(hub, "user/other") == here(run) == there(hub)


def test_two_that_push_one_run_do_not_bring_it_twice(hub: Any, tmp_path: Path) -> None:
    run = machine(tmp_path)
    first, second = pusher(run), pusher(run)
    first.once()
    second.once()
    for its in (first, second, second, first):
        more(run, 5)
        push(its)
    assert there(hub) == here(run) and twice(hub) == []


def test_who_pushes_is_waited_for_or_left_to_it(hub: Any, tmp_path: Path) -> None:
    run = machine(tmp_path)
    its = pusher(run)
    with spool.alone(str(run.folder), 0) as ours:
        assert ours and its.once() is False
    assert its.busy == [run.folder] and its.commits == 0
    its.once()
    assert its.busy == [] and its.commits == 1


# -- what the Hub says ---------------------------------------------------------------------------------------


def test_somebody_else_committed(hub: Any, tmp_path: Path) -> None:
    run = machine(tmp_path)
    its = pusher(run)
    its.once()
    hub.put(REPO, {"notes.txt": b"mine"})
    more(run, 5)
    with pytest.raises(Conflict):
        its.once()
    its.once()
    assert there(hub) == here(run) and hub.files(REPO)["notes.txt"] == b"mine"


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_only_the_user_can_mend_is_refused(hub: Any, tmp_path: Path, status: int) -> None:
    run = machine(tmp_path)
    its = pusher(run)
    its.once()
    more(run, 5)
    hub.fail("POST *", status=status, times=None)
    with pytest.raises(Refused, match=REPO):
        its.once()
    hub.calm()
    its.once()
    assert there(hub) == here(run)


def test_a_full_account(hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push_module, "EVERY", 1)  # a text is no large file
    run = machine(tmp_path)
    its = pusher(run)
    its.once()
    more(run, 5)
    hub.fail("POST *", with_=Quota(0))
    with pytest.raises(Refused):
        its.once()
    hub.state.users["user"].quota = None
    its.once()
    assert there(hub) == here(run)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_passes_is_trouble(hub: Any, tmp_path: Path, status: int) -> None:
    run = machine(tmp_path)
    hub.fail(status=status, retry_after=7, times=None)
    with pytest.raises(Trouble) as raised:
        pusher(run).once()
    assert raised.value.wait == 7
    assert hub.token not in str(raised.value) and "\n" not in str(raised.value)


def test_a_dataset_that_is_renamed_while_in_use(hub: Any, tmp_path: Path) -> None:
    run = machine(tmp_path)
    its = pusher(run)
    its.once()
    more(run, 5)
    hub.fail("POST *", with_=Rename("user/renamed"))
    push(its)
    assert there(hub, "user/renamed") == here(run) and twice(hub, "user/renamed") == []


def test_a_dataset_that_was_deleted_is_made_again_only_when_asked(hub: Any, tmp_path: Path) -> None:
    run = machine(tmp_path)
    its = pusher(run)
    its.once()
    more(run, 5)
    hub.fail("POST *", with_=Delete())
    for _ in range(2):
        with pytest.raises(Refused):
            its.once()
    with pytest.raises(KeyError):
        hub.repo(REPO)
    push(pusher(run, create=True))
    assert there(hub) == here(run), "all of it, not only what came after the mark"


def test_a_token_of_no_use(hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = machine(tmp_path)
    monkeypatch.setenv("HF_TOKEN", "hf_" + "0" * 34)
    with pytest.raises(Refused) as raised:
        pusher(run).once()
    assert "0" * 34 not in str(raised.value)
    monkeypatch.setenv("HF_TOKEN", hub.add_user("guest", role="read"))
    with pytest.raises(Refused):
        pusher(run).once()
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(Refused, match="hf auth login"):
        pusher(run).once()


def test_a_name_without_a_user_is_the_users_own(hub: Any, tmp_path: Path) -> None:
    run = machine(tmp_path)
    its = pusher(run, repo="data")
    its.once()
    assert its.remote.repo == REPO and there(hub) == here(run) and list(marks(run))


def test_the_client_being_offline(hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(Refused, match="HF_HUB_OFFLINE"):
        pusher(machine(tmp_path)).once()
    assert not hub.requests


def test_a_client_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", ModuleType("huggingface_hub"))
    with pytest.raises(Refused, match=r"this needs huggingface_hub 0\.24: pip install"):
        token()


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, 0),
        ({"Retry-After": "12"}, 12),
        ({"Retry-After": "soon"}, 0),
        ({"Retry-After": "Mon, 23 Nov 2026 10:01:00 GMT", "Date": "Mon, 23 Nov 2026 10:00:30 GMT"}, 30),
        ({"Retry-After": "Mon, 23 Nov 2026 10:00:00 GMT", "Date": "Mon, 23 Nov 2026 10:00:30 GMT"}, 0),
        ({"RateLimit": '"api";r=0;t=55'}, 55),
        ({"RateLimit": '"api";r=3;t=55'}, 0),
    ],
)
def test_how_long_the_hub_asks_to_wait(headers: dict[str, str], wait: float) -> None:
    assert _wait(headers) == wait


def test_waiting_grows_to_a_ceiling_and_honours_what_is_asked() -> None:
    class Highest:
        def uniform(self, low: float, high: float) -> float:
            return high

    backoff = Backoff(20.0, Highest())  # type: ignore[arg-type]
    assert [backoff.after(Trouble("x")) for _ in range(6)] == [2, 4, 8, 16, 20, 20]
    assert backoff.after(Trouble("x", 100.0)) == 120, "after the moment that was named, and not all at once"
    backoff.succeeded()
    assert [backoff.after(Conflict("x")) for _ in range(3)] == [0.5, 1, 2]
