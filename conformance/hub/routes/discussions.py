"""Discussions and pull requests."""

from __future__ import annotations

from typing import Any

from conformance.hub.messages import Refused, Response, reply
from conformance.hub.routing import Call, route
from conformance.hub.state import MAIN, Discussion, Entry, Repo, iso

#: Discussions per page.
PAGE = 50


def _event(call: Call, one: Discussion, kind: str, data: dict[str, Any]) -> dict[str, Any]:
    """Add an event to a discussion (huggingface_hub, community.py, deserialize_event)."""
    user = call.signed_in()
    event = {
        "id": f"{one.num:06x}{len(one.events):018x}",
        "type": kind,
        "createdAt": iso(call.state.now),
        "author": {"name": user.name, "type": "user"},
        "data": data,
    }
    one.events.append(event)
    return event


def _comment(text: str) -> dict[str, Any]:
    return {"edited": False, "hidden": False, "latest": {"raw": text, "html": f"<p>{text}</p>"}, "numEdits": 0}


def open_discussion(
    call: Call, repo: Repo, title: str, text: str, pull: bool, base: str = f"refs/heads/{MAIN}"
) -> Discussion:
    """Open a discussion; a pull request gets a ref of its own, at the commit that it starts from."""
    num = len(repo.discussions) + 1
    status = "draft" if pull else "open"
    one = Discussion(num, title, call.signed_in().name, call.state.now, pull, status, base)
    repo.discussions.append(one)
    if pull:
        repo.refs[f"refs/pr/{num}"] = repo.refs[base]
    if text:
        _event(call, one, "comment", _comment(text))
    return one


def _told(repo: Repo, one: Discussion) -> dict[str, Any]:
    told: dict[str, Any] = {
        "num": one.num,
        "title": one.title,
        "author": {"name": one.author, "type": "user"},
        "createdAt": iso(one.created),
        "status": one.status,
        "isPullRequest": one.pull,
        "repo": {"name": repo.id, "type": repo.kind},
    }
    return told


def _one(call: Call) -> Discussion:
    """Return the discussion that the path names. Raises Refused (404)."""
    word = call.holes["num"]
    if not word.isdigit() or not 0 < int(word) <= len(call.repo.discussions):
        raise Refused(404, f"Discussion {word} not found", "DiscussionNotFound")
    return call.repo.discussions[int(word) - 1]


@route("GET", "/api/{kind}/{repo}/discussions")
def listing(call: Call, **holes: str) -> Response:
    """List discussions, newest first; `p` is the page."""
    query = {name: values[-1] for name, values in call.request.query.items()}
    pull = {"pull_request": [True], "discussion": [False]}.get(query.get("type", ""), [True, False])
    states = {"open": ["open", "draft"], "closed": ["closed", "merged"]}.get(query.get("status", ""))
    found = [
        one
        for one in reversed(call.repo.discussions)
        if one.pull in pull
        and (states is None or one.status in states)
        and query.get("author", one.author) == one.author
    ]
    start = int(query.get("p", 0)) * PAGE
    told = [_told(call.repo, one) for one in found[start : start + PAGE]]
    return reply({"discussions": told, "count": len(found), "start": start})


@route("POST", "/api/{kind}/{repo}/discussions")
def create(call: Call, **holes: str) -> Response:
    """Open a discussion, or an empty pull request that is a draft."""
    told = call.request.json()
    call.signed_in(write=True)
    if len(str(told.get("title", "")).strip()) < 3:
        raise Refused(400, '"title" length must be at least 3 characters long')
    one = open_discussion(call, call.repo, told["title"], told.get("description", ""), bool(told.get("pullRequest")))
    return reply({**_told(call.repo, one), "pullRequest": one.pull})


@route("GET", "/api/{kind}/{repo}/discussions/{num}")
def details(call: Call, **holes: str) -> Response:
    """Tell everything about a discussion."""
    repo, one = call.repo, _one(call)
    told = {**_told(repo, one), "events": list(one.events)}
    if one.pull:
        start, head = _sides(repo, one)
        told["changes"] = {"base": one.base.removeprefix("refs/heads/")}
        if one.merged:
            told["changes"]["mergeCommitId"] = one.merged
        told["filesWithConflicts"] = sorted(_conflicts(repo, one))
        changed = sorted(p for p in {*start, *head} if start.get(p) != head.get(p))
        told["diff"] = "".join(f"diff --git a/{path} b/{path}\n" for path in changed)
    return reply(told)


