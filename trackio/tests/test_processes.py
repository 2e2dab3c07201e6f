"""Several processes, and the ways one ends: SIGKILL, SIGTERM, an exception, a fork, a quiet exit."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trackio

Python = Callable[..., "subprocess.Popen[str]"]


def stored(name: str = "n") -> Any:
    return trackio.Api().run("p", name)


def values(key: str = "i") -> list[Any]:
    return [value for _, name, value in stored().points() if name == key]


ENDLESS = """
import trackio, sys
run = trackio.init("p", "n")
i = 0
while True:
    trackio.log({"i": i, "loss": i / 7}, step=i)
    sys.stdout.write(f"{i}\\n"); sys.stdout.flush()
    i += 1
"""


def acknowledged(process: subprocess.Popen[str], first: str) -> int:
    """Return the last number that the process, now dead, wrote; `first` is a line that was read before."""
    assert process.stdout is not None
    return int((first + process.stdout.read()).splitlines()[-1])


@pytest.mark.parametrize("after", [0.0, 0.013, 0.047])
def test_a_killed_process_keeps_what_it_acknowledged(python: Python, after: float) -> None:
    process = python(ENDLESS)
    assert process.stdout is not None
    first = process.stdout.readline()
    if after == 0.0:
        assert stored().status == "running"
    time.sleep(after)
    process.kill()
    last = acknowledged(process, first)
    process.wait()
    kept = values()
    assert kept == list(range(len(kept))) and last <= kept[-1] <= last + 1
    assert stored().status == "crashed"


def test_a_killed_child_that_nobody_waited_for_has_crashed(python: Python) -> None:
    process = python(ENDLESS)
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.stdout.read()  # ends when the process has; it stays listed as a zombie
    deadline = time.monotonic() + 5
    while stored().status == "running" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert stored().status == "crashed"
    process.wait()


@pytest.mark.parametrize(
    ("end", "status", "code"),
    [
        ("", "finished", 0),
        ("trackio.finish()", "finished", 0),
        ("raise RuntimeError('boom')", "failed", 1),
        ("raise KeyboardInterrupt", "failed", -signal.SIGINT),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", "failed", -signal.SIGTERM),
        ("import os; os._exit(0)", "crashed", 0),
    ],
    ids=["exit", "finish", "exception", "interrupt", "sigterm", "_exit"],
)
def test_how_a_process_ends_is_the_status(python: Python, end: str, status: str, code: int) -> None:
    process = python(f"import trackio\ntrackio.init('p', 'n')\ntrackio.log({{'i': 1}})\n{end}")
    _, errors = process.communicate()
    assert (stored().status, process.returncode) == (status, code), errors
    assert values() == [1]


def test_hooks_that_were_there_before_are_called(python: Python) -> None:
    code = """
import os, signal, sys, trackio
signal.signal(signal.SIGTERM, lambda *_: print("handler", flush=True))
sys.excepthook = lambda *_: print("hook", flush=True)
trackio.init("p", "n")
os.kill(os.getpid(), signal.SIGTERM)
trackio.log({"i": 1})
raise RuntimeError
"""
    output, _ = python(code).communicate()
    assert output.split() == ["handler", "hook"]
    assert (values(), stored().status) == ([1], "failed")


def test_an_ignored_sigterm_stays_ignored(python: Python) -> None:
    code = """
import os, signal, trackio
signal.signal(signal.SIGTERM, signal.SIG_IGN)
trackio.init("p", "n")
os.kill(os.getpid(), signal.SIGTERM)
trackio.log({"i": 1})
"""
    assert python(code).wait() == 0
    assert (values(), stored().status) == ([1], "finished")


def test_sigterm_in_the_middle_of_logging_loses_nothing(python: Python) -> None:
    for _ in range(3):
        process = python(ENDLESS.replace('"n"', "None"))
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(0.02)
        process.terminate()
        last = acknowledged(process, first)
        assert process.wait() == -signal.SIGTERM
        run = trackio.Api().runs("p")[-1]
        kept = [value for _, key, value in run.points() if key == "i"]
        assert kept == list(range(len(kept))) and kept[-1] >= last
        assert run.status == "failed"


def test_a_fork_writes_a_journal_of_its_own(python: Python, store: Path) -> None:
    code = """
import os, threading, trackio
run = trackio.init("p", "n")
trackio.log({"i": 0}, step=3)
for child in range(3):
    if os.fork() == 0:
        assert [t.name for t in threading.enumerate()] == ["MainThread"]
        for i in range(50):
            trackio.log({"child": child * 100 + i})
        assert run.health()["written"] == 50, run.health()
        trackio.finish()
        os._exit(0)
