"""The Xet protocol by hand: requests to its storage, xorbs and shards."""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

import pyarrow

from conformance.hub import Hub, Request, Response
from conformance.hub.xet import TAG

URL = "http://127.0.0.1:1"
XORB, FILE = "a" * 64, "b" * 64


def ask(hub: Hub, method: str, path: str, body: bytes = b"", token: str = "", **headers: str) -> Response:
    url = path if path.startswith("http") else URL + path
    return hub.handle(Request(method, url, {"authorization": f"Bearer {token or hub.token}", **headers}, body))


def told(response: Response) -> Any:
    assert response.status == 200, response.body
    return json.loads(response.body)


def token(hub: Hub, role: str = "write", path: str = "/api/models/user/x", rev: str = "/main", by: str = "") -> str:
    return str(told(ask(hub, "GET", f"{path}/xet-{role}-token{rev}", token=by))["accessToken"])


def split(content: bytes) -> bytes:
    """Group every fourth byte, as the client does where that compresses better."""
    return b"".join(content[first::4] for first in range(4))


def lz4(content: bytes) -> bytes:
    return bytes(pyarrow.Codec("lz4").compress(content, asbytes=True))


def chunk(content: bytes, scheme: int = 0) -> bytes:
    packed = [content, lz4(content), lz4(split(content))][scheme]
    return b"\0" + len(packed).to_bytes(3, "little") + bytes([scheme]) + len(content).to_bytes(3, "little") + packed


def record(name: str, *numbers: int) -> bytes:
    """Make a record of a shard: a hash, and numbers of 32 bits."""
    digest = struct.pack("<4Q", *(int(name[at : at + 16], 16) for at in range(0, 64, 16)))
    return digest + struct.pack("<4I", *(numbers + (0,) * 4)[:4])


def shard(*files: tuple[str, list[tuple[str, int, int]], str]) -> bytes:
    """Make a shard of files: name, terms, sha256 (or nothing)."""
    made = TAG + struct.pack("<2Q", 2, 0)
    for name, terms, sha256 in files:
        made += record(name, 1 << 31 | bool(sha256) << 30, len(terms))
        made += b"".join(record(xorb, 0, 0, start, end) for xorb, start, end in terms)
        made += b"".join(record("c" * 64) for _ in terms) + (record(sha256) if sha256 else b"")
    return made + record("f" * 64) + record("f" * 64)


PARTS = [b"plain " * 5, b"again " * 3000, struct.pack("<1000f", *range(1000)) + b"odd", b"last"]
CONTENT = b"".join(PARTS)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
BODY = chunk(PARTS[0]) + chunk(PARTS[1], 1) + chunk(PARTS[2], 2) + chunk(PARTS[3])
