"""Faults and the log from outside: what another process asks the server itself, below `/_hub/`.

    GET  /_hub/requests                                  the log, a list of objects (`Seen`)
    POST /_hub/fail    {"route": "POST /api/*", "on": 3, "times": 1, "effect": "Reset", "after": true}
    POST /_hub/fail    {"route": "*", "status": 503, "times": null}
    POST /_hub/chaos   {"seed": 1, "rate": 0.1}
    POST /_hub/calm                                      lifts all faults

These requests are not the Hub's: they are not in the log, and no fault strikes them.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from conformance.hub import faults
from conformance.hub.hub import Hub
from conformance.hub.messages import Refused, Request, Response, reply

ROOT = "/_hub/"
EFFECTS = {
    effect.__name__: effect
    for effect in (
        *(faults.Reset, faults.Truncate, faults.Slow, faults.Skew),
        *(faults.Rename, faults.Delete, faults.Quota),
    )
}


def controlled(hub: Hub, request: Request) -> Response | None:
    """Answer a request to the server itself; None for one to the Hub."""
    if not request.path.startswith(ROOT):
        return None
    word = f"{request.method} {request.path.removeprefix(ROOT)}"
    try:
        told = request.json()
        if word == "GET requests":
            return reply([asdict(seen) for seen in list(hub.requests)])
        if word == "POST fail":
            _fail(hub, told)
        elif word == "POST chaos":
            hub.chaos(int(told["seed"]), float(told["rate"]), told.get("route"))
        elif word == "POST calm":
            hub.calm()
        else:
            raise ValueError(f"the server has no {request.method} {request.path}")
    except (ValueError, TypeError, KeyError) as error:
        return Refused(400, f"{request.method} {request.path}: {error}").response
    except Refused as refused:
        return refused.response
    return reply({})


def _fail(hub: Hub, told: dict[str, Any]) -> None:
    """Plant the fault that a body describes. Raises ValueError, TypeError, KeyError."""
    when = {name: told.pop(name) for name in ("on", "times") if name in told}
    route = told.pop("route", None)
    if "effect" in told:
        name = told.pop("effect")
        if name not in EFFECTS:
            raise ValueError(f"there is no effect {name!r}: {', '.join(EFFECTS)}, or a status")
        hub.fail(route, with_=EFFECTS[name](**told), **when)
    else:
        hub.fail(route, **when, **told)
