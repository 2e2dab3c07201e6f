"""`trl-conformance hub serve`: a Hub for other processes, until it is interrupted."""

from __future__ import annotations

import argparse
import contextlib
import signal
import threading

from conformance.hub.hub import Hub
from conformance.hub.server import served


def _users(words: list[str]) -> list[tuple[str, str, str]]:
    """Read --user. Raises ValueError."""
    users = []
    for word in words:
        name, _, rest = word.partition(":")
        token, _, role = rest.partition(":")
        if not name or not token or role not in ("", "read", "write"):
            raise ValueError(f"--user {word}: say NAME:TOKEN, or NAME:TOKEN:read")
        users.append((name, token, role or "write"))
    return users


def run(chosen: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM. Raises ValueError for wrong input, whose message is one line."""
    users = _users(chosen.user or ["user:hf_" + "t" * 34])
    try:
        hub = Hub(users[0][0], users[0][1], folder=chosen.folder)
    except OSError as error:
        raise ValueError(f"--folder {chosen.folder}: {error}") from error
    for name, token, role in users:
        hub.add_user(name, token, role)
    if chosen.part_size:
        hub.part_size = chosen.part_size
    if chosen.chaos:
        seed, _, rate = chosen.chaos.partition(":")
        try:
            hub.chaos(int(seed), float(rate))
        except ValueError as error:
            raise ValueError(f"--chaos {chosen.chaos}: say SEED:RATE, such as 7:0.1") from error
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    with contextlib.ExitStack() as stack:
        try:
            url = stack.enter_context(served(hub, chosen.port, control=True))
        except (OSError, OverflowError) as error:
            raise ValueError(f"--port {chosen.port}: {error}") from error
        print(url, flush=True)
        over.wait()
    return 0
