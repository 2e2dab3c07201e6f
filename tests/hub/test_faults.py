"""Faults, as the real client of any release meets them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, hf_hub_download
from huggingface_hub.utils import HfHubHTTPError, RepositoryNotFoundError

from conformance.hub import Delete, Hub, Quota, Rename, Request, Reset, Response, Skew, Slow, Truncate
from conformance.hub.faults import Effect

REPO = "user/x"
COMMIT = "POST /api/models/*/commit/*"


@pytest.fixture
def api(hub: Hub) -> HfApi:
    hub.create(REPO)
    hub.put(REPO, {"old.txt": b"old"})
    return HfApi()


def upload(api: HfApi, name: str = "a.txt", data: bytes = b"a" * 5000) -> None:
    api.upload_file(path_or_fileobj=data, path_in_repo=name, repo_id=REPO)


@pytest.mark.parametrize("status", [401, 403, 404, 409, 412, 429, 500, 502, 503, 504])
def test_a_status_reaches_the_caller_and_changes_nothing(hub: Hub, api: HfApi, status: int) -> None:
    before = hub.files(REPO)
    hub.fail(COMMIT, status=status, times=None)
    with pytest.raises(HfHubHTTPError) as told:
        upload(api)
    assert told.value.response.status_code == status
    assert hub.files(REPO) == before
    assert hub.requests[-1].status == status


def test_a_429_says_when_to_come_back(hub: Hub, api: HfApi) -> None:
    hub.fail(COMMIT, status=429, retry_after=7, times=None)
    with pytest.raises(HfHubHTTPError) as told:
        upload(api)
    headers = told.value.response.headers
    assert (headers["Retry-After"], headers["RateLimit"]) == ("7", '"api";r=0;t=7')


@pytest.mark.parametrize("after, kept", [(False, ["old.txt"]), (True, ["a.txt", "old.txt"])])
def test_a_reset_leaves_the_outcome_unknown(hub: Hub, api: HfApi, after: bool, kept: list[str]) -> None:
    hub.fail(COMMIT, with_=Reset(after=after))
    with pytest.raises(Exception, match="reset"):
        upload(api)
    assert sorted(hub.files(REPO))[1:] == kept
    assert hub.requests[-1].status == 0


@pytest.mark.parametrize("after", [False, True])
def test_at_every_request_boundary_a_push_is_whole_or_not_there(hub: Hub, api: HfApi, after: bool) -> None:
    hub.part_size = 1000
    for on in itertools.count(1):
        hub.calm()
        fault = hub.fail(on=on, with_=Reset(after=after))
        files = {f"{on}.txt": b"t" * on, f"{on}.bin": bytes([on]) * 3500}
        add = [CommitOperationAdd(name, data) for name, data in files.items()]
        try:
            api.create_commit(REPO, add, commit_message=str(on))
        except Exception:
            assert fault.hits
            there = [name for name in files if name in hub.files(REPO)]
            assert len(there) in (0, 2)
            if not there:
                add = [CommitOperationAdd(name, data) for name, data in files.items()]
                api.create_commit(REPO, add, commit_message=str(on))
        assert {name: hub.files(REPO)[name] for name in files} == files
        if not fault.hits:
            break
    assert on >= 9  # preupload, batch, four parts, completion, verification, commit


def test_a_truncated_download_is_never_taken_for_the_file(hub: Hub, api: HfApi, tmp_path: Path) -> None:
    hub.put(REPO, {"big.txt": bytes(range(256)) * 40})
    hub.fail("GET /user/x/resolve/*", with_=Truncate(0.3))
    try:
        path = hf_hub_download(REPO, "big.txt")
    except Exception:
        path = hf_hub_download(REPO, "big.txt")
    assert Path(path).read_bytes() == hub.files(REPO)["big.txt"]
    assert sum(seen.method == "GET" for seen in hub.requests) >= 2


def test_a_slow_body_takes_no_time_in_memory(hub: Hub, api: HfApi, no_sleep: list[float]) -> None:
    hub.put(REPO, {"big.txt": b"x" * 10_000})
    hub.fail("GET /user/x/resolve/*", with_=Slow(chunk=100, delay=5))
    assert Path(hf_hub_download(REPO, "big.txt")).read_bytes() == b"x" * 10_000


def test_a_body_that_stalls_longer_than_the_client_waits(hub: Hub, api: HfApi) -> None:
    hub.put(REPO, {"big.txt": b"x" * 10_000})
    fault = hub.fail("GET /user/x/resolve/*", with_=Slow(chunk=100, delay=60))
    path = hf_hub_download(REPO, "big.txt")  # the client resumes, or tries again
    assert Path(path).read_bytes() == b"x" * 10_000
    assert sum(seen.method == "GET" for seen in hub.requests) == 2
    assert len(fault.hits) == 1


def test_a_wrong_clock(hub: Hub, api: HfApi) -> None:
    from email.utils import parsedate_to_datetime

    def date() -> float:
        with pytest.raises(RepositoryNotFoundError) as told:
            api.model_info("user/none")
        return parsedate_to_datetime(told.value.response.headers["Date"]).timestamp()

    right = date()
    hub.fail(with_=Skew(-86_400))
    assert 86_000 < right - date() < 87_000


def test_a_repository_renamed_while_in_use(hub: Hub, api: HfApi) -> None:
    hub.fail(COMMIT, with_=Rename("user/y"))
    upload(api)
    upload(api, "b.txt")
    assert set(hub.files("user/y")) >= {"a.txt", "b.txt"}


def test_a_repository_deleted_while_in_use(hub: Hub, api: HfApi) -> None:
    hub.fail(COMMIT, with_=Delete())
    with pytest.raises(RepositoryNotFoundError):
        upload(api)


def test_no_room_for_large_files(hub: Hub, api: HfApi) -> None:
    hub.fail("POST *.git/info/lfs/objects/batch", with_=Quota(1000))
    with pytest.raises(HfHubHTTPError, match="storage limit") as told:
        upload(api, "a.bin")
    assert told.value.response.status_code == 403
    hub.add_user("user", hub.token, quota=10_000)
    upload(api, "a.bin")
    assert len(hub.files(REPO)["a.bin"]) == 5000


def test_which_requests_a_fault_strikes(hub: Hub, api: HfApi) -> None:
    def statuses(count: int) -> list[int]:
        start = len(hub.requests)
        for _ in range(count):
            hub.handle(Request("GET", f"{hub.url}/api/models/{REPO}"))
        return [seen.status for seen in hub.requests[start:]]

    hub.fail("GET /api/models/*", on=2, times=2, status=500)
    assert statuses(5) == [200, 500, 500, 200, 200]
    hub.fail(on=[1, 4], status=503)
    assert statuses(5) == [503, 200, 200, 503, 200]
    hub.fail("POST *", status=500)
    assert statuses(1) == [200]
    hub.fail("/api/models/user/*", status=500)
    assert statuses(2) == [500, 200]
    forever = hub.fail(status=504, times=None)
    assert statuses(3) == [504] * 3
    forever.lift()
    assert statuses(1) == [200]
    hub.fail(status=504, times=None)
    hub.calm()
    assert statuses(1) == [200]


@pytest.mark.parametrize("wrong", [{}, {"status": 500, "with_": Reset()}])
def test_a_fault_is_one_thing(hub: Hub, wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="one of them"):
        hub.fail(**wrong)  # type: ignore[arg-type]


def test_an_effect_of_ones_own(hub: Hub, api: HfApi) -> None:
    def empty(state: object, request: Request, proceed: Callable[[], Response]) -> Response:
        proceed()
        return Response(200, {"Content-Type": "application/json"}, b"{}")

    effect: Effect = empty
    hub.fail(COMMIT, with_=effect)
    with pytest.raises(KeyError):
        upload(api)
    assert "a.txt" in hub.files(REPO)


def test_chaos_is_the_same_with_the_same_seed(hub: Hub, api: HfApi) -> None:
    def struck(seed: int) -> list[bool]:
        fault = hub.chaos(seed, 0.3)
        picks = [fault.strikes(number, Request("GET", hub.url)) is not None for number in range(200)]
        fault.lift()
        return picks

    assert struck(1) == struck(1) != struck(2)
    assert 30 < sum(struck(1)) < 90


def test_through_chaos_everything_arrives(hub: Hub, api: HfApi) -> None:
    fault = hub.chaos(seed=3, rate=0.4)
    for n in range(12):
        while f"{n}.txt" not in hub.files(REPO):
            try:
                upload(api, f"{n}.txt", b"x" * n)
            except Exception:
                assert fault.hits
    assert len(fault.hits) >= 10
    assert {name: len(data) for name, data in hub.files(REPO).items() if name[0].isdigit()} == {
        f"{n}.txt": n for n in range(12)
    }
