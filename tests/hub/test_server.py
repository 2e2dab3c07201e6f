"""The loopback server: real sockets, another process, a folder that keeps the state."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from conformance.__main__ import main
from conformance.hub import Hub, Reset, Slow, Truncate
from conformance.hub.server import served

ROOT = Path(__file__).parents[2]


@pytest.fixture
def here() -> Iterator[Hub]:
    hub = Hub()
    hub.create("user/x")
    hub.put("user/x", {"a.txt": b"0123456789" * 100})
    with served(hub, control=True):
        yield hub


def connect(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)


def ask(url: str, method: str, path: str, body: Any = None, token: str = "") -> tuple[int, bytes]:
    connection = connect(url)
    headers = {"authorization": f"Bearer {token}"} if token else {}
    connection.request(method, path, json.dumps(body) if body else None, headers)
    answer = connection.getresponse()
    told = answer.status, answer.read()
    connection.close()
    return told


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
        ask(here.url, "POST", "/api/repos/create", {"name": "y", "type": "model"}, here.token)
    assert (("model", "user/y") in here.state.repos) is after


def test_a_body_that_breaks_off(here: Hub) -> None:
    here.fail(with_=Truncate(0.25))
    with pytest.raises(http.client.IncompleteRead) as broken:
        ask(here.url, "GET", FILE)
    assert broken.value.partial == b"0123456789" * 25


def test_a_slow_body_arrives_whole(here: Hub) -> None:
    here.fail(with_=Slow(chunk=7, delay=0.0))
    assert ask(here.url, "GET", FILE) == (200, b"0123456789" * 100)


def test_an_unknown_request_is_an_error_that_names_it(here: Hub) -> None:
    status, body = ask(here.url, "DELETE", "/api/nonsense")
    assert status == 501
    assert "DELETE /api/nonsense" in json.loads(body)["error"]


def test_faults_and_log_from_outside(here: Hub) -> None:
    assert ask(here.url, "POST", "/_hub/fail", {"route": "GET /user/*", "on": 2, "status": 503})[0] == 200
    assert ask(here.url, "POST", "/_hub/fail", {"route": "GET /api/*", "effect": "Reset", "after": True})[0] == 200
    assert [ask(here.url, "GET", FILE)[0] for _ in range(3)] == [200, 503, 200]
    with pytest.raises(ConnectionResetError):
        ask(here.url, "GET", "/api/models")
    assert ask(here.url, "POST", "/_hub/chaos", {"seed": 1, "rate": 1.0})[0] == 200
    assert ask(here.url, "POST", "/_hub/calm")[0] == 200
    assert ask(here.url, "GET", FILE)[0] == 200
    log = json.loads(ask(here.url, "GET", "/_hub/requests")[1])
    assert [seen["status"] for seen in log] == [200, 503, 200, 0, 200]


@pytest.mark.parametrize("body", [{"effect": "None"}, {"status": 500, "effect": "Reset"}, {"on": 1}])
def test_a_fault_that_is_none_is_refused(here: Hub, body: dict[str, Any]) -> None:
    status, told = ask(here.url, "POST", "/_hub/fail", body)
    assert status == 400
    assert json.loads(told)["error"]


@pytest.fixture
def start() -> Iterator[Any]:
    """Start `trl-conformance hub serve` in a process of its own; return it and its URL."""
    running = []

    def begin(*arguments: str) -> tuple[subprocess.Popen[str], str]:
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        command = [sys.executable, "-m", "conformance", "hub", "serve", *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path})
        running.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def test_a_folder_keeps_everything_but_tokens(start: Any, tmp_path: Path) -> None:
    server, url = start("--user", "me:hf_first", "--folder", str(tmp_path))
    assert ask(url, "POST", "/api/repos/create", {"name": "x", "type": "dataset"}, "hf_first")[0] == 200
    lines = [
        {"key": "header", "value": {"summary": "s"}},
        {"key": "file", "value": {"path": "a", "content": "kept"}},
    ]
    connection = connect(url)
    body = "\n".join(map(json.dumps, lines))
    connection.request("POST", "/api/datasets/me/x/commit/main", body, {"authorization": "Bearer hf_first"})
    made = json.loads(connection.getresponse().read())["commitOid"]
    server.send_signal(signal.SIGTERM)
    assert server.wait(20) == 0
    _, url = start("--user", "me:hf_second", "--folder", str(tmp_path))
    assert ask(url, "GET", "/datasets/me/x/resolve/main/a") == (200, b"kept")
    assert json.loads(ask(url, "GET", "/api/datasets/me/x")[1])["sha"] == made
    assert ask(url, "GET", "/api/whoami-v2", token="hf_first")[0] == 401
    for file in tmp_path.rglob("*"):
        assert file.is_dir() or b"hf_first" not in file.read_bytes()


def test_chaos_from_the_command_line(start: Any) -> None:
    _, url = start("--chaos", "1:1.0")
    with pytest.raises((ConnectionError, http.client.HTTPException, AssertionError)):
        assert ask(url, "GET", "/api/models")[0] == 200


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


def test_a_folder_of_another_users_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hub = Hub("me", "hf_me", folder=tmp_path)
    with served(hub) as url:
        ask(url, "POST", "/api/repos/create", {"name": "x", "type": "model"}, "hf_me")
    assert main(["hub", "serve", "--folder", str(tmp_path)]) == 2
    assert "start with --user me:TOKEN" in capsys.readouterr().err
