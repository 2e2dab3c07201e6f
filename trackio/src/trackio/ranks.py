"""Which process of a distributed training this is, from what its launcher put into the environment.

Read at each use. The first variable that holds a whole number counts, in the order of the table: `torchrun`
and `accelerate launch` (torch 2.13.0, distributed/elastic/agent/server/local_elastic_agent.py,
`_start_workers`; accelerate 1.15.0, utils/launch.py, `PrepareForLaunch.__call__`), then Open MPI (5.0,
docs/tuning-apps/environment-var.rst), MPICH and Intel MPI, MVAPICH2 (both as accelerate reads them,
utils/environment.py, `get_cpu_distributed_information`), then Slurm (srun(1), output environment variables).
Slurm comes last: an `mpirun` or `torchrun` that it started passes Slurm's own numbers on to every process.
"""

from __future__ import annotations

import os

_RANK = ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK", "SLURM_PROCID")
_LOCAL_RANK = (
    "LOCAL_RANK",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "MPI_LOCALRANKID",
    "MV2_COMM_WORLD_LOCAL_RANK",
    "SLURM_LOCALID",
)
# Not SLURM_NTASKS: a batch script has it too, with the number of tasks asked for, and runs once.
_WORLD_SIZE = (
    "WORLD_SIZE",
    "OMPI_COMM_WORLD_SIZE",
    "PMI_SIZE",
    "MV2_COMM_WORLD_SIZE",
    "SLURM_STEP_NUM_TASKS",
)


def _first(names: tuple[str, ...], default: int, least: int = 0) -> int:
    for name in names:
        try:
            number = int(os.environ.get(name, ""))
        except ValueError:
            continue
        if number >= least:  # scripts write -1 for "none"
            return number
    return default


def rank() -> int:
    """Return the number of this process among all, 0 for the only one."""
    return _first(_RANK, 0)


def local_rank() -> int:
    """Return the number of this process among those on its node, 0 for the only one.

    Several may say 0: `torchrun --virtual-local-rank` tells every worker so, and processes that no launcher
    started know of no other.
    """
    return _first(_LOCAL_RANK, 0)


def world_size() -> int:
    """Return how many processes there are, at least 1."""
    return _first(_WORLD_SIZE, 1, least=1)


def is_main() -> bool:
    """Tell whether this is the process that prints and pushes: the one of rank 0."""
    return rank() == 0
