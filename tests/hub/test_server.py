"""The loopback server: real sockets, another process, a folder that keeps the state."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from by_hand import ask_server, connect

from conformance.__main__ import main
from conformance.hub import Hub, Reset, Slow, Truncate
from conformance.hub.server import served


@pytest.fixture
def here() -> Iterator[Hub]:
    hub = Hub()
    hub.create("user/x")
    hub.put("user/x", {"a.txt": b"0123456789" * 100})
    with served(hub, control=True):
        yield hub


FILE = "/user/x/resolve/main/a.txt"


def test_one_connection_for_many_requests(here: Hub) -> None:
    connection = connect(here.url)
    for _ in range(3):
        connection.request("GET", FILE)
        assert connection.getresponse().read() == b"0123456789" * 100
    connection.request("HEAD", FILE)
    answer = connection.getresponse()
    assert (answer.read(), answer.headers["Content-Length"]) == (b"", "1000")
    connection.request("POST", "/api/validate-yaml", iter([b'{"content": ', b'"---\\na: 1\\n---\\n"}']))
    assert json.loads(connection.getresponse().read()) == {"errors": [], "warnings": []}


@pytest.mark.parametrize("after", [False, True])
def test_a_reset_is_one(here: Hub, after: bool) -> None:
    here.fail(with_=Reset(after=after))
    with pytest.raises(ConnectionResetError):
        ask_server(here.url, "POST", "/api/repos/create", {"name": "y", "type": "model"}, here.token)
    assert (("model", "user/y") in here.state.repos) is after


def test_half_a_request_is_none(here: Hub) -> None:
    """A client that dies while it sends a commit has made none, wherever the lines break."""
    lines = [{"key": "header", "value": {"summary": "s"}}, {"key": "file", "value": {"path": "b", "content": "b"}}]
    body = "".join(json.dumps(line) + "\n" for line in lines).encode()
    head = f"POST /api/models/user/x/commit/main HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {here.token}\r\n"
    with socket.create_connection(("127.0.0.1", urlsplit(here.url).port or 0)) as client:
        client.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % (len(body) + 1) + body)
        client.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert list(here.files("user/x")) == [".gitattributes", "a.txt"]


def test_a_body_that_breaks_off(here: Hub) -> None:
    here.fail(with_=Truncate(0.25))
    with pytest.raises(http.client.IncompleteRead) as broken:
        ask_server(here.url, "GET", FILE)
    assert broken.value.partial == b"0123456789" * 25


def test_a_slow_body_arrives_whole(here: Hub) -> None:
    here.fail(with_=Slow(chunk=7, delay=0.0))
    assert ask_server(here.url, "GET", FILE) == (200, b"0123456789" * 100)


def test_an_unknown_request_is_an_error_that_names_it(here: Hub) -> None:
    status, body = ask_server(here.url, "DELETE", "/api/nonsense")
    assert status == 501
    assert "DELETE /api/nonsense" in json.loads(body)["error"]


def test_faults_and_log_from_outside(here: Hub) -> None:
    assert ask_server(here.url, "POST", "/_hub/fail", {"route": "GET /user/*", "on": 2, "status": 503})[0] == 200
    assert (
        ask_server(here.url, "POST", "/_hub/fail", {"route": "GET /api/*", "effect": "Reset", "after": True})[0] == 200
    )
    assert [ask_server(here.url, "GET", FILE)[0] for _ in range(3)] == [200, 503, 200]
    with pytest.raises(ConnectionResetError):
        ask_server(here.url, "GET", "/api/models")
    assert ask_server(here.url, "POST", "/_hub/chaos", {"seed": 1, "rate": 1.0})[0] == 200
    assert ask_server(here.url, "POST", "/_hub/calm")[0] == 200
    assert ask_server(here.url, "GET", FILE)[0] == 200
    log = json.loads(ask_server(here.url, "GET", "/_hub/requests")[1])
    assert [seen["status"] for seen in log] == [200, 503, 200, 0, 200]


@pytest.mark.parametrize("body", [{"effect": "None"}, {"status": 500, "effect": "Reset"}, {"on": 1}])
def test_a_fault_that_is_none_is_refused(here: Hub, body: dict[str, Any]) -> None:
    status, told = ask_server(here.url, "POST", "/_hub/fail", body)
    assert status == 400
    assert json.loads(told)["error"]


def test_chaos_from_the_command_line(start: Any) -> None:
    _, url = start("--chaos", "1:1.0")
    with pytest.raises((ConnectionError, http.client.HTTPException, AssertionError)):
        assert ask_server(url, "GET", "/api/models")[0] == 200


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--user", "me"], "--user me: say NAME:TOKEN"),
        (["--user", "me:t:owner"], "say NAME:TOKEN"),
        (["--chaos", "often"], "say SEED:RATE"),
        (["--port", "70000"], "--port 70000"),
    ],
)
def test_wrong_input_is_told_in_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hub", "serve", *arguments]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1
