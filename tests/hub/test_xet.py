"""The real hf_xet, native code in another process, at the loopback door: whole files, and errors that are told.

Where hf_xet is not installed (huggingface_hub 0.24 and 0.30 do not bring it) there is nothing to test here.
"""

from __future__ import annotations

import importlib.util
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.hub import Hub, Reset, Truncate, memory_hub
from conformance.hub.faults import Effect, Status
from conformance.hub.server import served

#: Longer than a chunk; some of it is to be compressed, and one part is there twice.
CONTENT = random.Random(0).randbytes(300_000) + b"again and again " * 20_000 + bytes(range(256)) * 800
CONTENT += CONTENT[:200_000]

UPLOAD = """
import sys
from huggingface_hub import HfApi
HfApi().upload_file(path_or_fileobj=sys.argv[1], path_in_repo="big.bin", repo_id="user/x")
"""
DOWNLOAD = """
import sys
from huggingface_hub import hf_hub_download
hf_hub_download("user/x", "big.bin", local_dir=sys.argv[1])
"""


#: What a client does between two tries takes no time: that of huggingface_hub, and that of hf_xet.
AT_ONCE = "import time; time.sleep = lambda seconds: None\n"
KNOWN = {"HF_HUB_DISABLE_XET": "0", "HF_XET_CLIENT_RETRY_BASE_DELAY": "1ms"}


