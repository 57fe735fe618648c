"""Makes a backup's records beside the event loop, one at a time, as fast as they are taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

from h9s._pb import backup_pb2
from h9s.api.backup_file import FORMAT_VERSION
from h9s.store.backup import encode, rewound, values_at
from h9s.store.protocol import Store


async def backup_records(
    store: Store, header: backup_pb2.BackupHeader, *, revision: int
) -> AsyncIterator[bytes]:
    """The records of a backup of the store at `revision` (0: the latest); the header gets what is missing.

    Raises CompactedError, HistoryNotHeldError, FutureRevisionError.
    """
    loop = asyncio.get_running_loop()
    snapshot = store.capture()
    if revision not in (0, snapshot.revision):
        before = await store.look_back(partial(values_at, revision))
        snapshot = await loop.run_in_executor(None, partial(rewound, snapshot, before, revision=revision))
    header.format_version = FORMAT_VERSION
    header.revision = snapshot.revision
    records = encode(snapshot, header)
    while (record := await loop.run_in_executor(None, next, records, None)) is not None:
        yield record
