"""The doors: whichever library asks, in this process or another, it is the same Hub, and nothing else is reached."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import multiprocessing
import os
import socket
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

import pytest
import requests

from conformance.hub import Hub, Reset, Slow, Truncate, UnknownRequest, memory_hub

CLIENTS = ["requests", *(name for name in ("httpx", "httpx2") if importlib.util.find_spec(name))]


@pytest.fixture(params=CLIENTS)
def library(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


def errors(library: ModuleType, *names: str) -> tuple[type[Exception], ...]:
    """Return the library's errors of these names; requests has other names than httpx."""
    where = library.exceptions if library is requests else library
    return tuple(getattr(where, name) for name in names if hasattr(where, name))


@pytest.fixture
def url(hub: Hub) -> str:
    hub.create("user/x", "dataset")
    hub.put("user/x", {"a.txt": bytes(range(256)) * 10})
    return f"{hub.url}/datasets/user/x/resolve/main/a.txt"


def test_bytes_and_headers(hub: Hub, library: ModuleType, url: str) -> None:
    answer = library.get(url)
    assert (answer.status_code, answer.content) == (200, bytes(range(256)) * 10)
    assert answer.headers["x-repo-commit"] == hub.commits("user/x")[0].oid
    part = library.get(url, headers={"Range": "bytes=250-259"})
    assert (part.status_code, part.content) == (206, bytes([*range(250, 256), *range(4)]))
    head = library.head(url)
    assert (head.content, head.headers["content-length"]) == (b"", "2560")
    secret = library.get(f"{hub.url}/api/whoami-v2", headers={"authorization": f"Bearer {hub.token}"})
    assert secret.json()["name"] == hub.user
    assert hub.requests[-1].user == hub.user


def test_the_public_address_is_the_same_hub(hub: Hub, library: ModuleType, url: str) -> None:
    assert library.get(url.replace(hub.url, "https://huggingface.co")).status_code == 200


def test_a_body_that_is_streamed(hub: Hub, library: ModuleType) -> None:
    def lines() -> Any:
        yield b'{"content": "---\\nlicense: '
        yield b'mit\\n---\\n", "repoType": "model"}'

    given = {"data": lines()} if library is requests else {"content": lines()}
    answer = library.post(f"{hub.url}/api/validate-yaml", headers={"content-type": "application/json"}, **given)
    assert answer.json() == {"errors": [], "warnings": []}


def test_a_reset_is_the_librarys_own_error(hub: Hub, library: ModuleType, url: str) -> None:
    hub.fail(with_=Reset())
    with pytest.raises(errors(library, "ConnectionError", "ReadError"), match="reset"):
        library.get(url)


def test_a_broken_body_is_the_librarys_own_error(hub: Hub, library: ModuleType, url: str) -> None:
    hub.fail(with_=Truncate())
    with pytest.raises(errors(library, "ChunkedEncodingError", "RemoteProtocolError")):
        _ = library.get(url).content


def test_a_body_that_stalls_is_the_librarys_own_timeout(hub: Hub, library: ModuleType, url: str) -> None:
    hub.fail(with_=Slow(chunk=10, delay=3), times=2)
    with pytest.raises(errors(library, "ConnectionError", "ReadTimeout"), match="timed out"):
        _ = library.get(url, timeout=1).content
    assert len(library.get(url, timeout=5).content) == 2560


async def _ask(library: ModuleType, url: str, hub: Hub) -> tuple[int, bytes]:
    async with library.AsyncClient() as client:
        hub.fail(with_=Reset())
        with pytest.raises(library.ReadError):
            await client.get(url)
        answer = await client.get(url)
        return answer.status_code, answer.content


if CLIENTS[1:]:  # requests has no asynchronous client

    @pytest.mark.parametrize("name", CLIENTS[1:])
    def test_asynchronous_clients(hub: Hub, url: str, name: str) -> None:
        assert asyncio.run(_ask(importlib.import_module(name), url, hub)) == (200, bytes(range(256)) * 10)


def test_an_unknown_request_names_itself(library: ModuleType) -> None:
    with pytest.raises(UnknownRequest, match="PATCH /api/nonsense") as told, memory_hub() as hub:  # noqa: PT012
        with pytest.raises(UnknownRequest, match="PATCH /api/nonsense"):
            library.patch(f"{hub.url}/api/nonsense")
        assert (hub.requests[-1].method, hub.requests[-1].status) == ("PATCH", 501)
    assert "hub.fail(" in str(told.value)


def test_an_unknown_request_that_was_swallowed_is_told_at_the_end() -> None:
    with pytest.raises(UnknownRequest, match="GET /api/nonsense"), memory_hub() as hub:  # noqa: PT012
        try:
            requests.get(f"{hub.url}/api/nonsense")
        except Exception:
            pass
    with memory_hub() as hub:
        with pytest.raises(UnknownRequest):
            requests.get(f"{hub.url}/api/nonsense")
        hub.unknown.clear()


def test_another_host_is_not_the_hub(hub: Hub, library: ModuleType) -> None:
    with pytest.raises(UnknownRequest, match=r"https://example\.org"):
        library.get("https://example.org/api/models")
    hub.unknown.clear()


