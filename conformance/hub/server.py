"""The loopback door: the Hub for other processes and other languages."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from conformance.hub.control import controlled
from conformance.hub.hub import Hub
from conformance.hub.messages import UNKNOWN, Dropped, Request, Response, UnknownRequest, refusal

#: Seconds after which a connection that nothing comes over is closed.
IDLE = 60


class _Handler(BaseHTTPRequestHandler):
    """Reads a request, sends the answer as its faults want it."""

    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "trl-conformance-hub"
    timeout = IDLE
    # Head and body leave in one packet: with two, the kernels' delays add 40 ms to every request.
    wbufsize = 1 << 16
    disable_nagle_algorithm = True

    def answer(self) -> None:
        """Answer one request of any method."""
        try:
            request = self._request()
            response = controlled(self.server.hub, request) if self.server.control else None
            response = response or self.server.hub.handle(request)
        except Dropped:
            return self._reset()
        except UnknownRequest as unknown:
            print(unknown, file=sys.stderr)
            response = refusal(501, str(unknown), headers={UNKNOWN: "1"})
        except ValueError as error:
            response = refusal(400, str(error))
        except Exception as error:
            # Whatever is wrong with the Hub itself is told to the client; the server goes on.
            response = refusal(500, f"{self.command} {self.path}: {error!r}")
            self.server.handle_error(self.request, self.client_address)
        self._send(response)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = answer

    def _request(self) -> Request:
        headers = {name.lower(): value for name, value in self.headers.items()}
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = b"".join(self._chunks())
        else:
            size = int(headers.get("content-length") or 0)
            body = self.rfile.read(size)
            if len(body) < size:  # the client went away: half a request is none
                raise Dropped(f"{self.command} {self.path}: {len(body)} of {size} bytes came")
        base = f"http://{headers.get('host') or self.server.address}"
        return Request(self.command, base + self.path, headers, body)

    def _chunks(self) -> Iterator[bytes]:
        """Yield the chunks of a body of unknown length (RFC 9112, 7.1)."""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def _send(self, response: Response) -> None:
        self.send_response_only(response.status)
        body = b"" if self.command == "HEAD" else response.body
        for name, value in {"Content-Length": str(len(body)), **response.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        end = len(body) if response.cut is None else response.cut
        step = response.chunk or max(end, 1)
        for start in range(0, end, step):
            if start and response.delay:
                self.wfile.flush()
                time.sleep(response.delay)
            self.wfile.write(body[start : min(start + step, end)])
        self.wfile.flush()
        if response.cut is not None:
            self.close_connection = True

    def _reset(self) -> None:
        """Close so that the client sees a reset (RST), not an end: linger for no time."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: the Hub has its own log."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Clients open a connection per thread, all at once; the default of 5 would refuse some.
    request_queue_size = 128

    def __init__(self, hub: Hub, port: int, control: bool) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.hub, self.control = hub, control
        self.address = f"127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what went wrong, except that a client went away."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


@contextlib.contextmanager
def served(hub: Hub, port: int = 0, control: bool = False) -> Iterator[str]:
    """Serve a Hub on the loopback interface while the block runs; yield its URL. Port 0 is any that is free.

    control: other processes may plant faults and read the log (`conformance.hub.control`).
    """
    server = _Server(hub, port, control)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), name="hub-loopback", daemon=True)
    thread.start()
    hub.url = f"http://{server.address}"
    try:
        yield hub.url
    finally:
        hub.save()
        server.shutdown()
        server.server_close()
        thread.join()
