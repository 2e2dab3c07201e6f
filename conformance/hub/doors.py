"""The doors inside a process: `responses` for requests, and through the same registry httpx and httpx2.

requests meets the registry by itself. The transports of httpx and httpx2 are patched at the class, so that clients made
before and after, by huggingface_hub or by anybody, meet it too: a request becomes one of requests, and what comes back,
answer or error, becomes the library's own.

Another process has the Hub over loopback. A forked one has inherited these doors and a copy of the Hub: its doors carry
every request to the parent's loopback server, so that there is one Hub for all of them.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import io
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator
from types import ModuleType
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import requests
import responses
import urllib3

from conformance.hub.hub import Hub
from conformance.hub.messages import UNKNOWN, Dropped, Request, Response, UnknownRequest

LOOPBACK = re.compile(r"https?://(?:localhost|127(?:\.\d+){3}|\[::1\])(?::\d+)?(?:/.*)?")
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")


class _Body(io.BufferedReader):
    """A body that comes in chunks; one that stalls ends in the client's read timeout instead of the second chunk."""

    def __init__(self, response: Response, timeout: float | None) -> None:
        super().__init__(io.BytesIO(response.body[: response.cut]))  # type: ignore[arg-type]
        self.chunk = response.chunk or 1 << 30
        self.stalls = response.stalls and timeout is not None and response.delay > timeout

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next chunk, or all of them. Raises ReadTimeoutError (urllib3) where the client would give up."""
        if self.stalls and self.tell():
            raise urllib3.exceptions.ReadTimeoutError(None, "", "Read timed out.")  # type: ignore[arg-type]
        if self.stalls or (size is not None and size >= 0):
            return super().read(min(self.chunk, size if size is not None and size >= 0 else self.chunk))
        return super().read()


def _timeout(kwargs: dict[str, Any]) -> float | None:
    """Return the read timeout that a call of requests asks for, in seconds."""
    told = kwargs.get("timeout")
    read = told[1] if isinstance(told, tuple) else told
    return float(read) if isinstance(read, (int, float)) else None


def _bytes(body: Any) -> bytes:
    if isinstance(body, str):
        return body.encode()
    return bytes(body) if isinstance(body, (bytes, bytearray, memoryview)) else b"".join(body or ())


class Doors:
    """The doors of one Hub; `registry` is the `responses` mock that stands in them."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.process = os.getpid()
        self.registry = responses.RequestsMock(assert_all_requests_are_fired=False)

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Let no request of this process go anywhere else, except to other servers of this machine."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.registry)
            for method in METHODS:
                self.registry.add_callback(method, self._ours(), self._callback, content_type=None)
            self.registry.add_passthru(LOOPBACK)
            for name in ("httpx", "httpx2"):
                if importlib.util.find_spec(name):
                    for patch in _bridge(importlib.import_module(name), self._ours()):
                        stack.enter_context(patch)
            yield

    def _ours(self) -> re.Pattern[str]:
        """Match every URL but those of other servers on this machine."""
        port = urlsplit(self.hub.url).port or 0
        own = rf"http://(?:localhost|127\.0\.0\.1):{port}(?:[/?]|$)"
        return re.compile(rf"(?:{own}|(?!{LOOPBACK.pattern}$)).*", re.DOTALL)

    def _callback(self, prepared: Any) -> tuple[int, Any, Any]:
        """Answer a request of requests. Raises what requests raises where no answer comes."""
        self.registry.calls.reset()  # the Hub has its own log; bodies are not kept for longer than needed
        for match in self.registry.registered():
            match.calls.reset()
        headers = {name.lower(): _text(value) for name, value in (prepared.headers or {}).items()}
        timeout = _timeout(prepared.req_kwargs)
        request = Request(str(prepared.method), str(prepared.url), headers, _bytes(prepared.body), timeout)
        try:
            response = self.answer(request)
        except Dropped as dropped:
            reset = ConnectionResetError(104, "Connection reset by peer")
            broken = urllib3.exceptions.ProtocolError("Connection aborted.", reset)
            raise requests.exceptions.ConnectionError(broken, request=prepared) from dropped
        body = _Body(response, timeout) if response.chunk or response.delay else response.body[: response.cut]
        return response.status, list(response.headers.items()), b"" if request.method == "HEAD" else body

    def answer(self, request: Request) -> Response:
        """Answer a request, in a forked process through the parent. Raises Dropped, UnknownRequest."""
        if os.getpid() == self.process:
            return self.hub.handle(request)
        return _forwarded(request, self.hub.url)


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _forwarded(request: Request, url: str) -> Response:
    """Carry a request to the loopback server. Raises Dropped, UnknownRequest."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    target = request.url[len(request.base) :] or "/"
    # Links in the answer start with the host that the client asked.
    headers = {**request.headers, "host": urlsplit(request.url).netloc, "content-length": str(len(request.body))}
    headers.pop("transfer-encoding", None)
    try:
        connection.request(request.method, target, request.body, headers)
        answer = connection.getresponse()
        body = answer.read()
    except http.client.IncompleteRead as error:
        return Response(answer.status, dict(answer.getheaders()), error.partial, cut=len(error.partial))
    except (ConnectionError, http.client.RemoteDisconnected) as error:
        raise Dropped(str(error)) from error
    finally:
        connection.close()
    if answer.getheader(UNKNOWN):
        raise UnknownRequest(answer.getheader("X-Error-Message", ""))
    return Response(answer.status, dict(answer.getheaders()), body)


def _bridge(library: ModuleType, ours: re.Pattern[str]) -> Iterator[Any]:
    """Yield the patches that lead httpx, or httpx2, into requests, except to other servers of this machine."""
    real, real_async = library.HTTPTransport.handle_request, library.AsyncHTTPTransport.handle_async_request

    def failure(error: Exception, request: Any) -> Exception:
        """Turn an error of requests into the library's own."""
        if isinstance(error, requests.exceptions.Timeout) or "timed out" in str(error):
            return library.ReadTimeout("The read operation timed out", request=request)  # type: ignore[no-any-return]
        if isinstance(error, (requests.exceptions.ChunkedEncodingError, urllib3.exceptions.ProtocolError)):
            told = "peer closed connection without sending complete message body"
            return library.RemoteProtocolError(told, request=request)  # type: ignore[no-any-return]
        if "reset" in str(error):
            return library.ReadError("[Errno 104] Connection reset by peer", request=request)  # type: ignore[no-any-return]
        return library.ConnectError(str(error), request=request)  # type: ignore[no-any-return]

    class Body(library.SyncByteStream, library.AsyncByteStream):  # type: ignore[name-defined, misc]
        """An answer's body, as requests reads it."""

        def __init__(self, answer: requests.Response, request: Any) -> None:
            self.answer, self.request = answer, request

        def __iter__(self) -> Iterator[bytes]:
            try:
                yield from self.answer.raw.stream(1 << 16, decode_content=False)
            except urllib3.exceptions.HTTPError as error:
                raise failure(error, self.request) from error

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for chunk in self:
                yield chunk

        def close(self) -> None:
            self.answer.close()

        async def aclose(self) -> None:
            self.answer.close()

    def send(request: Any, body: bytes) -> Any:
        url = str(request.url)
        prepared = requests.Request(request.method, url, data=body or None).prepare()
        prepared.url = url  # as it was written: requests would quote it anew
        prepared.headers.clear()
        prepared.headers.update({_text(name): _text(value) for name, value in request.headers.raw})
        timeout = request.extensions.get("timeout", {}).get("read")
        try:
            answer = requests.adapters.HTTPAdapter().send(prepared, stream=True, timeout=timeout)
        except requests.exceptions.RequestException as error:
            raise failure(error, request) from error
        headers = list(answer.raw.headers.items())
        return library.Response(answer.status_code, headers=headers, stream=Body(answer, request), request=request)

    def handle_request(transport: Any, request: Any) -> Any:
        return send(request, request.read()) if ours.match(str(request.url)) else real(transport, request)

    async def handle_async_request(transport: Any, request: Any) -> Any:
        if ours.match(str(request.url)):
            return send(request, await request.aread())
        return await real_async(transport, request)

    answers: list[tuple[type, str, Callable[..., Any]]] = [
        (library.HTTPTransport, "handle_request", handle_request),
        (library.AsyncHTTPTransport, "handle_async_request", handle_async_request),
    ]
    for transport, method, function in answers:
        yield mock.patch.object(transport, method, function)
