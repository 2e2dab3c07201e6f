"""Buckets: what is told about them. Their contents go over the Xet protocol alone, which this Hub does not speak.

A client with HF_HUB_DISABLE_XET reads and deletes; to add a file it needs hf_xet (huggingface_hub 2.4.0, hf_api.py,
`_batch_bucket_files`), which asks for a Xet token first: that request is refused with a line that says so.
"""

from __future__ import annotations

import json
from typing import Any

from conformance.hub.messages import Refused, Response, reply
from conformance.hub.routes.repos import address, namespace, number, private
from conformance.hub.routing import Call, route
from conformance.hub.state import Repo, iso


def _told(repo: Repo) -> dict[str, Any]:
    files = repo.head.tree.values()
    return {
        "_id": number(repo),
        "id": repo.id,
        "author": repo.namespace,
        "private": repo.private,
        "createdAt": iso(repo.created),
        "updatedAt": iso(repo.head.date),
        "size": sum(entry.size for entry in files),
        "totalFiles": len(files),
    }


def _bucket(call: Call, write: bool = False) -> Repo:
    bucket = call.visible("bucket", call.holes["repo"])
    if write and not call.signed_in(write=True).owns(bucket.namespace):
        raise Refused(403, f"You don't have the rights to change the bucket {bucket.id}")
    return bucket


@route("POST", "/api/buckets/{owner}/{name}")
def create(call: Call, owner: str, name: str) -> Response:
    """Create a bucket; the namespace `me` is the user's own."""
    id = f"{namespace(call, owner, 'bucket')}/{name}"
    if taken := call.state.repos.get(("bucket", id)):
        message = f"You already created this bucket: {id}"
        return reply({"error": message, "url": address(call, taken)}, 409, {"X-Error-Message": message})
    bucket = call.state.create("bucket", id, call.signed_in().name, private=private(call.request.json()))
    return reply({"url": address(call, bucket), "name": bucket.id, "id": number(bucket)})


@route("GET", "/api/buckets/{owner}")
def listing(call: Call, owner: str) -> Response:
    """List a namespace's buckets."""
    user = call.user
    name = call.signed_in().name if owner == "me" else owner
    found = [repo for (kind, _), repo in call.state.repos.items() if kind == "bucket" and repo.namespace == name]
    return call.page([_told(repo) for repo in found if not repo.private or (user and user.owns(name))], 1000)


@route("GET", "/api/buckets/{repo}")
def info(call: Call, **holes: str) -> Response:
    """Tell about a bucket."""
    return reply(_told(_bucket(call)))


@route("DELETE", "/api/buckets/{repo}")
def delete(call: Call, **holes: str) -> Response:
    """Delete a bucket."""
    call.state.delete("bucket", _bucket(call, write=True).id)
    return reply({})


@route("PUT", "/api/buckets/{repo}/settings")
def settings(call: Call, **holes: str) -> Response:
    """Change a bucket's visibility."""
    bucket = _bucket(call, write=True)
    bucket.private = private(call.request.json())
    return reply(_told(bucket))


@route("GET", "/api/buckets/{repo}/tree")
@route("GET", "/api/buckets/{repo}/tree/{path}")
def tree(call: Call, path: str = "", **holes: str) -> Response:
    """List a bucket's files below a prefix."""
    bucket = _bucket(call)
    found = sorted((name, entry) for name, entry in bucket.head.tree.items() if name.startswith(path))
    told = [
        {"type": "file", "path": name, "size": entry.size, "xetHash": entry.sha256, "mtime": iso(bucket.head.date)}
        for name, entry in found
    ]
    return call.page(told, 1000)


@route("POST", "/api/buckets/{repo}/batch")
def batch(call: Call, **holes: str) -> Response:
    """Delete files. Raises Refused (501) for additions: what the Xet protocol would have brought is not here."""
    bucket = _bucket(call, write=True)
    left = dict(bucket.head.tree)
    for line in filter(None, call.request.body.splitlines()):
        told = json.loads(line)
        if told.get("type") != "deleteFile":
            raise Refused(501, f"The Hub in memory takes no {told.get('type')} into a bucket: it does not speak Xet")
        left.pop(told["path"], None)
    call.state.commit(bucket, "refs/heads/main", left, call.signed_in().name, "batch", parent=bucket.head.oid)
    return reply({"failed": []})


@route("GET", "/api/{plural}/{repo}/xet-{role}-token/{rev}")
@route("GET", "/api/buckets/{repo}/xet-{role}-token")
def xet(call: Call, **holes: str) -> Response:
    """Refuse the Xet protocol: it runs in Rust, out of every door's reach. HF_HUB_DISABLE_XET=1 does without it."""
    raise Refused(501, "The Hub in memory does not speak Xet: set HF_HUB_DISABLE_XET=1, as the fixture does")
