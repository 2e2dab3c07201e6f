"""What a CI matrix runs: a tox environment per TRL minor and tracker, in as many shards as wanted."""

from __future__ import annotations

from collections.abc import Sequence

from conformance.matrix.eras import eras

#: Trackers that tox has a factor for (tox.ini); the reference needs none.
FACTORS = {
    "reference": "",
    "wandb": "-wandb",
    "mlflow": "-mlflow",
    "tensorboard": "-tensorboard",
    "trackio": "-trackio",
}


def plan(
    shards: int = 1, minors: Sequence[str] | None = None, trackers: Sequence[str] = ("reference",)
) -> list[dict[str, str]]:
    """Return a cell per run: `environment` (tox), `minor` (TRL) and `shard` (`1/2`), in the order of releases.

    Without `minors` all there are. Raises ValueError for a minor or tracker that there is not, or less than one shard.
    """
    known = [era.minor for era in eras()]
    if unknown := [minor for minor in minors or [] if minor not in known]:
        raise ValueError(f"there is no era of TRL {unknown[0]}; there are {', '.join(known)}")
    if unknown := [tracker for tracker in trackers if tracker not in FACTORS]:
        raise ValueError(f"tox has no factor for the tracker {unknown[0]}; it has {', '.join(FACTORS)}")
    if shards < 1:
        raise ValueError(f"{shards} shards: at least one runs")
    return [
        {"environment": f"trl{minor}{FACTORS[tracker]}", "minor": minor, "shard": f"{k}/{shards}"}
        for minor in known
        if minors is None or minor in minors
        for tracker in trackers
        for k in range(1, shards + 1)
    ]