def _sides(repo: Repo, one: Discussion) -> tuple[dict[str, Entry], dict[str, Entry]]:
    """Return the files where a pull request started, and where it is."""
    head = repo.at(f"refs/pr/{one.num}")
    base = {commit.oid for commit in repo.history(repo.at(one.base))}
    start = next((commit for commit in repo.history(head) if commit.oid in base), repo.at(one.base))
    return dict(start.tree), dict(head.tree)


def _conflicts(repo: Repo, one: Discussion) -> set[str]:
    """Return the files that both the request and its branch changed, differently."""
    if one.merged:
        return set()
    start, head = _sides(repo, one)
    base = repo.at(one.base).tree
    content = {path: [side.get(path) for side in (start, head, base)] for path in {*start, *head, *base}}
    oids = {path: [entry and entry.oid for entry in sides] for path, sides in content.items()}
    return {path for path, (old, theirs, ours) in oids.items() if old != theirs and old != ours and theirs != ours}


@route("POST", "/api/{kind}/{repo}/discussions/{num}/comment")
def comment(call: Call, **holes: str) -> Response:
    """Add a comment."""
    call.signed_in(write=True)
    return reply({"newMessage": _event(call, _one(call), "comment", _comment(call.request.json().get("comment", "")))})


@route("POST", "/api/{kind}/{repo}/discussions/{num}/comment/{id}/{action}")
def change_comment(call: Call, id: str, action: str, **holes: str) -> Response:
    """Edit or hide a comment of one's own."""
    user, one = call.signed_in(write=True), _one(call)
    event = next((event for event in one.events if event["id"] == id and event["type"] == "comment"), None)
    if event is None or action not in ("edit", "hide"):
        raise Refused(404, f"There is no comment {id} to {action}")
    if not (event["author"]["name"] == user.name or user.owns(call.repo.namespace)):
        raise Refused(403, "Only the author can change a comment")
    if action == "edit":
        event["data"] = {**_comment(call.request.json()["content"]), "edited": True}
    else:
        event["data"]["hidden"] = True
    return reply({"updatedComment": event})


@route("POST", "/api/{kind}/{repo}/discussions/{num}/title")
def title(call: Call, **holes: str) -> Response:
    """Rename a discussion."""
    user, one = call.signed_in(write=True), _one(call)
    if not (one.author == user.name or user.owns(call.repo.namespace)):
        raise Refused(403, "Only the author can rename a discussion")
    old, one.title = one.title, call.request.json()["title"]
    return reply({"newTitle": _event(call, one, "title-change", {"from": old, "to": one.title})})


@route("POST", "/api/{kind}/{repo}/discussions/{num}/status")
def status(call: Call, **holes: str) -> Response:
    """Open or close a discussion."""
    user, one, told = call.signed_in(write=True), _one(call), call.request.json()
    if not (one.author == user.name or user.owns(call.repo.namespace)):
        raise Refused(403, "Only the author can open or close a discussion")
    if told.get("status") not in ("open", "closed") or one.status == "merged":
        raise Refused(400, f"A discussion that is {one.status} cannot become {told.get('status')}")
    if told.get("comment"):
        _event(call, one, "comment", _comment(told["comment"]))
    one.status = told["status"]
    return reply({"newStatus": _event(call, one, "status-change", {"status": one.status})})


@route("POST", "/api/{kind}/{repo}/discussions/{num}/merge")
def merge(call: Call, **holes: str) -> Response:
    """Merge a pull request: its changes on top of the branch as it is now. Raises Refused (400, 409)."""
    repo, one = call.writable(), _one(call)
    if not one.pull or one.status not in ("open", "draft"):
        raise Refused(400, "Only an open pull request can be merged")
    conflicts = _conflicts(repo, one)
    if conflicts:
        raise Refused(409, f"Conflicts in {', '.join(sorted(conflicts))}")
    start, head = _sides(repo, one)
    ours = repo.at(one.base)
    tree = dict(ours.tree)
    for path in {*start, *head}:
        if start.get(path) != head.get(path):
            tree.pop(path, None)
            if path in head:
                tree[path] = head[path]
    user, words = call.signed_in().name, f"{one.title} (#{one.num})"
    one.merged = call.state.commit(repo, one.base, tree, user, words, parent=ours.oid).oid
    one.status = "merged"
    _event(call, one, "status-change", {"status": "merged"})
    return reply({"success": True})
