"""Buckets: files by their paths, without history. Contents come and go over the Xet protocol (`routes/xet.py`).

A client without it reads a file where `resolve` leads, and deletes; to add one, huggingface_hub needs hf_xet (1.10 to
2.4, hf_api.py, `_batch_bucket_files`).
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable
from typing import Any

from conformance.hub.messages import Refused, Response, reply
from conformance.hub.routes.commits import valid
from conformance.hub.routes.files import over_xet, stored
from conformance.hub.routes.repos import address, namespace, number, private
from conformance.hub.routes.xet import hand_out
from conformance.hub.routing import Call, Renamed, route
from conformance.hub.state import Entry, Repo, iso
from conformance.hub.xet import EMPTY

#: Entries per page.
PAGE = 1000


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
    call.holes["kind"] = "buckets"
    bucket = call.repo
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
    """List a namespace's buckets whose name has what is searched for."""
    user, word = call.user, call.request.query.get("search", [""])[0].lower()
    name = call.signed_in().name if owner == "me" else owner
    found = [repo for (kind, _), repo in call.state.repos.items() if kind == "bucket" and repo.namespace == name]
    seen = [repo for repo in found if not repo.private or (user and user.owns(name))]
    return call.page([_told(repo) for repo in seen if word in repo.id.lower()], PAGE)


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


def _uploaded(bucket: Repo, entry: Entry) -> str:
    return iso(bucket.commits[entry.commit].date)


def _file(call: Call, path: str, entry: Entry) -> dict[str, Any]:
    """Return a file as it is listed (huggingface_hub, _buckets.py, BucketFile)."""
    uploaded = _uploaded(call.repo, entry)
    mtime = uploaded if entry.mtime is None else iso(entry.mtime / 1000)
    name = call.state.xet.name(entry.sha256)
    return {"type": "file", "path": path, "size": entry.size, "xetHash": name, "mtime": mtime, "uploadedAt": uploaded}


@route("GET", "/api/buckets/{repo}/tree")
@route("GET", "/api/buckets/{repo}/tree/{path}")
def tree(call: Call, path: str = "", **holes: str) -> Response:
    """List the files whose path starts with a prefix; unless `recursive`, folders in the place of what is in them.

    A prefix is text, not a folder: `logs` lists `logs/a` and `logs.txt` (huggingface_hub 2.4, hf_api.py:14513).
    """
    bucket, prefix = _bucket(call), path.strip("/")
    found = sorted((name, entry) for name, entry in bucket.head.tree.items() if name.startswith(prefix))
    if call.request.flag("recursive"):
        return call.page([_file(call, name, entry) for name, entry in found], PAGE)
    depth = prefix.count("/") + 2 if prefix else 1
    told: dict[str, dict[str, Any]] = {}
    for name, entry in found:
        steps = name.split("/")
        if len(steps) <= depth:
            told[name] = _file(call, name, entry)
        else:
            folder, uploaded = "/".join(steps[:depth]), _uploaded(bucket, entry)
            newest = max(uploaded, told.get(folder, {}).get("uploadedAt", ""))
            told[folder] = {"type": "directory", "path": folder, "uploadedAt": newest}
    return call.page(list(told.values()), PAGE)


@route("POST", "/api/buckets/{repo}/paths-info")
def paths_info(call: Call, **holes: str) -> Response:
    """Tell about some files; those that do not exist, and folders, are left out."""
    files = _bucket(call).head.tree
    return reply([_file(call, path, files[path]) for path in call.request.json().get("paths", []) if path in files])


@route("GET HEAD", "/buckets/{repo}/resolve/{path}")
def resolve(call: Call, path: str, **holes: str) -> Response:
    """Lead to a file: with its name for Xet, and a signed link."""
    entry = _bucket(call).head.tree.get(path)
    if entry is None:
        raise Refused(404, "Entry not found", "EntryNotFound")
    return stored(call, entry, posixpath.basename(path), over_xet(call, entry))


def _add(call: Call, files: dict[str, Entry], told: dict[str, Any]) -> None:
    files[valid(told["path"])] = _entry(call, call.repo, told)


def _copy(call: Call, files: dict[str, Entry], told: dict[str, Any]) -> None:
    files[valid(told["path"])] = _entry(call, call.visible(told["sourceRepoType"], told["sourceRepoId"]), told)


def _delete(call: Call, files: dict[str, Entry], told: dict[str, Any]) -> None:
    files.pop(told["path"], None)


def _entry(call: Call, source: Repo, told: dict[str, Any]) -> Entry:
    """Return a file that was uploaded to a repository, by its name for Xet. Raises Refused (404)."""
    name, storage = told["xetHash"], call.state.xet
    sha256 = call.state.keep(b"") if name == EMPTY else storage.files[name].sha256 if name in storage.files else name
    if name != EMPTY and not source.holds(sha256):
        raise Refused(404, f"{source.id} has no file {name}")
    content = call.state.contents[sha256]
    made = call.state.entry(content)
    return Entry(made.sha256, made.size, made.oid, mtime=told.get("mtime"))


OPERATIONS: dict[str, Callable[[Call, dict[str, Entry], dict[str, Any]], None]] = {
    "addFile": _add,
    "copyFile": _copy,
    "deleteFile": _delete,
}


@route("POST", "/api/buckets/{repo}/batch")
def batch(call: Call, **holes: str) -> Response:
    """Add, copy and delete files, each for itself: those that fail are told, with 422 if none succeeded.

    By hf_api.py of huggingface_hub 2.4, `_batch_bucket_files` (and `batch_bucket_files`: it is no transaction).
    """
    bucket = _bucket(call, write=True)
    files, failed, lines = dict(bucket.head.tree), [], [line for line in call.request.body.splitlines() if line]
    for line in lines:
        told: dict[str, Any] = {}
        try:
            told = json.loads(line)
            OPERATIONS[told["type"]](call, files, told)
        except (ValueError, KeyError, TypeError) as error:
            failed.append({"path": str(told.get("path")), "error": f"Not an operation on a bucket: {error!r}"})
        except (Refused, Renamed) as refused:
            failed.append({"path": told["path"], "error": str(refused)})
    if len(failed) < len(lines):
        call.state.commit(bucket, "refs/heads/main", files, call.signed_in().name, "batch", parent=bucket.head.oid)
    told = {"success": not failed, "processed": len(lines), "succeeded": len(lines) - len(failed), "failed": failed}
    return reply(told, 422 if failed and len(failed) == len(lines) else 200)


@route("GET", "/api/buckets/{repo}/events")
def events(call: Call, **holes: str) -> Response:
    """Refuse to tell of changes as they happen; a client then lists anew (huggingface_hub, _bucket_live_follow.py)."""
    _bucket(call)
    raise Refused(501, "The Hub in memory does not tell of changes: list the bucket")


@route("GET", "/api/buckets/{repo}/xet-{role}-token")
def token(call: Call, role: str, **holes: str) -> Response:
    """Hand out a token for the Xet protocol."""
    return hand_out(call, _bucket(call, write=role == "write"), role)
