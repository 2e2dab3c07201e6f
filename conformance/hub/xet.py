"""The Xet protocol's storage: xorbs, which are chunks one after the other, and files, which are made of their chunks.

What the formats are is said in huggingface.co/docs/xet (xorb, shard) and in xet-core, xet_core_structures/src
(xorb_object/xorb_chunk_format.rs, metadata_shard/file_structs.rs). No HTTP here.

Names of xorbs and files are Merkle hashes, made with BLAKE3, which Python's library has not: they are taken as they are
sent. What is checked is that every chunk can be unpacked, that every file is there whole, and its sha256 where the
client tells it.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

#: What a shard starts with; the footer of a xorb.
TAG = b"HFRepoMetaData\0" + bytes((85, 105, 103, 69, 106, 123, 129, 87, 131, 165, 189, 217, 92, 205, 209, 74, 169))
FOOTER = b"XETBLOB"
#: A shard's header is tag, version and the size of its footer; whatever else is in it are records of this size.
HEADER, RECORD = 48, 48
#: The hash that ends a section of a shard, and flags of a file: a record per term to verify it, one with its sha256.
BOOKEND, VERIFIED, DESCRIBED = b"\xff" * 32, 1 << 31, 1 << 30
#: The name of the file without content, which has no chunks.
EMPTY = "0" * 64
#: A chunk's header in bytes, the size of the chunks that are made here, and how many a xorb holds (64 MiB).
HEAD, CHUNK, MANY = 8, 64 * 1024, 1024


class Malformed(ValueError):
    """What was sent is no xorb, no shard, or does not fit what is there."""


class Chunk(NamedTuple):
    """A chunk of a xorb: where its header starts and where it ends, how it is packed, its size unpacked (bytes)."""

    start: int
    end: int
    scheme: int
    size: int


def _decompressed(frame: bytes) -> bytes:
    """Return the content of an LZ4 frame. Raises Malformed."""
    try:
        import pyarrow  # comes with datasets; whoever never uploads by Xet needs it not
    except ImportError as error:
        raise Malformed("this Hub needs pyarrow to unpack what clients of Xet compress: pip install pyarrow") from error
    try:
        return bytes(pyarrow.CompressedInputStream(pyarrow.BufferReader(frame), "lz4").read())
    except OSError as error:
        raise Malformed(f"a chunk cannot be unpacked: {error}") from error


class Term(NamedTuple):
    """A part of a file: the chunks of a xorb from `start` up to `end` without it."""

    xorb: str
    start: int
    end: int


class Piece(NamedTuple):
    """A term as it is told: with its size unpacked (bytes)."""

    xorb: str
    start: int
    end: int
    size: int


@dataclass(frozen=True)
class Xorb:
    """A xorb as it was sent."""

    body: bytes
    chunks: Sequence[Chunk]

    def unpacked(self, chunk: Chunk) -> bytes:
        """Return a chunk's content. Raises Malformed."""
        packed = self.body[chunk.start + HEAD : chunk.end]
        content = _decompressed(packed) if chunk.scheme else packed
        if len(content) != chunk.size:
            raise Malformed(f"a chunk has {len(content)} bytes, not {chunk.size}")
        return _regrouped(content) if chunk.scheme == 2 else content


@dataclass(frozen=True)
class File:
    """A file: its content's sha256, its size in bytes, its terms."""

    sha256: str
    size: int
    terms: Sequence[Term]


class Told(NamedTuple):
    """A file as a shard tells it; no sha256 if the client did not compute it."""

    name: str
    terms: list[Term]
    sha256: str


