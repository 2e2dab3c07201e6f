"""What goes in and out of the Hub, whichever door it came through: requests, answers, refusals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs, urlsplit

#: The header by which another process knows an answer as an UnknownRequest.
UNKNOWN = "X-Hub-Unknown"


class UnknownRequest(RuntimeError):
    """The Hub does not know this request; the message names method and path. Never answered by a silent 200."""


class Dropped(Exception):
    """The connection is reset instead of an answer; the request may have been carried out nevertheless."""


class Refused(Exception):
    """An answer that is an error, with what the real client decides on: status, `X-Error-Code`, `X-Error-Message`."""

    def __init__(self, status: int, message: str, code: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.response = refusal(status, message, code, headers)


@dataclass(frozen=True)
class Request:
    """One HTTP request. `headers` has lower-case names; `timeout` is how many seconds the client waits for a byte."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    timeout: float | None = None

    @cached_property
    def path(self) -> str:
        """The path, still percent-encoded: `%2F` in a revision does not separate."""
        return urlsplit(self.url).path or "/"

    @cached_property
    def host(self) -> str:
        """The host's name, without a port."""
        return urlsplit(self.url).hostname or ""

    @cached_property
    def base(self) -> str:
        """Scheme and host as the client wrote them; links in answers start with it."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    @cached_property
    def query(self) -> dict[str, list[str]]:
        """The query's values by name; an array's name is without its `[]`."""
        found = parse_qs(urlsplit(self.url).query, keep_blank_values=True)
        return {name.removesuffix("[]"): values for name, values in found.items()}

    def flag(self, name: str) -> bool:
        """Whether a query parameter is set and not false."""
        return self.query.get(name, ["false"])[0].lower() not in ("false", "0", "")

    def json(self) -> dict[str, Any]:
        """The body as an object; no body is an empty one. Raises Refused (400)."""
        try:
            value = json.loads(self.body or b"{}")
        except ValueError as error:
            raise Refused(400, f"The body is no JSON: {error}") from error
        if not isinstance(value, dict):
            raise Refused(400, "The body is no JSON object")
        return value


@dataclass(frozen=True)
class Response:
    """One answer. The last three say how a door is to send the body; they are what faults are made of.

    `cut`: bytes of the body after which the connection breaks; `chunk`: bytes sent at once; `delay`: seconds between
    two chunks.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None
    chunk: int | None = None
    delay: float = 0.0

    def with_headers(self, headers: Mapping[str, str]) -> Response:
        """The same with more headers; those already there stay."""
        return replace(self, headers={**headers, **self.headers})

    @property
    def stalls(self) -> bool:
        """Whether there is a second chunk to wait for."""
        return self.delay > 0 and len(self.body) > (self.chunk or len(self.body))


def reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return JSON."""
    body = json.dumps(value, ensure_ascii=False).encode()
    return Response(status, {"Content-Type": "application/json; charset=utf-8", **(headers or {})}, body)


def refusal(status: int, message: str, code: str = "", headers: Mapping[str, str] | None = None) -> Response:
    """Return an error as the Hub words it: in the body and in `X-Error-Message`, its kind in `X-Error-Code`."""
    line = " ".join(message.split()).encode("ascii", "replace").decode()
    told = {"X-Error-Message": line, **({"X-Error-Code": code} if code else {}), **(headers or {})}
    return reply({"error": message}, status, told)
