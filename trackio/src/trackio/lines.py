"""The lines of a journal, as a reader meets them: whole, torn, damaged, or just being written."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any
from zlib import crc32

import orjson


def lines(path: str) -> Iterator[bytes]:
    """Yield the lines of a file; one without its newline is the last. Raises OSError."""
    with open(path, "rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                # A reader may see the first page of a line that is being written before the second: the end
                # is torn only if it stays so.
                time.sleep(0.001)
                file.seek(-len(line), os.SEEK_CUR)
                line = file.readline()
                if not line.endswith(b"\n"):
                    yield line
                    return
            yield line


def parse(line: bytes, sealed: bool = False) -> tuple[list[Any], bool]:
    """Return the record `[sequence, time, kind, step, body]` of a line, and whether it had a checksum.

    `sealed`: it must have one, as the lines before it in its file; the first release wrote none. Raises
    ValueError if it is no record, or not the one that was written.
    """
    record = orjson.loads(line)
    if type(record) is list and len(record) == 6:
        if record.pop() != crc32(line[: line.rindex(b",")]):
            raise ValueError("the checksum is of another record")
        return record, True
    if type(record) is not list or len(record) != 5:
        raise ValueError("not a record of five parts and a checksum")
    if type(record[0]) is not int or type(record[1]) is not int or type(record[2]) is not str:
        raise ValueError("sequence, time or kind has a wrong type")
    if sealed:
        raise ValueError("the checksum is missing")
    return record, False
