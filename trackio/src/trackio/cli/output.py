"""A file that appears whole or not at all, and replaces another only when asked to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .common import UsageError


def refuse_existing(path: str, force: bool) -> None:
    """Raises UsageError if `path` is there and may not be replaced, or cannot be made."""
    if os.path.isdir(path):
        raise UsageError(f"{path} is a folder")
    if os.path.lexists(path) and not force:
        raise UsageError(f"{path} is there already; --force replaces it")
    if not os.path.isdir(os.path.dirname(os.path.abspath(path))):
        raise UsageError(f"no folder {os.path.dirname(os.path.abspath(path))}")


@contextmanager
def whole_file(path: str, force: bool) -> Iterator[str]:
    """Give the path of a draft, and rename it to `path` if the block ends well. Raises UsageError."""
    refuse_existing(path, force)
    draft = f"{path}.part-{os.getpid()}"
    try:
        yield draft
        if force:
            os.replace(draft, path)
        else:
            os.link(draft, path)
    except FileExistsError:
        raise UsageError(f"{path} is there by now; --force replaces it") from None
    finally:
        with suppress(FileNotFoundError):
            os.unlink(draft)
