"""The Hub for a test: everything that asks for the Hub meets this one. The fixture `hub` is in the kit's plugin."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from conformance.hub.doors import Doors
from conformance.hub.hub import Hub
from conformance.hub.messages import UnknownRequest
from conformance.hub.server import served
from conformance.hub.surroundings import loopback_only, surrounded


@contextlib.contextmanager
def memory_hub(hub: Hub | None = None, home: Path | None = None, xet: bool = False) -> Iterator[Hub]:
    """Stand a Hub in all doors of this process while the block runs, and serve it to other processes; yield it.

    home: the folder for HF_HOME, default a temporary one. xet: let clients use the Xet protocol where hf_xet is
    installed; that is native code, which no door of this process sees: it goes over loopback. Raises UnknownRequest at
    the end if something was asked that the Hub does not know: code that swallows errors must not hide it
    (`hub.unknown.clear()` if it may).
    """
    hub = hub or Hub()
    with contextlib.ExitStack() as stack:
        folder = home or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hub-home-")))
        stack.enter_context(served(hub))
        stack.enter_context(loopback_only())
        stack.enter_context(Doors(hub).open())
        stack.enter_context(surrounded(hub, folder, xet))
        yield hub
    if hub.unknown:
        raise UnknownRequest("\n".join(hub.unknown))