for _ in range(3):
    assert os.wait()[1] == 0
trackio.log({"i": 1})
assert run.health()["written"] == 2
assert trackio.Api().run("p", "n").status == "running"
"""
    process = python(code)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert values() == [0, 1]
    assert sorted(values("child")) == sorted(c * 100 + i for c in range(3) for i in range(50))
    assert {step for step, *_ in stored().points()} == {3}
    assert len(list(store.rglob("w-*"))) == 4
    assert (stored().status, bool(stored().damage)) == ("finished", False)


def test_a_fork_while_threads_log_does_not_hang(python: Python) -> None:
    code = """
import os, threading, trackio
trackio.init("p", "n")
stop = threading.Event()
def work():
    while not stop.is_set():
        trackio.log({"busy": 1})
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads: thread.start()
for i in range(10):
    if os.fork() == 0:
        trackio.log({"i": i})
        os._exit(0)
    assert os.wait()[1] == 0
stop.set()
for thread in threads: thread.join()
"""
    process = python(code)
    try:
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert sorted(values()) == list(range(10))
    run = stored()
    assert list(run.records()) and not run.damage


def test_a_fork_that_logs_nothing_leaves_nothing(python: Python, store: Path) -> None:
    code = """
import os, signal, sys, time, trackio
trackio.init("p", "n")
pid = os.fork()
if pid == 0:
    sys.exit(3)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 3
pid = os.fork()
if pid == 0:
    time.sleep(60)
os.kill(pid, signal.SIGTERM)
assert os.waitstatus_to_exitcode(os.wait()[1]) == -signal.SIGTERM
assert trackio.Api().run("p", "n").status == "running"
"""
    process = python(code)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert len(list(store.rglob("w-*"))) == 1 and stored().status == "finished"


def test_processes_that_init_together_share_one_run(python: Python, store: Path) -> None:
    code = """
import trackio, sys
trackio.init("p", "n", resume="allow")
for i in range(100):
    trackio.log({"i": i})
"""
    processes = [python(code) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert len(trackio.Api().runs("p")) == 1
    assert Counter(values()) == {i: 4 for i in range(100)}
    assert len(list(store.rglob("run.json"))) == 1 and not list(store.rglob("run.json.*"))
    times = [record[1] for record in stored().records()]
    assert times == sorted(times)


def test_processes_that_insist_get_a_run_each(python: Python) -> None:
    code = "import trackio; trackio.init('p', 'n', resume='never'); trackio.log({'i': 1})"
    processes = [python(code) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    runs = trackio.Api().runs("p")
    assert len({run.id for run in runs}) == 4
    assert [value for run in runs for *_, value in run.points()] == [1] * 4


def test_the_working_directory_and_the_home_stay_empty(python: Python, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    code = "import trackio; trackio.init('p', 'n'); trackio.log({'i': 1}); trackio.finish()"
    assert python(code, HOME=str(home)).wait() == 0
    assert not list((tmp_path / "work").iterdir()) and not list(home.iterdir())


def test_the_default_root_is_in_hugging_face_s_cache(python: Python, tmp_path: Path) -> None:
    for variable, folder in (
        ("HOME", ".cache/huggingface/trackio-reference"),
        ("HF_HOME", "trackio-reference"),
    ):
        top = tmp_path / variable
        top.mkdir()
        env = {"TRACKIO_DIR": "", "HF_HOME": "", variable: str(top)}
        assert python("import trackio; trackio.init('p', 'n')", **env).wait() == 0
        assert trackio.Api(top / folder).projects() == ["p"]


def test_import_is_light(python: Python) -> None:
    code = """
import sys, trackio
heavy = set(sys.modules) & {"torch", "numpy", "pandas", "huggingface_hub", "PIL", "pyarrow", "requests"}
assert not heavy, heavy
"""
    process = python(code)
    _, errors = process.communicate()
    assert process.returncode == 0, errors


def test_a_process_of_another_host_is_judged_by_its_silence(store: Path) -> None:
    trackio.init("p", "n")
    (path,) = store.rglob("w-*")
    path.write_bytes(path.read_bytes().replace(b'"host":"', b'"host":"elsewhere-'))
    assert stored().status == "running"
    os.utime(path, (1, 1))
    assert stored().status == "crashed"
