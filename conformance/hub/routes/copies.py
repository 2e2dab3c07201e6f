"""Copies: of a repository, and of large files from one repository to another."""

from __future__ import annotations

from dataclasses import replace

from conformance.hub.messages import Refused, Response, reply
from conformance.hub.routes.large import room
from conformance.hub.routes.repos import RUNTIME, address, namespace, private
from conformance.hub.routing import Call, route
from conformance.hub.state import KINDS, MAIN


@route("POST", "/api/{kind}/{repo}/duplicate")
def duplicate(call: Call, **holes: str) -> Response:
    """Make a repository with the same files (huggingface_hub, hf_api.py, duplicate_space and duplicate_repo)."""
    call.readable()
    source, told, commit = call.repo, call.request.json(), call.at()
    owner, _, name = str(told.get("repository") or source.id).partition("/")
    id = f"{namespace(call, owner, source.kind)}/{name}"
    if taken := call.state.repos.get((source.kind, id)):
        message = f"You already created this {source.kind} repo: {id}"
        return reply({"error": message, "url": address(call, taken)}, 409, {"X-Error-Message": message})
    hidden = private(told) if "private" in told or "visibility" in told else source.private
    made = call.state.create(source.kind, id, call.signed_in().name, private=hidden, sdk=source.sdk)
    made.objects = {entry.sha256: entry.size for entry in commit.tree.values() if entry.lfs}
    made.runtime = {name: told[name] for name in RUNTIME if told.get(name) is not None}
    files = {path: replace(entry, commit="") for path, entry in commit.tree.items()}
    title = f"Duplicate from {source.id}"
    call.state.commit(made, f"refs/heads/{MAIN}", files, call.signed_in().name, title, parent=made.head.oid)
    return reply({"url": address(call, made)})


@route("POST", "/api/{kind}/{repo}/lfs-files/duplicate")
def duplicate_files(call: Call, **holes: str) -> Response:
    """Give large files to another repository, which may commit them then (hf_api.py, `_duplicate_lfs_files`)."""
    source, told = call.readable(), call.request.json()
    target = call.visible(KINDS[f"{told['target']['type']}s"], told["target"]["name"])
    if not call.signed_in(write=True).owns(target.namespace):
        raise Refused(403, f"You don't have the rights to change the {target.kind} {target.id}")
    wanted = [file["sha256"] for file in told["files"]]
    there = [sha256 for sha256 in wanted if source.holds(sha256)]
    sizes = {sha256: len(call.state.contents[sha256]) for sha256 in there}
    room(call, target, {sha256: size for sha256, size in sizes.items() if sha256 not in target.objects})
    target.objects |= sizes
    return reply({"failed": [{"sha256": sha256, "error": "Not found"} for sha256 in wanted if sha256 not in there]})
