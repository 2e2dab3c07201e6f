"""Large files: git-lfs's batch (git-lfs, docs/api/batch.md), and the Hub's own transfer in parts.

The links that a batch hands out are signed and need no token, as those of the real Hub's storage. A content counts as
stored only once it is there whole and its sha256 is the one that was announced.
"""

from __future__ import annotations

import hashlib
from math import ceil
from typing import Any

from conformance.hub.messages import Refused, Response, reply
from conformance.hub.routing import Call, route
from conformance.hub.state import Part, Repo

LFS = {"Content-Type": "application/vnd.git-lfs+json"}


@route("POST", "/{prefix}{repo}.git/info/lfs/objects/batch")
def batch(call: Call, **holes: str) -> Response:
    """Say where to put, or to get, each object; one that is there already needs no upload.

    A client that offers Xet is led there (huggingface_hub up to 1.x, _commit_api.py, `_upload_files`; 2.x just goes).
    """
    told = call.request.json()
    upload = told.get("operation") == "upload"
    repo = call.writable() if upload else call.readable()
    objects = told.get("objects", [])
    if upload:
        room(call, repo, {o["oid"]: o["size"] for o in objects if o["oid"] not in repo.objects})
        if "xet" in told.get("transfers", []) and call.cas:
            asked = [{"oid": o["oid"], "size": o["size"], "authenticated": True} for o in objects]
            return reply({"transfer": "xet", "objects": asked}, headers=LFS)
    part = call.state.part_size
    parts = "multipart" in told.get("transfers", []) and any(o["size"] > part for o in objects)
    answers = [_upload(call, repo, o, part if parts else None) if upload else _download(call, repo, o) for o in objects]
    return reply({"transfer": "multipart" if parts else "basic", "objects": answers}, headers=LFS)


def room(call: Call, repo: Repo, new: dict[str, int]) -> None:
    """Raise Refused (403) if the namespace's storage would be more than its quota."""
    quota = call.state.quota(repo.namespace)
    if quota is not None and call.state.stored(repo.namespace) + sum(new.values()) > quota:
        kind = "Private repository" if repo.private else "Repository"
        raise Refused(403, f"{kind} storage limit reached, please upgrade your plan to increase your storage limit")


def _upload(call: Call, repo: Repo, told: dict[str, Any], part: int | None) -> dict[str, Any]:
    oid, size = told["oid"], told["size"]
    if oid in repo.objects:
        return {"oid": oid, "size": size}
    path = f"_upload/{repo.kind}/{repo.id}/{oid}/{size}"

    def link(what: str) -> str:
        host = call.request.base if what in ("verify", "complete") else call.storage
        return f"{host}/{path}/{what}?sig={call.sign(repo.kind, repo.id, oid, size, what)}"

    actions: dict[str, Any] = {"upload": {"href": link("whole")}, "verify": {"href": link("verify")}}
    if part is not None and size > part:
        header = {"chunk_size": str(part), **{str(n): link(str(n)) for n in range(1, ceil(size / part) + 1)}}
        actions["upload"] = {"href": link("complete"), "header": header}
    return {"oid": oid, "size": size, "authenticated": True, "actions": actions}


def _download(call: Call, repo: Repo, told: dict[str, Any]) -> dict[str, Any]:
    oid = told["oid"]
    if oid not in repo.objects:
        return {"oid": oid, "size": told["size"], "error": {"code": 404, "message": "Object does not exist"}}
    href = f"{call.storage}/_large/{oid}?sig={call.sign('download', oid)}"
    return {"oid": oid, "size": repo.objects[oid], "actions": {"download": {"href": href}}}


def _meant(call: Call, what: str) -> tuple[Repo, str, int]:
    """Return what a signed link is for. Raises Refused (403, 404)."""
    kind, id, oid, size = (call.holes[name] for name in ("type", "repo", "oid", "size"))
    call.check(kind, id, oid, size, what)
    repo = call.state.repos.get((kind, id)) or call.state.repos.get((kind, call.state.moved.get((kind, id), "")))
    if repo is None:
        raise Refused(404, "Repository not found", "RepoNotFound")
    return repo, oid, int(size)


def _store(call: Call, repo: Repo, oid: str, size: int, content: bytes) -> None:
    """Store a large file. Raises Refused (400) if it is not what was announced."""
    if len(content) != size or hashlib.sha256(content).hexdigest() != oid:
        raise Refused(400, f"BadDigest: {len(content)} bytes came for the object {oid} of {size} bytes")
    call.state.keep(content)
    repo.objects[oid] = size


ROOT = "/_upload/{type}/{repo}/{oid}/{size}"


@route("PUT", f"{ROOT}/{{what}}")
def put(call: Call, what: str, **holes: str) -> Response:
    """Take a whole content, or one part of it."""
    repo, oid, size = _meant(call, what)
    md5 = hashlib.md5(call.request.body, usedforsecurity=False).hexdigest()
    if what == "whole":
        _store(call, repo, oid, size, call.request.body)
    elif what.isdigit():
        repo.parts[oid, int(what)] = Part(md5, call.request.body)
    else:
        raise Refused(405, f"{what} takes no PUT")
    return Response(200, {"ETag": f'"{md5}"'})


@route("POST", f"{ROOT}/complete")
def complete(call: Call, **holes: str) -> Response:
    """Join the parts (huggingface_hub, lfs.py, _get_completion_payload)."""
    repo, oid, size = _meant(call, "complete")
    if oid in repo.objects:  # a client that did not get the answer asks again
        return reply({"success": True})
    told = call.request.json()
    content = []
    for part in sorted(told.get("parts", []), key=lambda part: int(part["partNumber"])):
        sent = repo.parts.get((oid, part["partNumber"]))
        if sent is None or f'"{sent.md5}"' != part["etag"]:
            raise Refused(400, f"InvalidPart: part {part['partNumber']} of {oid} is not the one that was sent")
        content.append(sent.content)
    _store(call, repo, oid, size, b"".join(content))
    repo.parts = {key: value for key, value in repo.parts.items() if key[0] != oid}
    return reply({"success": True})


@route("POST", f"{ROOT}/verify")
def verify(call: Call, **holes: str) -> Response:
    """Say whether the object is stored."""
    repo, oid, size = _meant(call, "verify")
    if repo.objects.get(oid) != size:
        raise Refused(404, f"The object {oid} is not stored")
    return reply({})
