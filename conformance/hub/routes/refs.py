"""Branches, tags, history."""

from __future__ import annotations

from typing import Any

from conformance.hub.messages import Refused, Response, reply
from conformance.hub.routing import Call, route
from conformance.hub.state import MAIN, Repo, iso

#: Commits per page.
PAGE = 50


def _told(repo: Repo, root: str) -> list[dict[str, Any]]:
    found = [(ref, oid) for ref, oid in repo.refs.items() if ref.startswith(root)]
    return [{"name": ref.removeprefix(root), "ref": ref, "targetCommit": oid} for ref, oid in found]


@route("GET", "/api/{kind}/{repo}/refs")
def refs(call: Call, **holes: str) -> Response:
    """List branches and tags, on demand pull requests."""
    repo = call.repo
    told = {"branches": _told(repo, "refs/heads/"), "tags": _told(repo, "refs/tags/"), "converts": []}
    if call.request.flag("include_prs"):
        told["pullRequests"] = [{**item, "name": item["ref"]} for item in _told(repo, "refs/pr/")]
    return reply(told)


@route("POST", "/api/{kind}/{repo}/branch/{rev}")
def create_branch(call: Call, rev: str, **holes: str) -> Response:
    """Create a branch at a revision (default: main)."""
    repo, told = call.writable(), call.request.json()
    if f"refs/heads/{rev}" in repo.refs and not told.get("overwrite"):
        raise Refused(409, f"Reference already exists: refs/heads/{rev}")
    repo.refs[f"refs/heads/{rev}"] = repo.at(told.get("startingPoint") or MAIN).oid
    return reply({"success": True})


@route("DELETE", "/api/{kind}/{repo}/branch/{rev}")
def delete_branch(call: Call, rev: str, **holes: str) -> Response:
    """Delete a branch; main stays."""
    repo = call.writable()
    if rev == MAIN:
        raise Refused(403, "Cannot delete the default branch")
    if repo.refs.pop(f"refs/heads/{rev}", None) is None:
        raise Refused(404, f"Reference does not exist: refs/heads/{rev}", "RevisionNotFound")
    return reply({"success": True})


@route("POST", "/api/{kind}/{repo}/tag/{rev}")
def create_tag(call: Call, rev: str, **holes: str) -> Response:
    """Tag a revision."""
    repo, told = call.writable(), call.request.json()
    full = f"refs/tags/{told.get('tag', '')}"
    if full == "refs/tags/":
        raise Refused(400, '"tag" is required')
    if full in repo.refs:
        raise Refused(409, f"Reference already exists: {full}")
    repo.refs[full] = repo.at(rev).oid
    return reply({"success": True})


@route("DELETE", "/api/{kind}/{repo}/tag/{rev}")
def delete_tag(call: Call, rev: str, **holes: str) -> Response:
    """Delete a tag."""
    if call.writable().refs.pop(f"refs/tags/{rev}", None) is None:
        raise Refused(404, f"Reference does not exist: refs/tags/{rev}", "RevisionNotFound")
    return reply({"success": True})


@route("GET", "/api/{kind}/{repo}/commits/{rev}")
def history(call: Call, **holes: str) -> Response:
    """List the commits of a revision, newest first."""
    formatted = "formatted" in call.request.query.get("expand", [])
    told = []
    for commit in call.repo.history(call.at()):
        item: dict[str, Any] = {
            "id": commit.oid,
            "title": commit.title,
            "message": commit.message,
            "date": iso(commit.date),
            "authors": [{"user": commit.author, "avatar": f"/avatars/{commit.author}.svg"}],
        }
        if formatted:
            item["formatted"] = {"title": commit.title, "message": commit.message}
        told.append(item)
    return call.page(told, PAGE, {"X-Total-Count": str(len(told))})


@route("POST", "/api/{kind}/{repo}/super-squash/{rev}")
def squash(call: Call, rev: str, **holes: str) -> Response:
    """Make a branch's history one commit with the same files."""
    repo = call.writable()
    ref = f"refs/heads/{rev}"
    if ref not in repo.refs:
        raise Refused(404, f"Invalid rev id: {rev}", "RevisionNotFound")
    message = call.request.json().get("message") or f"Super-squash branch '{rev}'"
    tree = {path: type(e)(e.sha256, e.size, e.oid, e.lfs) for path, e in repo.at(rev).tree.items()}
    call.state.commit(repo, ref, tree, call.signed_in().name, message)
    return reply({"success": True})
