"""Processors and memory, by the real psutil."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from trackio import ranks, system


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The only process, and no GPU."""
    for name in ranks._RANK:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "pynvml", None)


def test_processors_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    values = system.sample()
    assert 0 <= values["cpu/utilization"] <= 100 and 0 < values["memory/percent"] <= 100
    assert 0 < values["memory/used"] < values["memory/total"]
    assert values["memory/total"] * 1024**3 == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert values["proc.memory.rssMB"] > 5 and values["proc.cpu.threads"] >= 1
    assert values["proc.memory.percent"] == pytest.approx(
        values["proc.memory.rssMB"] / 1024 / values["memory/total"] * 100
    )
    assert not [key for key in values if key.startswith("gpu/")]
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert system.sample() == {}


def test_children_count() -> None:
    host = system.Host()
    before = host.read()
    code = "import sys; block = bytearray(b'x') * (64 << 20); print('up', flush=True); sys.stdin.read()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "up\n"
        after = host.read()
        child.communicate("")
    assert after["proc.memory.rssMB"] - before["proc.memory.rssMB"] > 60
    assert after["proc.cpu.threads"] > before["proc.cpu.threads"]


def test_two_looks_in_no_time_say_nothing_of_a_processor() -> None:
    host = system.Host()
    assert "cpu/utilization" not in host.read() and "memory/used" in host.read()
