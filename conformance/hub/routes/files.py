"""Files: trees, single paths, contents."""

from __future__ import annotations

import hashlib
import mimetypes
import posixpath
import re
from typing import Any
from urllib.parse import parse_qs, quote

from conformance.hub.messages import Refused, Request, Response, reply
from conformance.hub.routing import Call, route
from conformance.hub.state import Commit, Entry, Repo, iso, pointer

#: Entries per page, as the real Hub has them: without and with the last commits.
PAGE, EXPANDED = 1000, 50


def _last(repo: Repo, entries: list[Entry]) -> dict[str, Any]:
    """Return the newest commit that changed one of these files."""
    commit = max((repo.commits[e.commit] for e in entries if e.commit in repo.commits), key=lambda c: c.date)
    return {"id": commit.oid, "title": commit.title, "date": iso(commit.date)}


def _file(call: Call, path: str, entry: Entry, expand: bool) -> dict[str, Any]:
    repo = call.repo
    told: dict[str, Any] = {"type": "file", "oid": entry.oid, "size": entry.size, "path": path}
    if entry.lfs:
        size = len(pointer(entry.sha256, entry.size))
        told["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": size}
        if call.cas:
            told["xetHash"] = call.state.xet.name(entry.sha256)
    if expand:
        told["lastCommit"] = _last(repo, [entry])
        scan = {"avScan": None, "pickleImportScan": None}
        told["securityFileStatus"] = {"status": "unscanned", **scan}  # nothing is scanned here
    return told


def _folder(repo: Repo, path: str, inside: dict[str, Entry], expand: bool) -> dict[str, Any]:
    # Not git's hash of the tree object, but like it the same for the same content.
    oid = hashlib.sha1("".join(f"{p}\0{e.oid}\n" for p, e in sorted(inside.items())).encode()).hexdigest()
    told: dict[str, Any] = {"type": "directory", "oid": oid, "size": 0, "path": path}
    if expand:
        told["lastCommit"] = _last(repo, list(inside.values()))
    return told


def below(commit: Commit, folder: str) -> dict[str, Entry]:
    """Return the files in a folder and its subfolders."""
    prefix = folder.rstrip("/") + "/" if folder else ""
    return {path: entry for path, entry in commit.tree.items() if path.startswith(prefix)}


@route("GET HEAD", "/api/{kind}/{repo}/tree/{rev}")
@route("GET HEAD", "/api/{kind}/{repo}/tree/{rev}/{path}")
def tree(call: Call, path: str = "", **holes: str) -> Response:
    """List a folder, with `recursive` all below it."""
    commit, repo = call.at(), call.repo
    expand, deep = call.request.flag("expand"), call.request.flag("recursive")
    folder = path.strip("/")
    files = below(commit, folder)
    if folder and not files:
        raise Refused(404, f'"{folder}" does not exist on "{holes["rev"]}"', "EntryNotFound", _commit(commit))
    start = len(folder) + 1 if folder else 0
    folders: dict[str, dict[str, Entry]] = {}
    told = []
    for name, entry in sorted(files.items()):
        steps = name[start:].split("/")[:-1]
        for depth in range(1, len(steps) + 1) if deep else range(1, min(len(steps), 1) + 1):
            folders.setdefault(name[:start] + "/".join(steps[:depth]), {})[name] = entry
        if deep or not steps:
            told.append((name, entry))
    entries = [_folder(repo, name, inside, expand) for name, inside in folders.items()]
    entries += [_file(call, name, entry, expand) for name, entry in told]
    return call.page(entries, EXPANDED if expand else PAGE, _commit(commit))


@route("POST", "/api/{kind}/{repo}/paths-info/{rev}")
def paths_info(call: Call, **holes: str) -> Response:
    """Tell about some paths; those that do not exist are left out. The body is a form, or JSON."""
    commit, request = call.at(), call.request
    if "json" in request.headers.get("content-type", ""):
        told = request.json()
        paths, expand = told.get("paths", []), bool(told.get("expand"))
    else:
        form = parse_qs(request.body.decode())
        paths, expand = form.get("paths", []), form.get("expand", ["false"])[0].lower() == "true"
    found = []
    for path in [paths] if isinstance(paths, str) else paths:
        name = path.strip("/")
        if name in commit.tree:
            found.append(_file(call, name, commit.tree[name], expand))
        elif inside := below(commit, name):
            found.append(_folder(call.repo, name, inside, expand))
    return reply(found)