def named(digest: bytes) -> str:
    """Return a hash as text: four little-endian numbers of 64 bits (merklehash/data_hash.rs, hex)."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", digest))


def _regrouped(groups: bytes) -> bytes:
    """Undo the grouping of every fourth byte (byte_grouping/bg4.rs)."""
    content, at = bytearray(len(groups)), 0
    for first in range(4):
        count = len(range(first, len(groups), 4))
        content[first::4] = groups[at : at + count]
        at += count
    return bytes(content)


def read_xorb(body: bytes) -> Xorb:
    """Find the chunks of a xorb, up to its footer if it has one. Raises Malformed."""
    chunks, at = [], 0
    while at < len(body) and not body.startswith(FOOTER, at):
        if at + HEAD > len(body):
            raise Malformed("a chunk's header breaks off")
        end = at + HEAD + int.from_bytes(body[at + 1 : at + 4], "little")
        chunk = Chunk(at, end, body[at + 4], int.from_bytes(body[at + 5 : at + 8], "little"))
        if body[at] != 0 or chunk.scheme > 2 or end > len(body):
            raise Malformed(f"there is no chunk at byte {at}")
        chunks.append(chunk)
        at = end
    if not chunks:
        raise Malformed("a xorb has no chunks")
    return Xorb(body, tuple(chunks))


def read_shard(body: bytes) -> list[Told]:
    """Return the files of a shard; what it tells of xorbs is in them already. Raises Malformed."""
    if not body.startswith(TAG):
        raise Malformed("this is no shard")
    return list(_files(body))


def _files(body: bytes) -> Iterator[Told]:
    at = HEADER

    def records(count: int) -> list[tuple[bytes, int, int, int, int]]:
        nonlocal at
        start, at = at, at + count * RECORD
        if at > len(body):
            raise Malformed("a shard breaks off")
        return list(struct.iter_unpack("<32s4I", body[start:at]))

    while True:
        [(digest, flags, count, *_)] = records(1)
        if digest == BOOKEND:
            return
        terms = [Term(named(xorb), start, end) for xorb, _, _, start, end in records(count)]
        records(count if flags & VERIFIED else 0)
        about = [named(record[0]) for record in records(1 if flags & DESCRIBED else 0)]
        yield Told(named(digest), terms, next((sha256 for sha256 in about if sha256 != EMPTY), ""))


@dataclass
class Storage:
    """All xorbs and files by their names; `names` are those of files by the sha256 of their contents."""

    xorbs: dict[str, Xorb] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, file: File) -> None:
        """Add a file. A content has one name: the first that it got."""
        self.files[name] = file
        self.names.setdefault(file.sha256, name)

    def name(self, sha256: str) -> str:
        """Return the name of a content; one that did not come over Xet is called by its sha256."""
        return self.names.get(sha256, sha256)

    def made(self, told: Told) -> tuple[File, bytes]:
        """Put a file together. Raises Malformed if not all of it is here, or it is something else than was told."""
        parts = []
        for term in told.terms:
            xorb = self.xorbs.get(term.xorb)
            if xorb is None or not 0 <= term.start < term.end <= len(xorb.chunks):
                raise Malformed(f"the file {told.name} has chunks {term.start} to {term.end} of {term.xorb}: not here")
            parts += [xorb.unpacked(chunk) for chunk in xorb.chunks[term.start : term.end]]
        content = b"".join(parts)
        sha256 = hashlib.sha256(content).hexdigest()
        if told.sha256 not in ("", sha256):
            raise Malformed(f"the file {told.name} has not the sha256 {told.sha256}")
        return File(sha256, len(content), tuple(told.terms)), content

    def adopt(self, sha256: str, content: bytes) -> File:
        """Make a file of a content that did not come over Xet: chunks that are not packed."""
        terms = []
        for start in range(0, len(content), CHUNK * MANY):
            body = b"".join(_packed(content[at : at + CHUNK]) for at in _cuts(start, len(content)))
            name = hashlib.sha256(body).hexdigest()
            self.xorbs[name] = read_xorb(body)
            terms.append(Term(name, 0, len(self.xorbs[name].chunks)))
        file = File(sha256, len(content), tuple(terms))
        self.add(sha256, file)
        return file

    def pieces(self, file: File, start: int, end: int) -> tuple[int, list[Piece]]:
        """Return the chunks that hold the bytes from `start` up to `end`, and how many bytes they begin before it."""
        at, skipped = 0, 0
        found: list[Piece] = []
        for term in file.terms:
            inside: list[tuple[int, int]] = []
            for number in range(term.start, term.end):
                size = self.xorbs[term.xorb].chunks[number].size
                if at < end and at + size > start:
                    if not found and not inside:
                        skipped = start - at
                    inside.append((number, size))
                at += size
            if inside:
                total = sum(size for _, size in inside)
                found.append(Piece(term.xorb, inside[0][0], inside[-1][0] + 1, total))
        return skipped, found


def _cuts(start: int, size: int) -> range:
    """Return where the chunks of a xorb begin that begins itself at `start`."""
    return range(start, min(start + CHUNK * MANY, size), CHUNK)


def _packed(content: bytes) -> bytes:
    """Return a chunk that is not compressed: version 0, size, scheme 0, size."""
    size = len(content).to_bytes(3, "little")
    return b"\0" + size + b"\0" + size + content
