"""A fault at every request of a push by four machines at once: nothing is lost, and nothing is there twice.

The machines take turns, each with what it last knew of the dataset, so nearly every commit meets a newer one.
`benchmarks/hub_faults.py` does the same with threads and a thousand logs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conformance.hub import Reset, Status, Truncate
from hubs import here, machine, more, no_waiting, push, pusher, there, twice

from trackio.hub import push as push_module

EFFECTS = {
    "reset before": Reset(),
    "reset after": Reset(after=True),
    "truncated": Truncate(),
    "429": Status(429, retry_after=0),
    "503": Status(503),
}

#: In a round every seventh request fails; seven rounds, each a request later, make it all of them.
STRIDE = 7


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    no_waiting(monkeypatch)
    # A text of two pushes, and one shard instead of two, are enough to see that neither loses anything.
    monkeypatch.setattr(push_module, "EVERY", 2)
    monkeypatch.setattr(push_module, "MANY", 2)


def four(hub: Any, top: Path) -> None:
    """Let four machines write and push, and look at what came."""
    runs = [machine(top / str(number), logs=5) for number in range(4)]
    pushers = [pusher(run) for run in runs]
    for its in pushers:
        push(its)
    for _ in range(3):  # a text, tables that take it in, a text
        for run, its in zip(runs, pushers, strict=True):
            more(run, 5)
            push(its)
    for run, its in zip(runs, pushers, strict=True):
        more(run, 5)
        run.finish()
        push(its, final=True)
    assert there(hub) == here(*runs)
    assert twice(hub) == []


def test_without_a_fault(hub: Any, tmp_path: Path) -> None:
    four(hub, tmp_path)
    assert 412 in {request.status for request in hub.requests}, "they met each other"


@pytest.mark.parametrize("effect", EFFECTS)
def test_a_fault_at_each_request(hub: Any, tmp_path: Path, effect: str) -> None:
    for first in range(STRIDE):
        before = len(hub.requests)
        fault = hub.fail(on=range(first + 1, 1000, STRIDE), with_=EFFECTS[effect])
        four(hub, tmp_path / str(first))
        made = len(hub.requests) - before
        assert made > 60 and fault.hits == list(range(before + first + 1, before + made + 1, STRIDE))
        hub.calm()
        hub.state.repos.clear()


@pytest.mark.parametrize("seed", range(3))
def test_faults_at_random(hub: Any, tmp_path: Path, seed: int) -> None:
    hub.chaos(seed, 0.2)
    four(hub, tmp_path)
