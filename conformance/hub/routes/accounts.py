"""Who asks, what a user has, and the checks that need no repository."""

from __future__ import annotations

import hashlib
from urllib.parse import parse_qs

from conformance.hub.cards import problems
from conformance.hub.messages import Refused, Response, reply
from conformance.hub.routing import Call, route
from conformance.hub.state import iso


@route("GET", "/api/whoami-v2")
def whoami(call: Call) -> Response:
    """Tell whose token it is (huggingface_hub, hf_api.py, whoami)."""
    user = call.signed_in()
    token = call.request.headers["authorization"].partition(" ")[2].strip()
    return reply(
        {
            "type": "user",
            "id": hashlib.sha1(user.name.encode()).hexdigest()[:24],
            "name": user.name,
            "fullname": user.name,
            "email": f"{user.name}@example.org",
            "emailVerified": True,
            "canPay": False,
            "isPro": False,
            "periodEnd": None,
            "avatarUrl": f"/avatars/{user.name}.svg",
            "orgs": [{"type": "org", "name": name, "fullname": name, "roleInOrg": "write"} for name in user.orgs],
            "auth": {
                "type": "access_token",
                "accessToken": {"displayName": "token", "role": user.tokens[token], "createdAt": iso(0)},
            },
        }
    )


@route("GET", "/api/users/{name}/overview")
def overview(call: Call, name: str) -> Response:
    """Tell how many repositories of each kind a user has, of those that may be seen."""
    if name not in call.state.users:
        raise Refused(404, "This user does not exist")
    seen = [repo for repo in call.state.repos.values() if repo.namespace == name]
    if not (call.user and call.user.owns(name)):
        seen = [repo for repo in seen if not repo.private]
    counts = {f"num{kind.title()}s": sum(repo.kind == kind for repo in seen) for kind in ("model", "dataset", "space")}
    orgs = [{"name": org, "fullname": org} for org in call.state.users[name].orgs]
    return reply({"user": name, "fullname": name, "type": "user", "isPro": False, "orgs": orgs, **counts})


@route("POST", "/api/validate-yaml")
def validate(call: Call) -> Response:
    """Check a card's metadata (huggingface_hub, repocard.py, RepoCard.validate: a form up to 0.36, JSON since)."""
    if "form" in call.request.headers.get("content-type", ""):
        card = parse_qs(call.request.body.decode(), keep_blank_values=True).get("content", [""])[0]
    else:
        card = str(call.request.json().get("content", ""))
    errors, warnings = problems(card)
    found = {"errors": [{"message": line} for line in errors], "warnings": [{"message": line} for line in warnings]}
    return reply(found, 400 if errors else 200)


@route("GET", "/api/agent-harnesses")
def harnesses(call: Call) -> Response:
    """List the harnesses that are registered here, and what they are known by: none, so the client looks for none.

    By utils/_detect_agent.py of huggingface_hub 2.4, which asks once a day and sends what it found as its user agent.
    """
    return reply({"standardEnvVars": [], "harnesses": {}})


@route("HEAD", "/api/telemetry/{path}")
def telemetry(call: Call, path: str) -> Response:
    """Take notice of nothing."""
    return Response(200)
