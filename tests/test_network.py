"""The tests' own guard: nothing but this machine can be reached."""

from __future__ import annotations

import socket

import pytest


@pytest.mark.parametrize(
    "family, host", [(socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"), (socket.AF_INET, "example.org")]
)
def test_a_connection_elsewhere_raises(family: socket.AddressFamily, host: str) -> None:
    with socket.socket(family) as outside, pytest.raises(PermissionError, match=host):
        outside.connect((host, 443))


def test_a_connection_to_this_machine_is_made() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()
