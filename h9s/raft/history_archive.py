"""Revisions that are no longer in memory, in an SQLite file of this replica's own.

Derived data: it can be thrown away at any time, at the price of old revisions on this replica. What has
been appended survives a power loss. Everything here blocks and is to be called off the event loop; one
thread at a time may write, any number may read.

Revisions are packed into blocks; an index tells which revisions changed a key. Statements are few and
long instead of many and short: each one has to wait for the interpreter's lock when it ends.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any, Protocol

from h9s.errors import HistoryNotHeldError
from h9s.raft.errors import ArchiveDamagedError
from h9s.raft.history_blocks import decode, encode
from h9s.store.history import size_of
from h9s.store.model import KeyRange, KeyValue, RevisionRecord
from h9s.store.past import covered, require_held
from h9s.store.protocol import HistoryReader

log = logging.getLogger(__name__)

_FORMAT = 1
_BLOCK_BYTES = 128 << 10
#: Above this many at once there is no time to compress.
_COMPRESSED_REVISIONS = 2000
#: So many revisions are read through without the index.
_NEAR = 1000
_PAGE_BYTES = 16 << 10
_WRITER_CACHE_KIB, _READER_CACHE_KIB = 4096, 1024
_WAL_BYTES = 16 << 20

_SCHEMA = """
CREATE TABLE about (identity TEXT NOT NULL, first_revision INTEGER NOT NULL);
CREATE TABLE blocks (
    first INTEGER PRIMARY KEY, last INTEGER NOT NULL, time_ms INTEGER NOT NULL, checksum INTEGER NOT NULL,
    data BLOB NOT NULL
);
CREATE TABLE keys (key TEXT NOT NULL, revision INTEGER NOT NULL, PRIMARY KEY (key, revision)) WITHOUT ROWID;
"""
#: From a JSON list of "revision key".
_INSERT_KEYS = """
INSERT OR IGNORE INTO keys
SELECT substr(value, instr(value, ' ') + 1), CAST(value AS INTEGER) FROM json_each(?) ORDER BY 1, 2
"""
_FIRST_CHANGES = """
SELECT DISTINCT revision FROM (
    SELECT min(revision) AS revision FROM keys
    WHERE key >= ? AND key < ? AND revision > ? AND revision <= ? GROUP BY key
) ORDER BY revision
"""
_CHANGES = """
SELECT DISTINCT revision FROM keys
WHERE key >= ? AND key < ? AND revision > ? AND revision <= ? ORDER BY revision {order} LIMIT ?
"""


class HistoryArchive(HistoryReader, Protocol):
    """An archive that is written to. Methods raise OSError where the disk does not let them,
    ArchiveDamagedError where the archive is of no use any more."""

    @property
    def size_bytes(self) -> int:
        """About how much disk it takes."""
        ...

    @property
    def is_damaged(self) -> bool:
        """Something in it could not be read: it is to be set aside."""
        ...

    def append(self, records: Sequence[RevisionRecord]) -> None:
        """Keep these; they survive a power loss once this returns. Where they do not follow what is
        there, the archive begins anew with them."""
        ...

    def cut_after(self, revision: int) -> None:
        """Forget what is above `revision`."""
        ...

    def prune(self, revision: int) -> None:
        """Forget what is not above `revision`; may leave some of it for later."""
        ...

    def close(self) -> None:
        """Let go of the files."""
        ...

    def set_aside(self) -> None:
        """Close, and put the files where nobody takes them for an archive."""
        ...


class SqliteArchive:
    """Implements `HistoryArchive`. `identity` names the cluster whose history it is."""

    def __init__(self, path: Path, *, identity: str) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writing = threading.Lock()
        self._readers: list[sqlite3.Connection] = []
        self._is_closed = False
        self.first_revision = self.last_revision = self.size_bytes = 0
        #: Something in it could not be read: it is to be set aside.
        self.is_damaged = False
        with _translated():
            self._writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            try:
                self._prepare(identity)
            except BaseException:
                self._writer.close()
                raise

    @classmethod
    def open(cls, path: Path, *, identity: str) -> SqliteArchive:
        """Open or make it; a damaged one is set aside. Raises OSError."""
        try:
            return cls(path, identity=identity)
        except ArchiveDamagedError as error:
            log.warning("the history archive is set aside, older revisions cannot be read here: %s", error)
            _set_aside(path)
            return cls(path, identity=identity)

    def _prepare(self, identity: str) -> None:
        writer = self._writer
        writer.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("PRAGMA synchronous = FULL")
        writer.execute(f"PRAGMA cache_size = -{_WRITER_CACHE_KIB}")
        writer.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        (version,) = writer.execute("PRAGMA user_version").fetchone()
        if version == 0:
            with self._transaction():
                for statement in _SCHEMA.split(";\n"):
                    writer.execute(statement)
                writer.execute("INSERT INTO about VALUES (?, 0)", (identity,))
                writer.execute(f"PRAGMA user_version = {_FORMAT}")
        elif version != _FORMAT:
            raise ArchiveDamagedError(f"{self._path} has format {version}; {_FORMAT} is known here")
        (found,) = writer.execute("SELECT max(identity) FROM about").fetchone()
        if found != identity:
            raise ArchiveDamagedError(f"{self._path} is the history of cluster {found!r}")
        self._read_bounds()
        self._measure()

    def _read_bounds(self) -> None:
        self.first_revision, self.last_revision = _bounds(self._writer)

    def close(self) -> None:
        """See `HistoryArchive.close`."""
        self._is_closed = True
        with self._writing:
            self._writer.close()
        while self._readers:
            self._readers.pop().close()

    def set_aside(self) -> None:
        """See `HistoryArchive.set_aside`."""
        self.close()
        _set_aside(self._path)

    # --- writing -----------------------------------------------------------------------------

    def append(self, records: Sequence[RevisionRecord]) -> None:
        """See `HistoryArchive.append`."""
        if not records:
            return
        compress = len(records) <= _COMPRESSED_REVISIONS
        rows = [_row(block, compress=compress) for block in _blocks(records)]
        keys = [f"{record.revision} {change.key}" for record in records for change in record.changes]
        with _translated(), self._transaction():
            if records[0].revision != self.last_revision + 1:
                self._clear(records[0].revision - 1)
            self._writer.executemany("INSERT INTO blocks VALUES (?, ?, ?, ?, ?)", rows)
            self._writer.execute(_INSERT_KEYS, (json.dumps(keys),))
        self.last_revision = records[-1].revision
        self._measure()

    def cut_after(self, revision: int) -> None:
        """See `HistoryArchive.cut_after`."""
        if revision >= self.last_revision:
            return
        with _translated(), self._transaction():
            if revision < self.first_revision:
                self._clear(revision)
            else:
                kept = self._part_of_block_up_to(revision)
                self._writer.execute("DELETE FROM blocks WHERE last > ?", (revision,))
                self._writer.execute("DELETE FROM keys WHERE revision > ?", (revision,))
                if kept:
                    self._writer.execute(
                        "INSERT INTO blocks VALUES (?, ?, ?, ?, ?)", _row(kept, compress=True)
                    )
        self.last_revision = revision
        self._measure()

    def prune(self, revision: int) -> None:
        """See `HistoryArchive.prune`. Whole blocks, and not before it is worth going through the index."""
        held, pruned = self.last_revision - self.first_revision, revision - self.first_revision
        if pruned <= 0 or pruned * 16 < held:
            return
        with _translated(), self._transaction():
            (first,) = self._writer.execute(
                "SELECT max(last) FROM blocks WHERE last <= ?", (revision,)
            ).fetchone()
            if first is None:
                return
            self._writer.execute("DELETE FROM blocks WHERE first <= ?", (first,))
            self._writer.execute("DELETE FROM keys WHERE revision <= ?", (first,))
            self._writer.execute("UPDATE about SET first_revision = ?", (first,))
            self.first_revision = first
        self._measure()

    def _clear(self, revision: int) -> None:
        self._writer.execute("DELETE FROM blocks")
        self._writer.execute("DELETE FROM keys")
        self._writer.execute("UPDATE about SET first_revision = ?", (revision,))
        self.first_revision = self.last_revision = revision

    def _part_of_block_up_to(self, revision: int) -> list[RevisionRecord]:
        found = self._writer.execute(
            "SELECT data, checksum FROM blocks WHERE first <= ? AND last > ?", (revision, revision)
        ).fetchone()
        if found is None:
            return []
        return list(takewhile(lambda record: record.revision <= revision, _checked(*found)))

    def _measure(self) -> None:
        """How much of the file is in use."""
        with _translated():
            pages, free = (
                self._writer.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("page_count", "freelist_count")
            )
        self.size_bytes = (pages - free) * _PAGE_BYTES

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._writing:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                    self._read_bounds()
                raise

    # --- reading -----------------------------------------------------------------------------

    def values_before(self, keys: KeyRange, *, after: int, up_to: int) -> dict[str, KeyValue | None]:
        """See `HistoryReader.values_before`."""
        found: dict[str, KeyValue | None] = {}
        with self._reading(after, up_to) as connection:
            revisions = _numbers(connection, _FIRST_CHANGES, (*keys, after, up_to))
            for record in _records(connection, revisions):
                for change in record.changes:
                    if keys.covers(change.key):
                        found.setdefault(change.key, change.previous)
        return found

    def records(
        self, keys: KeyRange, *, after: int, up_to: int, limit: int = 0, newest_first: bool = False
    ) -> list[RevisionRecord]:
        """See `HistoryReader.records`."""
        spans = [(after, up_to)]
        if not keys.is_single and up_to - after > _NEAR:
            middle = up_to - _NEAR if newest_first else after + _NEAR
            spans = [(after, middle), (middle, up_to)]
        found: list[RevisionRecord] = []
        with self._reading(after, up_to) as connection:
            for span in reversed(spans) if newest_first else spans:
                room = limit - len(found) if limit else 0
                if room or not limit:
                    part = _span(connection, keys, span, room, newest_first=newest_first)
                    found += reversed(part) if newest_first else part
        return found

    def revision_at(self, time_ms: int) -> int:
        """See `HistoryReader.revision_at`."""
        with self._reading(0, 0, checked=False) as connection:
            before, last = _bounds(connection)
            found, low, high = 0, before + 1, last
            while low <= high:
                first, last, began_ms = _block(connection, (low + high) // 2, "first, last, time_ms")
                if began_ms <= time_ms:
                    found, low = first, last + 1
                else:
                    high = first - 1
            if not found:
                return before
            data, checksum = _block(connection, found, "data, checksum")
            return max(record.revision for record in _checked(data, checksum) if record.time_ms <= time_ms)

    @contextmanager
    def _reading(self, after: int, up_to: int, *, checked: bool = True) -> Iterator[sqlite3.Connection]:
        """A connection with an unchanging picture of an archive that holds `after < r <= up_to`."""
        try:
            with _translated():
                connection = self._readers.pop() if self._readers else self._connect()
                try:
                    connection.execute("BEGIN")
                    if checked:
                        first, last = _bounds(connection)
                        require_held(after, up_to, first=first, last=last)
                    yield connection
                finally:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    if self._is_closed:
                        connection.close()
                    else:
                        self._readers.append(connection)
        except (ArchiveDamagedError, OSError) as error:
            self.is_damaged = self.is_damaged or isinstance(error, ArchiveDamagedError)
            raise HistoryNotHeldError(
                f"this replica cannot read its archive of old revisions: {error}"
            ) from error

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=ro",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.execute(f"PRAGMA cache_size = -{_READER_CACHE_KIB}")
        return connection


def _bounds(connection: sqlite3.Connection) -> tuple[int, int]:
    """After which revision the archive begins, and its last."""
    (first,) = connection.execute("SELECT first_revision FROM about").fetchone()
    newest = connection.execute("SELECT last FROM blocks ORDER BY first DESC LIMIT 1").fetchone()
    return first, newest[0] if newest else first


def _blocks(records: Sequence[RevisionRecord]) -> Iterator[Sequence[RevisionRecord]]:
    start, size = 0, 0
    for position, record in enumerate(records):
        size += size_of(record)
        if size >= _BLOCK_BYTES:
            yield records[start : position + 1]
            start, size = position + 1, 0
    if start < len(records):
        yield records[start:]


def _row(records: Sequence[RevisionRecord], *, compress: bool) -> tuple[int, int, int, int, bytes]:
    data = encode(records, compress=compress)
    first = records[0]
    return first.revision, records[-1].revision, first.time_ms, zlib.crc32(data), data


def _checked(data: bytes, checksum: int, revisions: set[int] | None = None) -> Iterator[RevisionRecord]:
    if zlib.crc32(data) != checksum:
        raise ArchiveDamagedError("a block's checksum is wrong")
    try:
        yield from decode(data, revisions=revisions)
    except ValueError as error:
        raise ArchiveDamagedError(str(error)) from error


def _span(
    connection: sqlite3.Connection, keys: KeyRange, span: tuple[int, int], limit: int, *, newest_first: bool
) -> list[RevisionRecord]:
    """The first (or newest) revisions of a span that changed some of `keys`, ascending."""
    after, up_to = span
    if keys.is_single or up_to - after > _NEAR:
        statement = _CHANGES.format(order="DESC" if newest_first else "ASC")
        revisions = _numbers(connection, statement, (*keys, after, up_to, limit or -1))
    else:
        # The index is by key: for few revisions of many keys it is a detour.
        revisions = list(range(after + 1, up_to + 1))
    found: list[RevisionRecord] = []
    for record in _records(connection, revisions):
        changes = covered(record.changes, keys)
        if changes:
            found.append(record._replace(changes=changes))
            if len(found) == limit and not newest_first:
                break
    return found[-limit:] if limit else found


def _numbers(connection: sqlite3.Connection, statement: str, arguments: tuple[object, ...]) -> list[int]:
    """One column of many rows, sorted. Fetched as one row: each by itself would wait for the lock again."""
    gathered = f"SELECT json_group_array(revision) FROM ({statement})"
    (found,) = connection.execute(gathered, arguments).fetchone()
    numbers: list[int] = json.loads(found)
    numbers.sort()
    return numbers


def _block(connection: sqlite3.Connection, revision: int, columns: str) -> tuple[Any, ...]:
    """Columns of the block that has the revision."""
    statement = f"SELECT {columns}, last >= ? FROM blocks WHERE first <= ? ORDER BY first DESC LIMIT 1"
    row: tuple[Any, ...] | None = connection.execute(statement, (revision, revision)).fetchone()
    if row is None or not row[-1]:
        raise ArchiveDamagedError(f"revision {revision} is missing")
    return row[:-1]


def _records(connection: sqlite3.Connection, revisions: Sequence[int]) -> Iterator[RevisionRecord]:
    """These revisions, ascending, whole; every block is read once."""
    wanted = set(revisions)
    last = 0
    for revision in revisions:
        if revision <= last:
            continue
        last, data, checksum = _block(connection, revision, "last, data, checksum")
        yield from _checked(data, checksum, wanted)


@contextmanager
def _translated() -> Iterator[None]:
    """What SQLite says of the disk as OSError, of the file as ArchiveDamagedError."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OSError(f"the history archive: {error}") from error
    except sqlite3.Error as error:
        raise ArchiveDamagedError(f"the history archive: {error}") from error


def _set_aside(path: Path) -> None:
    """One is kept, for whoever wants to know what happened to it."""
    path.replace(path.with_name(path.name + ".damaged"))
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
