"""What only Spaces have, and the hosts beside the Hub that its clients ask."""

from __future__ import annotations

from typing import Any

from conformance.hub.messages import Refused, Response, reply
from conformance.hub.routing import Call, route
from conformance.hub.state import Repo, iso


def _space(call: Call) -> Repo:
    call.holes["kind"] = "spaces"
    return call.writable()


@route("GET", "/api/spaces/{repo}/variables")
def variables(call: Call, **holes: str) -> Response:
    """Tell a Space's variables."""
    return reply(_space(call).variables)


@route("POST DELETE", "/api/spaces/{repo}/variables")
@route("POST DELETE", "/api/spaces/{repo}/secrets")
def change(call: Call, **holes: str) -> Response:
    """Set or delete a variable or a secret; a secret's value is never told again."""
    space, told = _space(call), call.request.json()
    secret = call.request.path.endswith("/secrets")
    there = space.secrets if secret else space.variables
    key = told.get("key")
    if not key:
        raise Refused(400, '"key" is required')
    if call.request.method == "DELETE":
        there.pop(key, None)
    else:
        item: dict[str, Any] = {name: told[name] for name in ("description",) if told.get(name)}
        item |= {"key": key, "updatedAt": iso(call.state.now)}
        there[key] = item if secret else {**item, "value": told.get("value", "")}
    return reply({} if secret else there)


@route("GET", "/api/spaces/{repo}/secrets")
def secrets(call: Call, **holes: str) -> Response:
    """Tell which secrets a Space has, without their values."""
    return reply(_space(call).secrets)


@route("GET", "/api/spaces/{repo}/runtime")
@route("POST", "/api/spaces/{repo}/restart")
def runtime(call: Call, **holes: str) -> Response:
    """Tell that a Space runs; no Space is run here."""
    call.holes["kind"] = "spaces"
    space = call.repo if call.request.method == "GET" else call.writable()
    return reply({"stage": "RUNNING", "sdk": space.sdk, "hardware": {"current": "cpu-basic", "requested": None}})
