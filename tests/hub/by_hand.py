"""Requests as such: sent to a Hub without a client, without a door or to a loopback server."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from conformance.hub import Hub, Request, Response

URL = "https://huggingface.co"
COMMIT = "/api/models/user/x/commit/main"


def ask(hub: Hub, method: str, path: str, body: Any = None, token: str | None = "", **headers: str) -> Response:
    """Send a request, as the Hub's user unless another token, or None, is given."""
    if token is not None:
        headers["authorization"] = f"Bearer {token or hub.token}"
    if isinstance(body, bytes):
        data = body
    else:
        data = b"" if body is None else json.dumps(body).encode()
        headers.setdefault("content-type", "application/json")
    url = path if path.startswith("http") else URL + path
    return hub.handle(Request(method, url, {name.replace("_", "-"): value for name, value in headers.items()}, data))


def told(response: Response) -> Any:
    return json.loads(response.body)


def commit(*lines: tuple[str, dict[str, Any]], summary: str = "s", **header: Any) -> bytes:
    every = [("header", {"summary": summary, **header}), *lines]
    return b"\n".join(json.dumps({"key": key, "value": value}).encode() for key, value in every)


def file(path: str, content: bytes = b"x") -> tuple[str, dict[str, Any]]:
    return "file", {"path": path, "content": base64.b64encode(content).decode(), "encoding": "base64"}


def upload(hub: Hub, content: bytes, transfers: tuple[str, ...] = ("basic", "multipart")) -> dict[str, Any]:
    oid = hashlib.sha256(content).hexdigest()
    wanted = {"operation": "upload", "transfers": transfers, "objects": [{"oid": oid, "size": len(content)}]}
    answer = told(ask(hub, "POST", "/user/x.git/info/lfs/objects/batch", wanted))["objects"][0]
    return dict(answer.get("actions", {}))


def connect(url: str) -> http.client.HTTPConnection:
    """Connect to a server at a URL."""
    return http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)


def ask_server(url: str, method: str, path: str, body: Any = None, token: str = "") -> tuple[int, bytes]:
    """Send a request to a server; return status and body."""
    connection = connect(url)
    headers = {"authorization": f"Bearer {token}"} if token else {}
    connection.request(method, path, json.dumps(body) if body else None, headers)
    answer = connection.getresponse()
    told = answer.status, answer.read()
    connection.close()
    return told
