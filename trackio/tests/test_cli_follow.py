"""The command as a process of its own, and a run that is followed while it is written."""

from __future__ import annotations

import importlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
from typing import Any

import pytest
from stores import lines, only_journal, write

import trackio
from trackio.cli import main

# -- as a command --------------------------------------------------------------------------------------------


def command(*arguments: str, **more: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "trackio", *arguments], text=True, encoding="utf-8", **more
    )


def test_a_reader_that_leaves_is_no_error() -> None:
    trackio.init("p", "n")
    for step in range(5000):
        trackio.log({"a": 0.5, "b": 0.25}, step=step)
    trackio.finish()
    with command("export", "p", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_output_that_cannot_say_a_name_still_comes() -> None:
    write("\ud800é", "n")
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    with command("list", stdout=subprocess.PIPE, env=env) as process:
        assert process.stdout is not None
        assert r"\ud800\xe9" in process.stdout.read()
    assert process.returncode == 0


def terminal(arguments: list[str], env: dict[str, str]) -> str:
    """Run the command on a terminal and return what it wrote there."""
    ours, theirs = pty.openpty()
    try:
        process = command(*arguments, stdout=theirs, stderr=theirs, stdin=theirs, env={**os.environ, **env})
    finally:
        os.close(theirs)
    text = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # EIO: the other end is closed
            break
        if not part:
            break
        text += part
    os.close(ours)
    assert process.wait() == 0, text
    return text.decode()


def test_a_terminal_has_colour_unless_it_is_not_wanted() -> None:
    importlib.import_module("rich")
    write()
    env = {"TERM": "xterm", "COLUMNS": "60", "NO_COLOR": ""}
    coloured = terminal(["show", "p"], env)
    assert "\x1b[" in coloured and "0.456667" in coloured
    bare = terminal(["show", "p"], {**env, "NO_COLOR": "1"})
    assert "\x1b[3" not in bare and "0.456667" in bare
    write("p", "n" * 200)
    listed = terminal(["list"], {**env, "COLUMNS": "70", "NO_COLOR": "1", "TERM": "dumb"})
    assert max(map(len, listed.splitlines())) <= 80 and "n…" in listed


def test_columns_cut_a_pipe_only_if_set(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    write("p", "n" * 300)
    assert main(["list"]) == 0
    assert "n" * 300 in capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["list"]) == 0
    assert max(map(len, lines(capsys))) <= 80


# -- follow --------------------------------------------------------------------------------------------------

WRITER = """
import sys, trackio
trackio.init("p", "live")
for line in sys.stdin:
    step = int(line)
    trackio.log({"loss": step / 2, "x": None}, step=step)
    print("kept", flush=True)
trackio.finish()
"""


def next_line(process: subprocess.Popen[str]) -> str:
    """Return a line of its output, empty at the end; fail if none comes."""
    assert process.stdout is not None
    line, fd = b"", process.stdout.fileno()
    # Byte by byte: what a buffer holds, `select` does not see.
    while not line.endswith(b"\n") and select.select([fd], [], [], 30)[0] and (part := os.read(fd, 1)):
        line += part
    assert line.endswith(b"\n") or (not line and select.select([fd], [], [], 0)[0]), "nothing came"
    return line.decode()


@pytest.fixture
def writer() -> Any:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        yield process
        process.kill()


def test_a_run_is_followed_until_it_ends(writer: subprocess.Popen[str]) -> None:
    assert writer.stdin is not None
    print(1, file=writer.stdin)
    assert next_line(writer) == "kept\n"
    with command("show", "p", "--follow", "--interval", "0.01", stdout=subprocess.PIPE) as reader:
        assert next_line(reader).startswith("p / live   running   2 points   step 1   ")
        assert next_line(reader).startswith("metric")
        assert next_line(reader).startswith("loss") and next_line(reader).startswith("x")
        for step in (2, 3):
            print(step, file=writer.stdin)
            assert next_line(reader).split("  ")[1:] == [f"step {step}", f"loss={step / 2:.6g}", "x=none\n"]
        writer.stdin.close()
        assert next_line(reader) == "p / live   finished\n"
        assert next_line(reader) == ""
    assert reader.returncode == 0


def test_follow_as_json_has_every_value(writer: subprocess.Popen[str]) -> None:
    assert writer.stdin is not None
    print(1, file=writer.stdin)
    assert next_line(writer) == "kept\n"
    arguments = ("show", "p", "--follow", "--json", "--keys", "loss", "--interval", "0.01")
    with command(*arguments, stdout=subprocess.PIPE) as reader:
        assert json.loads(next_line(reader))["value"] == 0.5
        print(2, file=writer.stdin)
        found = json.loads(next_line(reader))
        assert (found["step"], found["key"], found["value"]) == (2, "loss", 1.0)
        writer.kill()
        assert next_line(reader) == ""
    assert reader.returncode == 0


def test_ctrl_c_is_quiet(writer: subprocess.Popen[str]) -> None:
    assert writer.stdin is not None
    print(1, file=writer.stdin)
    assert next_line(writer) == "kept\n"
    # A test runner in the background ignores the signal, and its children with it.
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with command("show", "p", "--follow", "--interval", "60", **pipes, **heard) as reader:
        for _ in range(4):
            next_line(reader)
        reader.send_signal(signal.SIGINT)
        assert reader.communicate(timeout=30) == ("", "")
    assert reader.returncode == 130


def test_half_a_line_waits_for_the_rest() -> None:
    from trackio.cli.follow import Tail

    path = only_journal(write())
    whole = path.read_bytes()
    tail = Tail(trackio.Api().run("p", "n"))
    seen = []
    for end in range(0, len(whole) + 1, 7):
        path.write_bytes(whole[:end])
        seen += list(tail.poll())
    path.write_bytes(whole)
    seen += list(tail.poll())
    assert seen == list(trackio.Api().run("p", "n").records()) and tail.ended()


def test_looks_go_on_until_the_run_ends() -> None:
    from trackio.cli.follow import Tail, _batches

    trackio.init("p", "n")
    looks = _batches(Tail(trackio.Api().run("p", "n")), 0)
    assert [record[2] for record in next(looks)] == ["open"]
    assert [list(next(looks)) for _ in range(3)] == [[], [], []]
    for step in range(3):
        trackio.log({"a": 1}, step=step)
        assert [record[3] for record in next(looks)] == [step]
    trackio.finish()
    assert [record[4] for look in looks for record in look] == ["finished"]

    class Late(Tail):
        def ended(self) -> bool:
            trackio.log({"a": "the last word"})
            trackio.finish()
            return super().ended()

    looks = _batches(Late(trackio.Api().run("p", "n")), 0)
    list(next(looks))
    assert any(record[4] == {"a": "the last word"} for look in looks for record in look)


def test_follow_on_a_terminal_changes_one_table(writer: subprocess.Popen[str]) -> None:
    importlib.import_module("rich")
    assert writer.stdin is not None
    print(8, file=writer.stdin)
    assert next_line(writer) == "kept\n"
    writer.stdin.close()
    writer.wait()
    text = terminal(["show", "p", "--follow"], {"TERM": "xterm", "COLUMNS": "120"})
    assert "p / live" in text and "finished" in text and "\x1b[" in text
