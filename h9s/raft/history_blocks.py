"""How revisions are packed into the blocks of an archive: columns of numbers, then keys and values.

Made to be cheap to write, since every replica writes every revision, and to be read in part. Pure.
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from collections.abc import Container, Iterator, Sequence
from itertools import groupby

from h9s.store.model import Change, KeyValue, RevisionRecord

#: How many changes, how many bytes the names of the authors take, whether all of it is compressed.
_HEADER = struct.Struct("<IIB")
#: Per change: revision, time, author, create_revision (0: deleted), the previous value's create_revision
#: and mod_revision (0: none), and how many bytes its key and its two values take.
_COLUMNS = 9
_NUMBER_BYTES = 8
_NONE = KeyValue("", b"", 0, 0)


def encode(records: Sequence[RevisionRecord], *, compress: bool) -> bytes:
    """A block of whole revisions."""
    authors: dict[str, int] = {}
    numbers: list[int] = []
    pieces: list[bytes] = []
    for revision, time_ms, changes, author in records:
        who = authors.setdefault(author, len(authors))
        for key, _, current, previous in changes:
            name = key.encode()
            _, value, created, _ = current or _NONE
            _, before, old_created, old_revision = previous or _NONE
            numbers += (
                revision, time_ms, who, created, old_created, old_revision, len(name), len(value), len(before)
            )  # fmt: skip
            pieces += (name, value, before)
    names = "\n".join(authors).encode()
    body = b"".join((names, _little(array("q", numbers)).tobytes(), *pieces))
    header = _HEADER.pack(len(numbers) // _COLUMNS, len(names), compress)
    return header + (zlib.compress(body, 1) if compress else body)


def decode(block: bytes, *, revisions: Container[int] | None = None) -> Iterator[RevisionRecord]:
    """The revisions in a block, ascending; only `revisions` where given. ValueError where it is damaged."""
    for (revision, time_ms, author), changes in groupby(
        _rows(block, revisions), key=lambda row: (row[0].revision, row[1], row[2])
    ):
        yield RevisionRecord(revision, time_ms, tuple(change for change, _, _ in changes), author)


def _rows(block: bytes, revisions: Container[int] | None) -> Iterator[tuple[Change, int, str]]:
    try:
        count, names_bytes, is_compressed = _HEADER.unpack_from(block)
        body = block[_HEADER.size :]
        if is_compressed:
            body = zlib.decompress(body)
    except (struct.error, zlib.error) as error:
        raise ValueError(f"the block is damaged: {error}") from error
    authors = body[:names_bytes].decode().split("\n")
    offset = names_bytes + count * _COLUMNS * _NUMBER_BYTES
    numbers = array("q")
    numbers.frombytes(body[names_bytes:offset])
    _little(numbers)
    for row in range(0, count * _COLUMNS, _COLUMNS):
        revision, time_ms, who, created, old_created, old_revision, *sizes = numbers[row : row + _COLUMNS]
        start, offset = offset, offset + sum(sizes)
        if revisions is not None and revision not in revisions:
            continue
        value_at = start + sizes[0]
        before_at = value_at + sizes[1]
        key = body[start:value_at].decode()
        current = KeyValue(key, body[value_at:before_at], created, revision) if created else None
        previous = KeyValue(key, body[before_at:offset], old_created, old_revision) if old_revision else None
        yield Change(key, revision, current, previous), time_ms, authors[who]
    if offset != len(body):
        raise ValueError("the block is damaged: its length is wrong")


def _little(numbers: array[int]) -> array[int]:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
