"""Made-up releases, scanned as real ones are."""

from __future__ import annotations

import textwrap

from conformance.surface import scan
from conformance.surface.model import Surface


def made(text: str, version: str = "1.0.0", library: str = "trl", place: str = "") -> Surface:
    """Return the surface of a release that consists of one file."""
    return scan.scan(library, version, [(place or f"{library}/trainer/x.py", textwrap.dedent(text))])