def _commit(commit: Commit) -> dict[str, str]:
    return {"X-Repo-Commit": commit.oid}


@route("GET HEAD", "/{prefix}{repo}/resolve/{rev}/{path}")
@route("GET HEAD", "/api/{kind}/{repo}/resolve/{rev}/{path}")
def resolve(call: Call, path: str, **holes: str) -> Response:
    """Hand out a file; a large one from where a signed link points, as from the real Hub's CDN."""
    call.readable()
    commit = call.at()
    entry = commit.tree.get(path)
    if entry is None:
        raise Refused(404, "Entry not found", "EntryNotFound", _commit(commit))
    name = posixpath.basename(path)
    about = {**_commit(commit), "Content-Disposition": f"inline; filename*=UTF-8''{quote(name)}"}
    if entry.lfs:
        return stored(call, entry, name, {**about, **over_xet(call, entry, f"/{commit.oid}")})
    return served(call.request, call.state.contents[entry.sha256], entry.oid, name, about)


def over_xet(call: Call, entry: Entry, revision: str = "") -> dict[str, str]:
    """Say how to get a large file over the Xet protocol (huggingface_hub, utils/_xet.py), if it is spoken."""
    if not call.cas:
        return {}
    name, repo = call.state.xet.name(entry.sha256), call.repo
    token = f"{call.request.base}/api/{repo.kind}s/{repo.id}/xet-read-token{revision}"
    told = f'<{token}>; rel="xet-auth", <{call.cas}/v1/reconstructions/{name}>; rel="xet-reconstruction-info"'
    return {"X-Xet-Hash": name, "Link": told}


def stored(call: Call, entry: Entry, name: str, about: dict[str, str]) -> Response:
    """Lead to where a large file is: a signed link."""
    query = f"sig={call.sign('download', entry.sha256)}&filename={quote(name)}"
    return Response(
        302,
        {
            **about,
            "Location": f"{call.storage}/_large/{entry.sha256}?{query}",
            "ETag": f'"{entry.sha256}"',
            "X-Linked-ETag": f'"{entry.sha256}"',
            "X-Linked-Size": str(entry.size),
            "Accept-Ranges": "bytes",
        },
    )


@route("GET HEAD", "/{prefix}{repo}/raw/{rev}/{path}")
def raw(call: Call, path: str, **holes: str) -> Response:
    """Hand out a file as git has it: of a large one the pointer."""
    call.readable()
    entry = call.at().tree.get(path)
    if entry is None:
        raise Refused(404, "Entry not found", "EntryNotFound", _commit(call.at()))
    content = pointer(entry.sha256, entry.size) if entry.lfs else call.state.contents[entry.sha256]
    return served(call.request, content, entry.oid, path, _commit(call.at()))


@route("GET HEAD", "/_large/{sha256}")
def download(call: Call, sha256: str) -> Response:
    """Hand out a large file to whoever has its signed link; a token is not asked for."""
    call.check("download", sha256)
    name = call.request.query.get("filename", [sha256])[0]
    return served(call.request, call.state.contents[sha256], sha256, name, {})


RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def served(request: Request, content: bytes, etag: str, name: str, about: dict[str, str]) -> Response:
    """Return a content, or the range of it that is asked for (RFC 9110, 14.2). Raises Refused (416)."""
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    headers = {**about, "Content-Type": kind, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
    size = len(content)
    wanted = RANGE.fullmatch(request.headers.get("range", ""))
    if wanted is None or wanted[0] == "bytes=-":
        return _sent(request, Response(200, headers, content))
    first, last = wanted.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last) + 1 if first and last else size, size)
    if start >= size or end <= start:
        raise Refused(416, "The range specified is invalid", headers={"Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return _sent(request, Response(206, headers, content[start:end]))


def _sent(request: Request, response: Response) -> Response:
    if request.method != "HEAD":
        return response
    return Response(response.status, {**response.headers, "Content-Length": str(len(response.body))})
