"""What only Spaces have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from conformance.hub.messages import Refused, Response, reply
from conformance.hub.routes.repos import runtime
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
def told(call: Call, **holes: str) -> Response:
    """Tell that a Space runs, or is paused; no Space is run here."""
    call.holes["kind"] = "spaces"
    return reply(runtime(call.repo))


#: What a request sets: from its body, from nothing.
SETS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "restart": lambda told: {"paused": False},
    "pause": lambda told: {"paused": True},
    "hardware": lambda told: {"hardware": told["flavor"], "sleepTimeSeconds": told.get("sleepTimeSeconds")},
    "sleeptime": lambda told: {"sleepTimeSeconds": told["seconds"]},
    "storage": lambda told: {"storageTier": told["tier"]},
    "dev-mode": lambda told: {"devMode": told["enabled"]},
    "volumes": lambda told: {"volumes": told["volumes"]},
}


@route("POST PUT", f"/api/spaces/{{repo}}/(?P<what>{'|'.join(SETS)})")
def set_runtime(call: Call, what: str, **holes: str) -> Response:
    """Pause or restart a Space, change its hardware, sleep time, storage, development mode or volumes."""
    space = _space(call)
    try:
        space.runtime |= SETS[what](call.request.json())
    except KeyError as error:
        raise Refused(400, f"{error} is required") from error
    return reply(runtime(space))


@route("DELETE", "/api/spaces/{repo}/(?P<what>volumes|storage)")
def unset_runtime(call: Call, what: str, **holes: str) -> Response:
    """Detach a Space's volumes, or its storage. Raises Refused (400) if it has none."""
    space = _space(call)
    if space.runtime.pop({"storage": "storageTier"}.get(what, what), None) is None:
        raise Refused(400, f"The Space has no {what}")
    return reply(runtime(space))
