"""The Xet protocol's storage, asked by hand: what hf_xet does not show, and without it being installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xet_by_hand import BODY, CONTENT, FILE, PARTS, SHA256, URL, XORB, ask, chunk, shard, token, told

from conformance.hub import Delete, Hub, Rename, Request, Response
from conformance.hub.xet import EMPTY, Malformed, named, read_xorb


@pytest.fixture
def here() -> Hub:
    """A Hub with one model, and a xorb that is in no file yet."""
    hub = Hub()
    hub.create("user/x")
    assert told(ask(hub, "POST", f"/v1/xorbs/default/{XORB}", BODY, token(hub))) == {"was_inserted": True}
    return hub


def commit(hub: Hub, path: str, sha256: str = SHA256) -> Response:
    lines = [{"key": "header", "value": {"summary": "s"}}]
    lines.append({"key": "lfsFile", "value": {"path": path, "algo": "sha256", "oid": sha256}})
    return ask(hub, "POST", "/api/models/user/x/commit/main", b"\n".join(json.dumps(line).encode() for line in lines))


@given(st.binary(min_size=1, max_size=50), st.integers(0, 2))
def test_every_way_to_pack_a_chunk(content: bytes, scheme: int) -> None:
    xorb = read_xorb(chunk(content, scheme) + b"XETBLOB footer")
    assert [xorb.unpacked(one) for one in xorb.chunks] == [content]


def test_a_chunk_that_is_cut_off_cannot_be_unpacked() -> None:
    packed = chunk(b"again " * 3000, 1)
    xorb = read_xorb(b"\0" + (len(packed) - 18).to_bytes(3, "little") + packed[4:-10])
    with pytest.raises(Malformed, match="a chunk cannot be unpacked"):
        xorb.unpacked(xorb.chunks[0])


def test_what_was_uploaded_is_read_back_without_xet(here: Hub) -> None:
    assert told(ask(here, "POST", "/v1/shards", shard((FILE, [(XORB, 0, 4)], SHA256)), token(here))) == {"result": 1}
    assert commit(here, "a.bin").status == 200
    assert here.files("user/x")["a.bin"] == CONTENT
    answer = ask(here, "GET", "/user/x/resolve/main/a.bin")
    assert answer.headers["X-Xet-Hash"] == FILE
    route = f"/api/models/user/x/xet-read-token/{here.commits('user/x')[0].oid}"
    assert f'<{URL}{route}>; rel="xet-auth"' in answer.headers["Link"]
    assert ask(here, "GET", answer.headers["Location"]).body == CONTENT


def fetch(hub: Hub, name: str, reader: str, version: str = "v1", **headers: str) -> bytes:
    """Download a file as hf_xet does: a term's chunks are in the one range that has its first."""
    plan = told(ask(hub, "GET", f"/{version}/reconstructions/{name}", b"", reader, **headers))
    content = b""
    for term in plan["terms"]:
        if version == "v1":
            places = [(at["range"], at["url"], at["url_range"]) for at in plan["fetch_info"][term["hash"]]]
        else:
            entries = [(at["url"], at["ranges"][0]) for at in plan["xorbs"][term["hash"]]]
            places = [(part["chunks"], link, part["bytes"]) for link, part in entries]
        first, end = term["range"]["start"], term["range"]["end"]
        [(chunks, link, within)] = [place for place in places if place[0]["start"] <= first < place[0]["end"]]
        wanted = f"bytes={within['start']}-{within['end']}"
        xorb = read_xorb(hub.handle(Request("GET", link, {"range": wanted})).body)
        inside = xorb.chunks[first - chunks["start"] : end - chunks["start"]]
        unpacked = b"".join(xorb.unpacked(one) for one in inside)
        assert len(unpacked) == term["unpacked_length"]
        content += unpacked
    return content[plan["offset_into_first_range"] :]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_reconstruction_is_the_file_or_its_range(here: Hub, version: str) -> None:
    terms = [(XORB, 0, 2), (XORB, 3, 4), (XORB, 0, 2), (XORB, 2, 3)]
    content = PARTS[0] + PARTS[1] + PARTS[3] + PARTS[0] + PARTS[1] + PARTS[2]
    told(ask(here, "POST", "/v1/shards", shard((FILE, terms, "")), token(here)))
    assert fetch(here, FILE, token(here, "read"), version) == content
    for start, end in ((0, 1), (29, 31), (30, 18_030), (18_034, 40_000), (len(content) - 1, len(content) + 9)):
        part = fetch(here, FILE, token(here, "read"), version, range=f"bytes={start}-{end - 1}")
        assert part[: end - start] == content[start:end]
    beyond = ask(here, "GET", f"/{version}/reconstructions/{FILE}", b"", token(here), range=f"bytes={len(content)}-")
    assert beyond.status == 416


