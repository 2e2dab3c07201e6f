"""Repositories: create, delete, rename, settings, information, listing."""

from __future__ import annotations

import hashlib
from typing import Any

from conformance.hub.cards import metadata
from conformance.hub.messages import Refused, Response, reply
from conformance.hub.routing import Call, route
from conformance.hub.state import KINDS, Commit, Entry, Repo, iso


def private(told: dict[str, Any]) -> bool:
    """Read the visibility: `private` up to huggingface_hub 1.x, `visibility` since."""
    return bool(told.get("private")) or told.get("visibility") == "private"


def address(call: Call, repo: Repo) -> str:
    """Return a repository's page."""
    return f"{call.request.base}/{'' if repo.kind == 'model' else repo.kind + 's/'}{repo.id}"


def namespace(call: Call, wanted: str | None, kind: str) -> str:
    """Return where a repository is to be created. Raises Refused (401, 403)."""
    user = call.signed_in()
    owner = user.name if wanted in (None, "", "me") else str(wanted)
    role = user.tokens[call.request.headers["authorization"].partition(" ")[2].strip()]
    if not user.owns(owner) or role != "write":
        raise Refused(403, f'You don\'t have the rights to create a {kind} under the namespace "{owner}"')
    return owner


@route("POST", "/api/repos/create")
def create(call: Call) -> Response:
    """Create a repository; 409 with its address if it is there."""
    told = call.request.json()
    kind = told.get("type") or "model"
    if kind not in KINDS.values() or kind == "bucket":
        raise Refused(400, f"There is no kind of repository {kind!r}")
    if kind == "space" and not told.get("sdk"):
        raise Refused(400, '"sdk" is required')
    owner = namespace(call, told.get("organization"), kind)
    id = f"{owner}/{told.get('name', '')}"
    taken = call.state.repos.get((kind, id))
    if taken:
        message = f"You already created this {kind} repo: {id}"
        return reply({"error": message, "url": address(call, taken)}, 409, {"X-Error-Message": message})
    repo = call.state.create(kind, id, call.signed_in().name, private=private(told), sdk=told.get("sdk"))
    if kind == "space":
        repo.runtime = {name: told[name] for name in RUNTIME if told.get(name) is not None}
    for item in told.get("variables") or []:
        repo.variables[item["key"]] = {**item, "updatedAt": iso(repo.created)}
    for item in told.get("secrets") or []:
        repo.secrets[item["key"]] = {"key": item["key"], "updatedAt": iso(repo.created)}
    return reply({"url": address(call, repo), "name": repo.id, "id": number(repo)})


def _named(call: Call) -> Repo:
    """Return the repository that a body names, if who asks may change it."""
    told = call.request.json()
    owner = told.get("organization") or call.signed_in().name
    return _owned(call, told.get("type") or "model", f"{owner}/{told.get('name')}")


def _owned(call: Call, kind: str, id: str) -> Repo:
    repo = call.visible(kind, id)
    if not call.signed_in(write=True).owns(repo.namespace):
        raise Refused(403, f"You don't have the rights to change the {kind} {id}")
    return repo


@route("DELETE", "/api/repos/delete")
def delete(call: Call) -> Response:
    """Delete a repository."""
    repo = _named(call)
    call.state.delete(repo.kind, repo.id)
    return Response(200, {"Content-Type": "text/plain"}, b"OK")


@route("POST", "/api/repos/move")
def move(call: Call) -> Response:
    """Rename a repository; its old name redirects."""
    told = call.request.json()
    repo = _owned(call, told.get("type") or "model", str(told.get("fromRepo")))
    owner = str(told.get("toRepo")).partition("/")[0]
    if not call.signed_in().owns(owner):
        raise Refused(403, f'You don\'t have the rights to move a {repo.kind} to the namespace "{owner}"')
    call.state.move(repo.kind, repo.id, str(told.get("toRepo")))
    return Response(200, {"Content-Type": "text/plain"}, b"OK")


@route("PUT", "/api/{kind}/{repo}/settings")
def settings(call: Call, **holes: str) -> Response:
    """Change visibility and gating."""
    repo = call.writable()
    told = call.request.json()
    if "private" in told or "visibility" in told:
        repo.private = private(told)
    if "gated" in told:
        repo.gated = told["gated"]
    return reply({"private": repo.private, "gated": repo.gated})


#: What a Space can be created with beside its files, as the API calls it.
RUNTIME = ("hardware", "sleepTimeSeconds", "storageTier", "volumes")


