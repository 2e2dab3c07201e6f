"""A Hub's state in a folder: the requests that changed it, one a line, carried out again at the next start.

Written down is who asked, never a token; the signing key is a file of its own.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.hub.messages import Request, Response

if TYPE_CHECKING:
    from conformance.hub.hub import Hub

#: Headers that an answer depends on.
KEPT = ("content-type", "range")


class Unreadable(ValueError):
    """The folder's history cannot be carried out again; the message is one line."""


class Journal:
    """The history of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bodies").mkdir(parents=True, exist_ok=True)
        self.lines = folder / "requests.jsonl"
        key = folder / "key"
        if not key.exists():
            key.touch(mode=0o600)
            key.write_text(secrets.token_hex(16))
        self.key = key.read_text()

    def note(self, hub: Hub, request: Request, answer: Response) -> None:
        """Write down a request that may have changed something: one that succeeded and is no GET."""
        if request.method in ("GET", "HEAD") or answer.status >= 300:
            return
        body = hashlib.sha256(request.body).hexdigest()
        path = self.folder / "bodies" / body
        if not path.exists():
            path.write_bytes(request.body)
        who = hub.state.user_of(request.headers.get("authorization", "").partition(" ")[2].strip())
        line = {
            "at": hub.state.now,
            "user": who[0].name if who else None,
            "method": request.method,
            "url": request.url,
            "headers": {name: request.headers[name] for name in KEPT if name in request.headers},
            "body": body,
        }
        with self.lines.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def replay(self, hub: Hub) -> int:
        """Carry out what is written down; return how many requests. Raises Unreadable."""
        if not self.lines.exists():
            return 0
        clock, count = hub.state.clock, 0
        try:
            for text in self.lines.read_text(encoding="utf-8").splitlines():
                line = json.loads(text)
                headers = dict(line["headers"])
                if line["user"]:
                    headers["authorization"] = f"Bearer {_token(hub, line['user'])}"
                body = (self.folder / "bodies" / line["body"]).read_bytes()
                hub.state.clock = partial(float, line["at"])
                answer = hub.application.handle(Request(line["method"], line["url"], headers, body))
                if answer.status >= 300:
                    raise Unreadable(f"{self.lines}:{count + 1}: {line['method']} {line['url']} is {answer.status} now")
                count += 1
        finally:
            hub.state.clock = clock
        return count


def _token(hub: Hub, name: str) -> str:
    """Return a token of a user that may write. Raises Unreadable."""
    user = hub.state.users.get(name)
    for token, role in user.tokens.items() if user else ():
        if role == "write":
            return token
    raise Unreadable(f"the folder has work of the user {name}: start with --user {name}:TOKEN")
