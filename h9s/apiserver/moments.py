"""From a time to the revision that was the latest then."""

from __future__ import annotations

from h9s.errors import CompactedError, InvalidError
from h9s.store.protocol import Store


async def revision_at(store: Store, at_ms: int) -> int:
    """The last revision that is not younger than `at_ms` (milliseconds since 1970).

    Raises InvalidError, CompactedError where there was none yet or it is forgotten, HistoryNotHeldError.
    """
    if at_ms < 0:
        raise InvalidError(f"the time {at_ms} ms is negative")
    revision = await store.look_back(lambda past: past.revision_at(at_ms))
    if not revision:
        raise CompactedError("there was nothing in the cluster yet at that time")
    return revision
