"""What a controller decides: one atomic commit, and when to look again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from h9s._pb import api_pb2
from h9s.api.kinds import ApiObject
from h9s.client.events import EventSeverity

#: How many objects one commit creates or deletes; a decision that wants more goes on in the next.
BATCH_SIZE = 100


@dataclass(frozen=True)
class Note:
    """An event to record once the commit has succeeded. The names of the objects that the operations
    in `operations` (positions in the commit) wrote are appended to the message, which then ends in
    what they are: `Created pod` becomes `Created pods: a, b`."""

    about: ApiObject
    type: EventSeverity
    reason: str
    message: str
    operations: range = range(0)


@dataclass(frozen=True)
class Decision:
    """Operations that belong together, all or none; without any there is nothing to do.

    `again_after`: seconds until time alone can change the decision; None: it cannot.
    """

    operations: tuple[api_pb2.Operation, ...] = ()
    notes: tuple[Note, ...] = ()
    again_after: float | None = None


NOTHING_TO_DO = Decision()


def earliest(*delays: float | None) -> float | None:
    """The shortest of the delays that are given at all."""
    return min((delay for delay in delays if delay is not None), default=None)


def listed(names: Sequence[str], *, limit: int = 5) -> str:
    """`a, b, c`, or where there are many, `a, b, c and 27 more`."""
    if len(names) <= limit:
        return ", ".join(names)
    return f"{', '.join(names[: limit - 1])} and {len(names) - limit + 1} more"