def runtime(space: Repo) -> dict[str, Any]:
    """Return what is told of a Space that runs; no Space is run here (huggingface_hub, _space_api.py, SpaceRuntime)."""
    told, hardware = space.runtime, space.runtime.get("hardware")
    return {
        "stage": "PAUSED" if told.get("paused") else "RUNNING",
        "sdk": space.sdk,
        "hardware": {"current": hardware or "cpu-basic", "requested": hardware},
        "storage": told.get("storageTier"),
        "gcTimeout": told.get("sleepTimeSeconds"),
        "devMode": told.get("devMode", False),
        **({"volumes": told["volumes"]} if "volumes" in told else {}),
    }


def number(repo: Repo) -> str:
    """Return a repository's id, 24 hexadecimal digits, the same after a rename."""
    return hashlib.sha1(f"{repo.kind}{repo.created}{repo.commits and next(iter(repo.commits))}".encode()).hexdigest()[
        :24
    ]


def card(call: Call, commit: Commit) -> dict[str, Any]:
    """Return the metadata of a commit's README.md; a broken one is none."""
    entry = commit.tree.get("README.md")
    if entry is None:
        return {}
    try:
        found = metadata(call.state.contents[entry.sha256].decode("utf-8", "replace"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def sibling(path: str, entry: Entry, blobs: bool) -> dict[str, Any]:
    """Return a file as an information lists it."""
    told: dict[str, Any] = {"rfilename": path}
    if blobs:
        told |= {"size": entry.size, "blobId": entry.oid}
        if entry.lfs:
            told["lfs"] = {"sha256": entry.sha256, "size": entry.size, "pointerSize": 100 + len(str(entry.size))}
    return told


def information(call: Call, repo: Repo, commit: Commit, full: bool = True) -> dict[str, Any]:
    """Return what the Hub tells about a repository at a commit."""
    data = card(call, commit)
    tags = data.get("tags") or []
    told: dict[str, Any] = {
        "_id": number(repo),
        "id": repo.id,
        "author": repo.namespace,
        "sha": commit.oid,
        "lastModified": iso(repo.head.date),
        "createdAt": iso(repo.created),
        "private": repo.private,
        "gated": repo.gated,
        "disabled": repo.disabled,
        "downloads": 0,
        "likes": 0,
        "tags": [str(tag) for tag in (tags if isinstance(tags, list) else [tags])],
        "cardData": data,
        "usedStorage": sum(entry.size for entry in commit.tree.values()),
        "xetEnabled": bool(call.cas),
    }
    if repo.kind == "model":
        told["modelId"] = repo.id
        told |= {name: data[name] for name in ("library_name", "pipeline_tag") if name in data}
    if repo.kind == "space":
        told |= {"sdk": repo.sdk, "runtime": runtime(repo)}
    if full:
        blobs = call.request.flag("blobs")
        told["siblings"] = [sibling(path, entry, blobs) for path, entry in sorted(commit.tree.items())]
    wanted = call.request.query.get("expand")
    return {name: value for name, value in told.items() if name in ("_id", "id", *wanted)} if wanted else told


@route("GET HEAD", "/api/{kind}/{repo}")
@route("GET HEAD", "/api/{kind}/{repo}/revision/{rev}")
def info(call: Call, **holes: str) -> Response:
    """Tell about a repository, at a revision."""
    return reply(information(call, call.repo, call.at()))


@route("GET", "/api/{kind}/{repo}/auth-check")
def auth_check(call: Call, **holes: str) -> Response:
    """Tell whether who asks may read the files; `/write` is not asked by any client."""
    call.readable()
    return Response(200, {"Content-Type": "text/plain"}, b"OK")


@route("GET", "/api/{kind}")
def listing(call: Call, **holes: str) -> Response:
    """List repositories: filtered by author, name and tag, the newest first, a page at a time."""
    query = {name: values[-1] for name, values in call.request.query.items()}
    user = call.user
    found = [
        repo
        for repo in call.state.repos.values()
        if repo.kind == call.kind
        and (not repo.private or (user and user.owns(repo.namespace)))
        and query.get("author", repo.namespace).lower() == repo.namespace.lower()
        and query.get("search", "").lower() in repo.id.lower()
    ]
    told = [information(call, repo, repo.head, full=call.request.flag("full")) for repo in found]
    wanted = call.request.query.get("filter", [])
    told = [item for item in told if all(tag in item.get("tags", []) for tag in wanted)]
    # The order of creation, newest first, is the same as by date and stays so within a millisecond.
    keys = {"lastModified": "lastModified", "last_modified": "lastModified"}
    told.reverse()
    if query.get("sort") in keys:
        told.sort(key=lambda item: str(item.get("lastModified")), reverse=query.get("direction", "-1") == "-1")
    return call.page(told, 1000)
