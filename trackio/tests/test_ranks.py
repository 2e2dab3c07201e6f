"""Which process of many this is, and which of those on a node samples: one, and if it dies another."""

from __future__ import annotations

import fcntl
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trackio
from trackio import journal, ranks, system


@pytest.fixture(autouse=True)
def alone(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No launcher, and no selection."""
    for name in (*ranks._RANK, *ranks._LOCAL_RANK, *ranks._WORLD_SIZE, "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    for name in ("TRACKIO_SYSTEM", "TRACKIO_SYSTEM_INTERVAL"):
        monkeypatch.delenv(name, raising=False)


def until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.005)
    return found


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, (0, 0, 1)),
        ({"RANK": "9", "LOCAL_RANK": "1", "WORLD_SIZE": "16"}, (9, 1, 16)),
        (
            {"OMPI_COMM_WORLD_RANK": "5", "OMPI_COMM_WORLD_LOCAL_RANK": "1", "OMPI_COMM_WORLD_SIZE": "8"},
            (5, 1, 8),
        ),
        ({"PMI_RANK": "3", "MPI_LOCALRANKID": "3", "PMI_SIZE": "4"}, (3, 3, 4)),
        (
            {"MV2_COMM_WORLD_RANK": "2", "MV2_COMM_WORLD_LOCAL_RANK": "0", "MV2_COMM_WORLD_SIZE": "4"},
            (2, 0, 4),
        ),
        ({"SLURM_PROCID": "6", "SLURM_LOCALID": "2", "SLURM_STEP_NUM_TASKS": "8"}, (6, 2, 8)),
        # A batch script: 8 tasks asked for, none started.
        ({"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NTASKS": "8"}, (0, 0, 1)),
        # torchrun, once per node by srun.
        (
            {"SLURM_PROCID": "1", "SLURM_LOCALID": "0", "SLURM_STEP_NUM_TASKS": "2"}
            | {"RANK": "11", "LOCAL_RANK": "3", "WORLD_SIZE": "16"},
            (11, 3, 16),
        ),
        # mpirun in a batch script.
        (
            {
                "SLURM_PROCID": "0",
                "SLURM_LOCALID": "0",
                "OMPI_COMM_WORLD_RANK": "2",
                "OMPI_COMM_WORLD_LOCAL_RANK": "2",
            },
            (2, 2, 1),
        ),
        # srun --mpi=pmi2.
        ({"PMI_RANK": "5", "SLURM_PROCID": "5", "SLURM_LOCALID": "1", "PMI_SIZE": "8"}, (5, 1, 8)),
        ({"RANK": "", "LOCAL_RANK": "-1", "WORLD_SIZE": "0"}, (0, 0, 1)),
        ({"RANK": "none", "SLURM_PROCID": "4"}, (4, 0, 1)),
    ],
)
def test_ranks(env: dict[str, str], expected: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert (ranks.rank(), ranks.local_rank(), ranks.world_size()) == expected
    assert ranks.is_main() == (expected[0] == 0)


TESTS = str(Path(__file__).parent)

RANK = f"""
import sys; sys.path.insert(0, {TESTS!r})
import fake_nvml; from fake_nvml import Gpu
fake_nvml.install(Gpu("GPU-a"))
import os, trackio
from trackio import system
run = trackio.init("p", "n", auto_log_gpu=False)
system.start(run, None, 0.01)
print("up", flush=True)
sys.stdin.readline()
run.finish()
"""


def streams() -> dict[str, list[int]]:
    """The times of the readings of each process, by the name of its journal."""
    found = {}
    for path in journal.journals(trackio.Api().run("p", "n").folder):
        times = [record[1] for record in journal.read(path, strict=False) if record[2] == "sys"]
        if times:
            found[os.path.basename(path)] = times
    return found


def begin(code: str = RANK, **env: str) -> subprocess.Popen[str]:
    """Start a process that says something and then waits for a line."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", code]
    return subprocess.Popen(
        command, env={**os.environ, **env}, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )


def ranks_of_a_node(local_ranks: list[str]) -> list[subprocess.Popen[str]]:
    processes = [begin(LOCAL_RANK=number, RANK=str(index)) for index, number in enumerate(local_ranks)]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "up\n"
    return processes


def end(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        out, errors = process.communicate("\n", timeout=30)
        assert (process.returncode, out, errors) == (0, "", "")


def test_four_ranks_of_a_node_make_one_stream() -> None:
    processes = ranks_of_a_node(["0", "1", "2", "3"])
    assert until(lambda: sum(map(len, streams().values())) >= 5)
    end(processes)
    (name,) = streams()
    assert f"-{processes[0].pid}-" in name


def test_four_processes_that_all_are_rank_0_make_one_stream_and_another_takes_over() -> None:
    processes = ranks_of_a_node(["0"] * 4)
    assert until(lambda: sum(map(len, streams().values())) >= 5)
    ((first, _),) = streams().items()
    holder = next(process for process in processes if f"-{process.pid}-" in first)
    holder.kill()
    holder.communicate()
    assert until(lambda: len(streams()) == 2)
    end([process for process in processes if process is not holder])
    spans = sorted((min(times), max(times)) for times in streams().values())
    # Each that ends hands over to one that is left.
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans)), spans


FORK = """
import time
while system._samplers[run].claim._fd is None: time.sleep(0.001)
if not (child := os.fork()):
    os.close(1); os.close(2)
    sys.stdin.readline()
    run.log({"samplers": len(system._samplers)})
    os._exit(0)
print(child, flush=True)
os.wait()
"""


def test_a_forked_child_samples_nothing_and_holds_nothing() -> None:
    process = begin(RANK.replace('print("up", flush=True)', FORK))
    assert process.stdin is not None and process.stdout is not None
    child = int(process.stdout.readline())
    assert until(streams)
    process.kill()
    process.wait()
    claim = system.Claim(trackio.init("p", "n", auto_log_gpu=False))
    assert claim.held(), "the child has let go of the lock"
    os.kill(child, 0)  # it is there all the while
    process.stdin.write("\n")
    process.stdin.close()
    assert until(lambda: list(trackio.Api().run("p", "n").points()) == [(None, "samplers", 0)])
    assert len(streams()) == 1
    claim.release()
    process.stdout.close()
    process.stderr.close()


def test_a_file_system_without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*args: Any) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", none)
    claim = system.Claim(trackio.init("p", "n", auto_log_gpu=False))
    assert claim.held() and claim.held()
    claim.release()
    assert not claim.held()


def test_a_lock_that_was_given_up_while_another_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    run = trackio.init("p", "n", auto_log_gpu=False)
    first, second, third = (system.Claim(run) for _ in range(3))
    assert first.held() and not second.held() and first.held()

    flock = fcntl.flock

    def late(fd: int, operation: int) -> None:
        first.release()
        monkeypatch.setattr(fcntl, "flock", flock)
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    assert not second.held(), "the file it has locked is no longer there for others to see"
    assert second.held() and not third.held()
    second.release()
    assert not list(Path(str(run.folder)).glob("*.lock"))
