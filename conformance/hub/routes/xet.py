"""The Xet protocol: tokens for it, and its storage, as the native client hf_xet asks for it.

    GET  /api/models/{repo}/xet-read-token/{rev}      a token, and where the storage is (`-write-`: for an upload)
    POST /v1/xorbs/default/{hash}                     a xorb: chunks of files
    POST /v1/shards                                   what files are made of; with it they are stored
    GET  /v1/reconstructions/{file}                   the chunks of a file, and where to get them
    GET  /_xorb/{hash}                                part of a xorb, to whoever has its signed link

By openapi/cas.openapi.yaml of xet-core, and as xet_client/src/cas_client/remote_client.rs of its releases asks: up to
hf-xet 1.1 `/xorb`, `/shard` and `/reconstruction`, 1.2 without `/v1`, later also `/v2`.
"""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any, NamedTuple

from conformance.hub.messages import Refused, Response, reply
from conformance.hub.routes.files import RANGE, served
from conformance.hub.routes.large import room
from conformance.hub.routing import Call, route
from conformance.hub.state import Repo
from conformance.hub.xet import Malformed, Piece, read_shard, read_xorb

#: Seconds for which a token is good.
GOOD = 3600
#: What the paths of the storage start with: `Call.cas`, or nothing.
ROOT = "(?:/_xet/[0-9a-f]+)?"


def _token(call: Call, repo: Repo, role: str) -> tuple[str, int]:
    """Return a token for one repository, and when it ends (seconds since 1970)."""
    end = int(call.state.now) + GOOD
    claim = base64.urlsafe_b64encode(json.dumps([repo.kind, repo.id, role, end]).encode()).decode()
    return f"xet.{claim}.{call.sign('xet', claim)}", end


def _granted(call: Call, *roles: str) -> Repo:
    """Return the repository that the token is for. Raises Refused (401, 403, 404)."""
    word, _, claim = call.request.headers.get("authorization", "").partition(" ")[2].strip().partition(".")
    claim, _, signature = claim.partition(".")
    if word != "xet" or not hmac.compare_digest(signature, call.sign("xet", claim)):
        raise Refused(401, "Invalid Xet token")
    kind, id, role, end = json.loads(base64.urlsafe_b64decode(claim))
    if end < call.state.now:
        raise Refused(401, "The Xet token is no longer valid")
    if role not in roles:
        raise Refused(403, f"A Xet token to {role} is not one to {roles[0]}")
    repo = call.state.repos.get((kind, id)) or call.state.repos.get((kind, call.state.moved.get((kind, id), "")))
    if repo is None:
        raise Refused(404, "Repository not found", "RepoNotFound")
    return repo


def hand_out(call: Call, repo: Repo, role: str) -> Response:
    """Hand out a token (huggingface_hub, utils/_xet.py, reads the headers; hf_xet itself the body).

    Raises Refused (501) where no loopback server is: the native client would look for it in the real world.
    """
    if not call.cas:
        raise Refused(501, "The Hub in memory speaks Xet over loopback only: serve it, or set HF_HUB_DISABLE_XET=1")
    token, end = _token(call, repo, role)
    headers = {"X-Xet-Cas-Url": call.cas, "X-Xet-Access-Token": token, "X-Xet-Token-Expiration": str(end)}
    return reply({"casUrl": call.cas, "accessToken": token, "exp": end}, headers=headers)


@route("GET", "/api/{kind}/{repo}/xet-{role}-token/{rev}")
def token(call: Call, role: str, rev: str, **holes: str) -> Response:
    """Hand out a token for a revision; a pull request that is not open yet has none (`None`)."""
    if role == "read":
        call.readable()
        call.at()
        return hand_out(call, call.repo, role)
    if call.request.flag("create_pr") or rev.startswith("refs/pr/"):
        call.signed_in(write=True)
        return hand_out(call, call.repo, role)
    call.writable().at(rev)
    return hand_out(call, call.repo, role)


@route("POST", ROOT + "/(?:v1/)?xorbs?/default/{hash}")
def put_xorb(call: Call, hash: str) -> Response:
    """Take a xorb. Raises Refused (400) for one that has no chunks."""
    _granted(call, "write")
    known = hash in call.state.xet.xorbs
    try:
        call.state.xet.xorbs.setdefault(hash, read_xorb(call.request.body))
    except Malformed as error:
        raise Refused(400, f"The xorb {hash}: {error}") from error
    return reply({"was_inserted": not known})


@route("POST", ROOT + "/v1/xorb-grants/{path}")
def grant(call: Call, **holes: str) -> Response:
    """Refuse to name another place for xorbs (hf-xet 1.8 asks first): they are to come here."""
    raise Refused(404, "This Xet storage takes xorbs itself")