def test_nothing_else_is_reached(hub: Hub) -> None:
    with pytest.raises(PermissionError, match=r"192\.0\.2\.1"):
        socket.create_connection(("192.0.2.1", 80))
    with pytest.raises(PermissionError, match=r"example\.org"):
        socket.getaddrinfo("example.org", 80)


class _Own(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"own")

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_other_servers_of_this_machine_are_reached(hub: Hub, library: ModuleType) -> None:
    with HTTPServer(("127.0.0.1", 0), _Own) as server:
        Thread(target=server.handle_request).start()
        assert library.get(f"http://127.0.0.1:{server.server_port}/").content == b"own"
    assert not hub.requests


def _push(name: str, library: str) -> None:
    module = importlib.import_module(library)
    told = {"name": name, "type": "model"}
    answer = module.post(
        f"{os.environ['HF_ENDPOINT']}/api/repos/create",
        json=told,
        headers={"authorization": f"Bearer {os.environ['HF_TOKEN']}"},
    )
    raise SystemExit(0 if answer.status_code == 200 else answer.status_code)


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_other_processes_have_the_same_hub(hub: Hub, library: ModuleType, start: str) -> None:
    process = multiprocessing.get_context(start).Process(target=_push, args=(start, library.__name__))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert hub.repo(f"user/{start}").kind == "model"


def test_a_forked_process_meets_the_faults(hub: Hub) -> None:
    hub.fail("POST /api/repos/create", status=503)
    process = multiprocessing.get_context("fork").Process(target=_push, args=("x", "requests"))
    process.start()
    process.join(60)
    assert process.exitcode == 503 % 256


def _nonsense() -> None:
    with pytest.raises(UnknownRequest, match="GET /api/nonsense"):
        requests.get(f"{os.environ['HF_ENDPOINT']}/api/nonsense")


def test_a_forked_process_is_told_what_is_unknown(hub: Hub) -> None:
    process = multiprocessing.get_context("fork").Process(target=_nonsense)
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert [seen.status for seen in hub.requests] == [501]
    hub.unknown.clear()


CHILD = """
import json, huggingface_hub
api = huggingface_hub.HfApi()
api.create_repo("user/made")
api.upload_file(path_or_fileobj=b"by a child", path_in_repo="a", repo_id="user/made")
print(json.dumps([api.whoami()["name"], huggingface_hub.constants.HF_HOME, api.endpoint]))
"""


def test_a_child_process_finds_everything_in_its_environment(hub: Hub) -> None:
    child = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    name, home, endpoint = json.loads(child.stdout)
    assert (name, endpoint) == (hub.user, hub.url)
    assert home == os.environ["HF_HOME"]
    assert hub.files("user/made")["a"] == b"by a child"


def test_everything_is_as_before_afterwards(tmp_path: Path) -> None:
    import huggingface_hub
    from huggingface_hub import constants, hf_api

    def look() -> dict[str, Any]:
        return {
            **{name: value for name, value in vars(constants).items() if name.isupper()},
            "api": hf_api.api.endpoint,
            "env": dict(os.environ),
            "token": huggingface_hub.get_token(),
            "send": requests.adapters.HTTPAdapter.send,
            "socket": socket.socket.connect,
        }

    before = look()
    with memory_hub(home=tmp_path) as hub:
        during = look()
        assert during["HF_HUB_CACHE"].startswith(str(tmp_path))
        assert (during["ENDPOINT"], during["api"], during["token"]) == (hub.url, hub.url, hub.token)
        assert during["HF_HUB_OFFLINE"] is False
        assert during.get("HF_HUB_DISABLE_XET") in (True, None)  # 0.30 has no such constant
    assert look() == before


LATER = """
import os
from conformance.hub import memory_hub
with memory_hub() as hub:
    import evaluate
    assert evaluate.HF_ENDPOINT == hub.url, evaluate.HF_ENDPOINT
    assert evaluate.CACHE == os.environ["HF_HOME"] + "/evaluate", evaluate.CACHE
assert evaluate.HF_ENDPOINT == "https://huggingface.co", evaluate.HF_ENDPOINT
assert str(evaluate.CACHE) == os.environ["HF_HOME"] + "/evaluate", evaluate.CACHE
with memory_hub() as hub:
    assert evaluate.HF_ENDPOINT == hub.url, evaluate.HF_ENDPOINT
    assert str(evaluate.CACHE) == os.environ["HF_HOME"] + "/evaluate", evaluate.CACHE
"""
#: A library of the family, in short: what it reads when it is imported.
LIBRARY = """
import os
HF_ENDPOINT = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
CACHE = os.path.join(os.environ["HF_HOME"], "evaluate")
"""


def test_a_library_that_is_imported_meanwhile_is_set_back(tmp_path: Path) -> None:
    (tmp_path / "evaluate.py").write_text(LIBRARY)
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"PYTHONPATH": path, "HF_HOME": str(tmp_path / "home")}
    later = subprocess.run([sys.executable, "-c", LATER], capture_output=True, text=True, env=environment)
    assert later.returncode == 0, later.stderr
