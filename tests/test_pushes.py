"""conformance.pushes: what a scene does to commits, and where it looks for secrets."""

from __future__ import annotations

import base64
import gzip
import io
import threading
import zipfile
import zlib
from types import SimpleNamespace
from typing import Any

import pytest

from conformance import pushes
from conformance.hub import Dropped, Hub, Request, Response
from conformance.pushes import SCENES, Limit, Scene, Together, unpacked
from conformance.tracker import Tracker, checked

SECRET = b"correct horse"
COMMIT = "http://hub/api/datasets/user/runs/commit/main"


def done() -> Response:
    return Response(200)


def ask(effect: Any, url: str = COMMIT) -> int:
    """Return the status of the answer, 0 for none."""
    try:
        return int(effect(Hub().state, Request("POST", url), done).status)
    except Dropped:
        return 0


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", SECRET * 20)
    return file.getvalue()


def in_parquet() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(pa.table({"json": [SECRET.decode() * 20]}), file, compression="zstd")
    return file.getvalue()


def in_letters(encode: Any, pack: Any) -> bytes:
    return b'{"rows": 1}\n' + bytes(encode(pack(SECRET * 20))) + b"\n"


@pytest.mark.parametrize(
    "make",
    [
        lambda: SECRET,
        lambda: gzip.compress(SECRET * 20),
        zipped,
        in_parquet,
        lambda: in_letters(base64.b64encode, bytes),
        lambda: in_letters(base64.b85encode, zlib.compress),
        lambda: in_letters(base64.b64encode, gzip.compress),
    ],
)
def test_a_secret_is_found_in_what_is_compressed(make: Any) -> None:
    assert any(SECRET in part for part in unpacked(make()))


@pytest.mark.parametrize("data", [b"plain", b"\x1f\x8b no gzip", b"PK no zip"])
def test_what_only_looks_compressed_is_searched_as_it_is(data: bytes) -> None:
    assert list(unpacked(data)) == [data]


def test_a_limit_refuses_what_comes_before_its_time_and_notes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    waited: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=waited.append)
    monkeypatch.setattr(pushes, "time", clock)
    limit = Limit()
    assert ask(limit) == 429
    assert limit.early == []
    now[0] += pushes.RETRY_AFTER - 0.5
    assert ask(limit) == 429
    assert limit.early == [f"POST {COMMIT[10:]} came again 0.50 s before the time that Retry-After named"]
    limit.wait()
    assert waited == [0.5]
    now[0] += 0.5
    assert ask(limit) == 200
    assert len(limit.early) == 1


def test_a_limit_is_each_routes_own() -> None:
    limit = Limit()
    assert [ask(limit), ask(limit, COMMIT + "2")] == [429, 429]
    assert limit.early == []


def test_two_commits_wait_for_each_other() -> None:
    together, answers = Together(), []
    first = threading.Thread(target=lambda: answers.append(ask(together)))
    first.start()
    first.join(0.05)
    assert answers == []
    answers.append(ask(together))
    first.join()
    assert answers == [200, 200]


def test_a_commit_is_not_held_for_one_that_never_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushes, "FIRST", 0.0)
    assert ask(Together()) == 200


def test_a_hub_that_is_down_resets_and_refuses_in_turn() -> None:
    effect = SCENES["hub-down"][0](Scene(Hub(), [], {}))
    assert [ask(effect) for _ in range(4)] == [0, 503, 0, 503]


def test_files_have_the_paths_of_hffilesystem() -> None:
    hub = Hub()
    for kind in ("model", "dataset", "space"):
        hub.create("user/x", kind, sdk="static" if kind == "space" else None)
        hub.put("user/x", {"a": kind.encode()}, kind)
    files = Scene(hub, [], {}).files
    kinds = {path: data.decode() for path, data in files.items() if path.endswith("/a")}
    assert kinds == {"user/x/a": "model", "datasets/user/x/a": "dataset", "spaces/user/x/a": "space"}


def test_to_define_hub_is_to_claim_it_and_to_owe_a_reader() -> None:
    acme = type("Acme", (Tracker,), {"hub": lambda self, repo: {}})
    assert acme.capabilities() == {"hub"}
    with pytest.raises(NotImplementedError, match=r"Acme\.pushed\(files, run\) is missing"):
        acme().pushed({}, "run")


def test_what_a_reader_of_files_yields_is_checked() -> None:
    with pytest.raises(TypeError, match=r"Acme\.pushed must yield \(step, key, value\)"):
        list(checked([("loss", 1)], "Acme.pushed"))