@route("POST", ROOT + "/(?:v1/)?shards?")
@route("POST", ROOT + "/(?:v1/)?shard/default/{hash}")
def put_shard(call: Call, **holes: str) -> Response:
    """Store the files that a shard tells of, all or none. Raises Refused (400, 403)."""
    repo = _granted(call, "write")
    storage = call.state.xet
    try:
        files = [(told.name, *storage.made(told)) for told in read_shard(call.request.body)]
    except Malformed as error:
        raise Refused(400, f"The shard: {error}") from error
    room(call, repo, {file.sha256: file.size for _, file, _ in files if file.sha256 not in repo.objects})
    for name, file, content in files:
        call.state.keep(content)
        storage.add(name, file)
        repo.objects[file.sha256] = file.size
    return reply({"result": 1})


@route("POST", ROOT + "/v2/shards")
def put_shard_by_events(call: Call) -> Response:
    """Store a shard's files; the answer has a line per step, here the last alone (cas_types, ShardUploadEvent)."""
    put_shard(call)
    return Response(200, {"Content-Type": "application/x-ndjson"}, b'{"type":"result"}\n')


@route("GET", ROOT + "/(?:v1/)?chunks?/{space}/{hash}")
def chunk(call: Call, **holes: str) -> Response:
    """Say of every chunk that no other repository has it: nothing is deduplicated between repositories."""
    raise Refused(404, "The chunk is not known")


@route("POST", ROOT + "/v1/telemetry")
def telemetry(call: Call) -> Response:
    """Take notice of nothing."""
    return reply({})


def _pieces(call: Call, name: str) -> tuple[int, list[Piece]]:
    """Return the chunks of a file, or of the range that is asked for. Raises Refused (404, 416)."""
    repo = _granted(call, "read", "write")
    storage, contents = call.state.xet, call.state.contents
    file = storage.files.get(name)
    if file is None and name in contents:
        file = storage.adopt(name, contents[name])
    if file is None or not repo.holds(file.sha256):
        raise Refused(404, f"The file {name} does not exist")
    wanted = RANGE.fullmatch(call.request.headers.get("range", ""))
    first, last = wanted.groups() if wanted else ("", "")
    start, end = int(first or 0), int(last) + 1 if last else file.size
    if start and start >= file.size:
        raise Refused(416, "The range begins behind the end")
    return storage.pieces(file, start, min(end, file.size))


class Place(NamedTuple):
    """Chunks of a xorb (the end excluded), and their bytes (the end included)."""

    chunks: dict[str, int]
    bytes: dict[str, int]


def _places(call: Call, pieces: list[Piece]) -> dict[str, tuple[str, list[Place]]]:
    """Return where the pieces are: by xorb a link, and the ranges of it that are needed.

    No two of them overlap or touch: a term is then in one, where clients up to hf-xet 1.4 look for it.
    """
    ranges: dict[str, list[list[int]]] = {}
    for piece in sorted(pieces):
        known = ranges.setdefault(piece.xorb, [])
        if known and piece.start <= known[-1][1]:
            known[-1][1] = max(known[-1][1], piece.end)
        else:
            known.append([piece.start, piece.end])
    places = {}
    for name, found in ranges.items():
        chunks = call.state.xet.xorbs[name].chunks
        link = f"{call.cas}/_xorb/{name}?sig={call.sign('xorb', name)}"
        places[name] = (
            link,
            [
                Place({"start": start, "end": end}, {"start": chunks[start].start, "end": chunks[end - 1].end - 1})
                for start, end in found
            ],
        )
    return places


def _terms(skipped: int, pieces: list[Piece]) -> dict[str, Any]:
    terms = [
        {"hash": xorb, "unpacked_length": size, "range": {"start": start, "end": end}}
        for xorb, start, end, size in pieces
    ]
    return {"offset_into_first_range": skipped, "terms": terms}


@route("GET", ROOT + "/(?:v1/)?reconstructions?/{name}")
def reconstruction(call: Call, name: str) -> Response:
    """Tell what a file is made of, and where its parts are."""
    skipped, pieces = _pieces(call, name)
    places = {
        xorb: [{"range": place.chunks, "url": link, "url_range": place.bytes} for place in found]
        for xorb, (link, found) in _places(call, pieces).items()
    }
    return reply({**_terms(skipped, pieces), "fetch_info": places})


@route("GET", ROOT + "/v2/reconstructions/{name}")
def reconstruction_by_xorb(call: Call, name: str) -> Response:
    """Tell the same in the second form; an entry per range, so that nobody needs several ranges in one request."""
    skipped, pieces = _pieces(call, name)
    places = {
        xorb: [{"url": link, "ranges": [{"chunks": place.chunks, "bytes": place.bytes}]} for place in found]
        for xorb, (link, found) in _places(call, pieces).items()
    }
    return reply({**_terms(skipped, pieces), "xorbs": places})


@route("GET", ROOT + "/_xorb/{hash}")
def get_xorb(call: Call, hash: str) -> Response:
    """Hand out part of a xorb."""
    call.check("xorb", hash)
    return served(call.request, call.state.xet.xorbs[hash].body, hash, hash, {})
