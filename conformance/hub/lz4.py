"""LZ4, the way back: what clients of the Xet protocol compress, a client without it reads plain.

Written from the descriptions of the block and of the frame (lz4, doc/lz4_Block_format.md and lz4_Frame_format.md). It
is here, instead of the package `lz4`, because it is less than what an optional dependency would add: a second behaviour
where the package is missing, and something compiled to install. A chunk is 128 KiB at most.
"""

from __future__ import annotations

MAGIC = b"\x04\x22\x4d\x18"
#: The flags of a frame that say what else is in it: a checksum per block, the content's size, a dictionary.
BLOCK_SUMS, SIZE, DICTIONARY = 0x10, 0x08, 0x01
#: The bit of a block's size that says that it is not compressed.
PLAIN = 1 << 31


def decompress(frame: bytes) -> bytes:
    """Return the content of one frame. Raises ValueError if it is none; checksums are not checked."""
    if frame[:4] != MAGIC or len(frame) < 7 or frame[4] >> 6 != 1 or frame[4] & DICTIONARY:
        raise ValueError("no LZ4 frame that can be read here")
    flags, at = frame[4], 7 + (8 if frame[4] & SIZE else 0)
    content = bytearray()
    try:
        while size := int.from_bytes(frame[at : at + 4], "little"):
            start, at = at + 4, at + 4 + (size & ~PLAIN)
            if at > len(frame):
                raise IndexError
            if size & PLAIN:
                content += frame[start:at]
            else:
                _block(frame[start:at], content)
            at += 4 if flags & BLOCK_SUMS else 0
    except IndexError as error:
        raise ValueError("an LZ4 frame breaks off, or is no LZ4") from error
    return bytes(content)


def _length(block: bytes, at: int, nibble: int) -> tuple[int, int]:
    """Read a length that starts in a nibble: 15 says that bytes follow, 255 that more do. Raises IndexError."""
    length, more = nibble, 255 if nibble == 15 else 0
    while more == 255:
        more = block[at]
        length, at = length + more, at + 1
    return length, at


def _block(block: bytes, content: bytearray) -> None:
    """Append a block's content; its matches may reach into what is there already. Raises IndexError, ValueError."""
    at, end = 0, len(block)
    while at < end:
        token = block[at]
        length, at = _length(block, at + 1, token >> 4)
        if at + length > end:
            raise IndexError
        content += block[at : at + length]
        at += length
        if at == end:  # the last sequence is literals only
            return
        distance = block[at] | block[at + 1] << 8
        length, at = _length(block, at + 2, token & 15)
        length += 4
        start = len(content) - distance
        if distance == 0 or start < 0:
            raise ValueError("an LZ4 match points before the content")
        if distance >= length:
            content += content[start : start + length]
        else:  # it overlaps with what it makes: a pattern that is repeated
            content += (content[start:] * (length // distance + 1))[:length]
