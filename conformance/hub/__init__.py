"""The Hugging Face Hub in memory, for tests: real clients, real answers, faults on demand (docs/hub.md)."""

from conformance.hub.faults import Delete, Quota, Rename, Reset, Skew, Slow, Status, Truncate
from conformance.hub.hub import Hub, Seen
from conformance.hub.memory import memory_hub
from conformance.hub.messages import Dropped, Request, Response, UnknownRequest

__all__ = [
    "Delete",
    "Dropped",
    "Hub",
    "Quota",
    "Rename",
    "Request",
    "Reset",
    "Response",
    "Seen",
    "Skew",
    "Slow",
    "Status",
    "Truncate",
    "UnknownRequest",
    "memory_hub",
]
