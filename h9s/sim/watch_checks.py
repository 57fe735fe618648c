"""The guarantees of a watch, one check each, on what watchers were told while they moved between replicas.

They are etcd's: ordered, unique, atomic, reliable, resumable, bookmarkable, and the previous value where it
was asked for. Each check gives what is wrong, in words; nothing if all is well. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from h9s.sim.ledger import Ledger, LedgerChange
from h9s.sim.operations import Value


class SeenEvent(NamedTuple):
    """One event. `value` None: the key was deleted."""

    revision: int
    key: str
    value: Value
    #: What the key held before; meaningful only where the watch asked for it.
    previous: Value = None
    #: ADDED, MODIFIED or DELETED.
    type: str = ""


class SeenResponse(NamedTuple):
    """What came at once, and the revision up to which the watcher then has everything."""

    revision: int
    events: tuple[SeenEvent, ...] = ()


@dataclass
class SeenStream:
    """One connection to one replica."""

    replica: str
    after_revision: int
    responses: list[SeenResponse] = field(default_factory=list)


@dataclass
class SeenWatch:
    """Everything one watcher was told, on whichever replica, without having listed again."""

    watcher: str
    prefix: str
    after_revision: int
    wants_previous: bool = False
    streams: list[SeenStream] = field(default_factory=list)

    @property
    def revision(self) -> int:
        """Up to where the watcher has everything."""
        revisions = [response.revision for response in self.responses()]
        return max([self.after_revision, *revisions])

    def responses(self) -> Iterator[SeenResponse]:
        """All responses, in the order in which they came."""
        for stream in self.streams:
            yield from stream.responses

    def events(self) -> Iterator[SeenEvent]:
        """All events, in the order in which they came."""
        for response in self.responses():
            yield from response.events


def is_ordered(watch: SeenWatch, ledger: Ledger) -> list[str]:  # noqa: ARG001
    """Revisions never go back, neither of events nor of the progress that is told with them."""
    faults = []
    last = progress = watch.after_revision
    for response in watch.responses():
        for event in response.events:
            if event.revision < last:
                faults.append(f"{event.key} at revision {event.revision} came after revision {last}")
            last = max(last, event.revision)
        if response.revision < progress:
            faults.append(f"the progress went back from {progress} to {response.revision}")
        progress = max(progress, response.revision)
    return faults


def is_unique(watch: SeenWatch, ledger: Ledger) -> list[str]:  # noqa: ARG001
    """No event comes twice."""
    faults, seen = [], set()
    for event in watch.events():
        if (event.revision, event.key) in seen:
            faults.append(f"{event.key} at revision {event.revision} came twice")
        seen.add((event.revision, event.key))
    return faults


def is_atomic(watch: SeenWatch, ledger: Ledger) -> list[str]:
    """The events of one revision come together, all of them."""
    faults = []
    for response in watch.responses():
        for revision in dict.fromkeys(event.revision for event in response.events):
            came = {event.key for event in response.events if event.revision == revision}
            made = {change.key for change in ledger.changes(revision, prefix=watch.prefix)}
            if came != made:
                faults.append(f"of revision {revision} came {sorted(came)} and not {sorted(made)}")
    return faults


def is_reliable(watch: SeenWatch, ledger: Ledger) -> list[str]:
    """Everything that happened after the start and up to the progress came, as it happened."""
    happened = list(ledger.between(watch.after_revision, watch.revision, prefix=watch.prefix))
    came = {(event.revision, LedgerChange(event.key, event.value)) for event in watch.events()}
    faults = [f"{change} at revision {at} never came" for at, change in happened if (at, change) not in came]
    invented = came.difference(happened)
    return faults + [f"{change} at revision {at} came but never happened" for at, change in sorted(invented)]


def is_resumable(watch: SeenWatch, ledger: Ledger) -> list[str]:
    """A stream begins just after where it was asked to, whichever replica serves it."""
    faults = []
    for stream in watch.streams:
        if not stream.responses:
            continue
        asked, told = stream.after_revision, stream.responses[0]
        expected = list(ledger.between(asked, told.revision, prefix=watch.prefix))
        came = [(event.revision, LedgerChange(event.key, event.value)) for event in told.events]
        if sorted(came, key=_place) != sorted(expected, key=_place):
            faults.append(
                f"resumed on {stream.replica} after {asked}, it came to {told.revision} "
                f"with {came} and not {expected}"
            )
    return faults


def is_bookmarkable(watch: SeenWatch, ledger: Ledger) -> list[str]:
    """A progress revision promises that nothing at or below it is still to come."""
    faults = []
    missing = {
        (revision, change.key)
        for revision, change in ledger.between(watch.after_revision, watch.revision, prefix=watch.prefix)
    }
    waiting = sorted(missing)
    for response in watch.responses():
        missing.difference_update((event.revision, event.key) for event in response.events)
        while waiting and (waiting[0] not in missing or waiting[0][0] <= response.revision):
            first = waiting.pop(0)
            if first in missing:
                faults.append(f"the progress {response.revision} was told before {first[1]} at {first[0]}")
        faults += [
            f"{event.key} at {event.revision} came with progress {response.revision}"
            for event in response.events
            if event.revision > response.revision
        ]
    return faults


def has_previous(watch: SeenWatch, ledger: Ledger) -> list[str]:
    """Events say what they are; with the previous value, where that was asked for, as it was."""
    faults = []
    for event in watch.events():
        before = ledger.value(event.key, event.revision - 1)
        kind = "DELETED" if event.value is None else "ADDED" if before is None else "MODIFIED"
        if event.type and event.type != kind:
            faults.append(f"{event.key} at revision {event.revision} is {event.type} and not {kind}")
        if watch.wants_previous and event.previous != before:
            faults.append(
                f"{event.key} was {before!r} before revision {event.revision}, not {event.previous!r}"
            )
    return faults


def _place(event: tuple[int, LedgerChange]) -> tuple[int, str]:
    return event[0], event[1].key


GUARANTEES: dict[str, Callable[[SeenWatch, Ledger], list[str]]] = {
    "ordered": is_ordered,
    "unique": is_unique,
    "atomic": is_atomic,
    "reliable": is_reliable,
    "resumable": is_resumable,
    "bookmarkable": is_bookmarkable,
    "previous value": has_previous,
}


def check_watches(watches: Iterable[SeenWatch], ledger: Ledger) -> list[str]:
    """Every guarantee on every watch."""
    return [
        f"watch {watch.watcher} is not {name}: {fault}"
        for watch in watches
        for name, guarantee in GUARANTEES.items()
        for fault in guarantee(watch, ledger)
    ]