def child(script: str, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a process that may use Xet."""
    command, known = [sys.executable, "-c", AT_ONCE + script, *map(str, arguments)], {**KNOWN, **environment}
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **known}, timeout=120)


def asked(hub: Hub, word: str) -> list[int]:
    """Return the answers to the requests whose path has this word."""
    return [seen.status for seen in hub.requests if word in seen.path]


if importlib.util.find_spec("hf_xet"):

    @pytest.fixture
    def file(hub: Hub, tmp_path: Path) -> Path:
        hub.create("user/x")
        (tmp_path / "file").write_bytes(CONTENT)
        return tmp_path / "file"

    def test_a_file_goes_and_comes_over_xet(hub: Hub, file: Path, tmp_path: Path) -> None:
        told = child(UPLOAD, file)
        assert told.returncode == 0, told.stderr
        assert hub.files("user/x")["big.bin"] == CONTENT
        assert asked(hub, "/xorbs/") == [200]
        assert not asked(hub, "/_upload/")
        told = child(DOWNLOAD, tmp_path)
        assert told.returncode == 0, told.stderr
        assert (tmp_path / "big.bin").read_bytes() == CONTENT
        assert set(asked(hub, "/_xorb/")) == {206}
        assert not asked(hub, "/_large/")

    def test_what_was_put_without_xet_comes_over_it(hub: Hub, file: Path, tmp_path: Path) -> None:
        content = CONTENT * 12  # more than 10 MiB, so that it is a large file
        hub.put("user/x", {"big.bin": content})
        told = child(DOWNLOAD, tmp_path)
        assert told.returncode == 0, told.stderr
        assert (tmp_path / "big.bin").read_bytes() == content
        assert asked(hub, "/_xorb/")

    def test_what_is_there_is_not_sent_again(hub: Hub, file: Path) -> None:
        assert child(UPLOAD, file).returncode == 0
        file.write_bytes(CONTENT + b"more")
        assert child(UPLOAD, file).returncode == 0
        assert hub.files("user/x")["big.bin"] == CONTENT + b"more"
        first, second = (seen.sent for seen in hub.requests if "/xorbs/" in seen.path)
        assert second < first / 2

    @pytest.mark.parametrize("effect", [Status(503), Status(500), Reset(), Reset(after=True), Truncate()], ids=repr)
    @pytest.mark.parametrize("route", ["POST */xorbs/*", "POST */shards"])
    def test_an_upload_that_fails_once_is_tried_again(hub: Hub, file: Path, route: str, effect: Effect) -> None:
        fault = hub.fail(route, with_=effect)
        told = child(UPLOAD, file)
        assert told.returncode == 0, told.stderr
        assert fault.hits
        assert hub.files("user/x")["big.bin"] == CONTENT

    @pytest.mark.parametrize("effect", [Status(503), Reset(), Truncate()], ids=repr)
    @pytest.mark.parametrize("times", [1, None])
    def test_an_upload_without_a_token_is_whole_or_an_error(
        hub: Hub, file: Path, effect: Effect, times: int | None
    ) -> None:
        """Up to huggingface_hub 1.x a token is asked for once; since 2.0 hf_xet asks for it, and asks again."""
        hub.fail("GET */xet-write-token/*", with_=effect, times=times)
        told = child(UPLOAD, file)
        assert told.returncode == 0 or "Error" in told.stderr
        assert (hub.files("user/x").get("big.bin") == CONTENT) is (told.returncode == 0)
        assert told.returncode != 0 or times == 1

    @pytest.mark.parametrize("effect", [Status(503), Reset()], ids=repr)
    @pytest.mark.parametrize("route", ["POST */xorbs/*", "POST */shards"])
    def test_an_upload_that_always_fails_is_an_error(hub: Hub, file: Path, route: str, effect: Effect) -> None:
        hub.fail(route, with_=effect, times=None)
        told = child(UPLOAD, file)
        assert told.returncode != 0
        assert "Error" in told.stderr
        assert list(hub.files("user/x")) == [".gitattributes"]

    @pytest.mark.parametrize("effect", [Status(503), Reset(), Truncate(0.3)], ids=repr)
    @pytest.mark.parametrize("route", ["GET */_xorb/*", "GET */reconstructions/*"])
    @pytest.mark.parametrize("times", [1, None])
    def test_a_download_is_whole_or_an_error(
        hub: Hub, file: Path, tmp_path: Path, route: str, effect: Effect, times: int | None
    ) -> None:
        assert child(UPLOAD, file).returncode == 0
        fault = hub.fail(route, with_=effect, times=times)
        told = child(DOWNLOAD, tmp_path)
        assert fault.hits
        assert (told.returncode == 0) is (times == 1), told.stderr
        if times == 1:
            assert (tmp_path / "big.bin").read_bytes() == CONTENT
        else:
            assert not (tmp_path / "big.bin").exists()

    @pytest.mark.parametrize("kept", [True, False])
    def test_a_hub_that_starts_anew_at_the_same_port(tmp_path: Path, kept: bool) -> None:
        """The client remembers what it sent to the first; the second has it, or is sent it again."""
        (tmp_path / "file").write_bytes(CONTENT)
        port, sent = 0, []
        for _ in range(2):
            hub = Hub(folder=tmp_path / "folder" if kept else None)
            if "user/x" not in {id for _, id in hub.state.repos}:
                hub.create("user/x")
            with served(hub, port) as url:
                port = int(url.rpartition(":")[2])
                known = {"HF_ENDPOINT": url, "HF_TOKEN": hub.token, "HF_HOME": str(tmp_path / "home")}
                told = child(UPLOAD, tmp_path / "file", **known)
            assert told.returncode == 0, told.stderr
            assert hub.files("user/x")["big.bin"] == CONTENT
            sent.append(asked(hub, "/xorbs/"))
        assert sent == [[200], [] if kept else [200]]

    def test_in_this_process_where_it_is_asked_for(tmp_path: Path) -> None:
        from huggingface_hub import HfApi, hf_hub_download

        with memory_hub(xet=True) as hub:
            hub.create("user/x")
            (tmp_path / "file").write_bytes(CONTENT)
            HfApi().upload_file(path_or_fileobj=tmp_path / "file", path_in_repo="big.bin", repo_id="user/x")
            assert Path(hf_hub_download("user/x", "big.bin")).read_bytes() == CONTENT
            assert asked(hub, "/xorbs/") == [200]
            assert asked(hub, "/_xorb/")

    def test_the_fixture_does_without(hub: Hub, file: Path) -> None:
        from huggingface_hub import HfApi

        HfApi().upload_file(path_or_fileobj=file, path_in_repo="big.bin", repo_id="user/x")
        assert not asked(hub, "/xorbs/")