def test_a_file_that_did_not_come_over_xet_is_there_as_well(here: Hub) -> None:
    content = bytes(range(256)) * 1000
    sha256 = here.state.keep(content)
    here.repo("user/x").objects[sha256] = len(content)
    assert fetch(here, sha256, token(here, "read")) == content


@pytest.mark.parametrize(
    "body, words",
    [
        (shard((FILE, [("d" * 64, 0, 1)], "")), "not here"),
        (shard((FILE, [(XORB, 0, 5)], "")), "not here"),
        (shard((FILE, [(XORB, 1, 1)], "")), "not here"),
        (shard((FILE, [(XORB, 0, 3)], SHA256)), "has not the sha256"),
        (shard(("e" * 64, [(XORB, 0, 4)], SHA256), (FILE, [(XORB, 0, 1)], SHA256)), "has not the sha256"),
        (shard((FILE, [(XORB, 0, 4)], SHA256))[:200], "breaks off"),
        (b"", "no shard"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/shards", "/v2/shards", f"/shard/default/{FILE}"])
def test_a_shard_that_is_refused_stores_nothing(here: Hub, body: bytes, words: str, path: str) -> None:
    answer = ask(here, "POST", path, body, token(here))
    assert (answer.status, here.state.xet.files) == (400, {})
    assert words in json.loads(answer.body)["error"]
    assert commit(here, "a.bin").status == 400


@pytest.mark.parametrize("body", [b"", b"no xorb", BODY[:-1], b"\1" + BODY[1:], b"\0\1\0\0\3\1\0\0x", b"XETBLOB"])
def test_a_xorb_that_is_none(here: Hub, body: bytes) -> None:
    assert ask(here, "POST", f"/v1/xorbs/default/{'d' * 64}", body, token(here)).status == 400
    assert list(here.state.xet.xorbs) == [XORB]


def test_a_chunk_that_cannot_be_unpacked_is_found_with_its_file(here: Hub) -> None:
    broken = chunk(b"again " * 100, 1)
    broken = broken[:8] + b"none" + broken[12:]
    assert ask(here, "POST", f"/v1/xorbs/default/{'d' * 64}", broken, token(here)).status == 200
    answer = ask(here, "POST", "/v1/shards", shard((FILE, [("d" * 64, 0, 1)], "")), token(here))
    assert answer.status == 400


def test_what_a_token_is_good_for(here: Hub) -> None:
    here.create("user/y")
    here.repo("user/x").private = True
    reader, other = here.add_user("user", role="read"), here.add_user("other")
    told(ask(here, "POST", "/v1/shards", shard((FILE, [(XORB, 0, 4)], SHA256)), token(here)))
    path, wanted = "/api/models/user/x/xet-{}-token/main", f"/v1/reconstructions/{FILE}"
    assert [ask(here, "GET", path.format("write"), token=by).status for by in (reader, other)] == [403, 404]
    assert ask(here, "GET", path.format("read"), token=other).status == 404
    assert ask(here, "GET", "/api/models/user/x/xet-read-token/none").status == 404
    read = token(here, "read", by=reader)
    assert ask(here, "GET", wanted, token=read).status == 200
    assert ask(here, "POST", f"/v1/xorbs/default/{XORB}", BODY, read).status == 403
    assert ask(here, "POST", "/v1/shards", shard(), read).status == 403
    # Another repository's token does not lead to this one's files.
    assert ask(here, "GET", wanted, token=token(here, "read", "/api/models/user/y")).status == 404
    for wrong in (here.token, read[:-1], read + "0", "xet."):
        assert ask(here, "GET", wanted, token=wrong).status == 401
    link = told(ask(here, "GET", wanted, token=read))["fetch_info"][XORB][0]["url"]
    assert here.handle(Request("GET", link.replace("sig=", "sig=0"))).status == 403


def test_what_a_client_remembers_of_a_storage_is_of_no_other(tmp_path: Path) -> None:
    """hf_xet keeps in HF_HOME, by the storage's address, what it need not send again."""

    def address(hub: Hub) -> str:
        return str(told(ask(hub, "GET", "/api/models/user/x/xet-write-token/main"))["casUrl"])

    one, other, kept = Hub(), Hub(), Hub(folder=tmp_path)
    for hub in one, other, kept:
        hub.create("user/x")
    assert len({address(one), address(other), address(kept)}) == 3
    assert address(Hub(folder=tmp_path)) == address(kept)
    path = address(one).removeprefix(URL)
    assert ask(one, "POST", f"{path}/v1/xorbs/default/{XORB}", BODY, token(one)).status == 200


def test_a_token_ends() -> None:
    now = [0.0]
    hub = Hub(clock=lambda: now[0])
    hub.create("user/x")
    read = token(hub, "read")
    now[0] = 3601.0
    assert ask(hub, "GET", f"/v1/reconstructions/{FILE}", token=read).status == 401


def test_the_quota_counts_what_comes_over_xet(here: Hub) -> None:
    here.add_user("user", here.token, quota=len(CONTENT) - 1)
    answer = ask(here, "POST", "/v1/shards", shard((FILE, [(XORB, 0, 4)], SHA256)), token(here))
    assert (answer.status, here.state.xet.files) == (403, {})


def test_without_loopback_nobody_is_led_to_xet() -> None:
    hub = Hub()
    hub.create("user/x")
    sha256 = hub.state.keep(b"\0")
    hub.repo("user/x").objects[sha256] = 1
    commit(hub, "a.bin", sha256)
    public = "https://huggingface.co"
    answer = ask(hub, "GET", f"{public}/user/x/resolve/main/a.bin")
    assert (answer.status, "X-Xet-Hash" in answer.headers) == (302, False)
    assert ask(hub, "GET", f"{public}/api/models/user/x/xet-read-token/main").status == 501
    wanted = {"operation": "upload", "transfers": ["basic", "xet"], "objects": [{"oid": "1" * 64, "size": 1}]}
    path = "/user/x.git/info/lfs/objects/batch"
    assert told(ask(hub, "POST", public + path, json.dumps(wanted).encode()))["transfer"] == "basic"
    assert told(ask(hub, "POST", path, json.dumps(wanted).encode()))["transfer"] == "xet"


def batch(hub: Hub, *lines: dict[str, Any]) -> tuple[int, list[str]]:
    answer = ask(hub, "POST", "/api/buckets/user/b/batch", b"\n".join(json.dumps(line).encode() for line in lines))
    return answer.status, [item["path"] for item in json.loads(answer.body)["failed"]]


def test_a_batch_says_what_failed(here: Hub) -> None:
    here.create("user/b", "bucket")
    told(ask(here, "POST", "/v1/shards", shard((FILE, [(XORB, 0, 4)], SHA256)), token(here)))
    copy = {"type": "copyFile", "path": "c", "xetHash": FILE, "sourceRepoType": "model", "sourceRepoId": "user/x"}
    # Another repository's file is not added by its name alone.
    add = {"type": "addFile", "path": "a", "xetHash": FILE, "mtime": 1}
    none = [add, {"type": "surprise", "path": "s"}, {**copy, "sourceRepoId": "user/no"}]
    assert batch(here, *none) == (422, ["a", "s", "c"])
    assert batch(here, copy, {**copy, "path": "../c"}) == (200, ["../c"])
    assert batch(here, {**add, "path": "e", "xetHash": EMPTY}) == (200, [])
    assert here.files("user/b", "bucket") == {"c": CONTENT, "e": b""}
    assert batch(here, {"type": "deleteFile", "path": "c"}, {"type": "deleteFile", "path": "c"}) == (200, [])
    assert list(here.files("user/b", "bucket")) == ["e"]


def test_a_fault_finds_its_bucket(here: Hub) -> None:
    here.create("user/b", "bucket")
    here.fail("POST /api/buckets/*", with_=Rename("user/c"))
    assert ask(here, "POST", "/api/buckets/user/b/batch").status == 307
    here.fail("GET /api/buckets/*", with_=Delete())
    assert ask(here, "GET", "/api/buckets/user/c").status == 404


def test_a_hash_as_text() -> None:
    assert named(bytes(range(32))) == "07060504030201000f0e0d0c0b0a090817161514131211101f1e1d1c1b1a1918"
