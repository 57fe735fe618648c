"""What clients were told against what happened: revisions, exactly-once, reads at old revisions.

Each function gives what is wrong, in words; nothing if all is well. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from h9s.sim.ledger import Ledger
from h9s.sim.operations import Fate, Operation, by_request, merge_attempts


def outcomes_match_history(operations: Iterable[Operation], ledger: Ledger) -> list[str]:
    """What was done is in the history at the revision that the client was told, with everything that it
    expected true just before; reads show the state at their revision."""
    faults = []
    for operation in operations:
        if operation.fate is not Fate.DONE or not operation.revision:
            continue
        if operation.revision > ledger.revision:
            faults.append(f"{operation}: the history ends at {ledger.revision}")
            continue
        before = operation.revision - 1 if operation.written else operation.revision
        for key, value in operation.expected.items():
            if (held := ledger.value(key, before)) != value:
                faults.append(f"{operation}: at revision {before} {key} held {held!r}")
        made = dict(ledger.changes(operation.revision))
        if operation.written and made != dict(operation.written):
            faults.append(f"{operation}: revision {operation.revision} is {made}")
    return faults


def revisions_follow_time(operations: Iterable[Operation]) -> list[str]:
    """Whoever begins after another was answered sees at least its revision; a write makes a later one."""
    faults = []
    events: list[tuple[float, int, Operation]] = []
    for operation in merge_attempts(operations):
        if operation.fate is Fate.DONE and operation.revision:
            events += [(operation.invoked, 0, operation), (operation.returned, 1, operation)]
    answered: Operation | None = None
    floors: dict[int, Operation | None] = {}
    for _, is_answer, operation in sorted(events, key=lambda event: event[:2]):
        if not is_answer:
            floors[id(operation)] = answered
            continue
        floor = floors.pop(id(operation))
        if floor is not None and operation.revision < floor.revision + bool(operation.written):
            faults.append(f"{operation} began after the answer to {floor}")
        if answered is None or operation.revision > answered.revision:
            answered = operation
    return faults


def writes_happened_once(operations: Iterable[Operation], ledger: Ledger, *, prefix: str = "") -> list[str]:
    """Every change below the prefix is one that a client asked for, at most once; what was refused or had
    expired without ever being open never happened. Relies on written values being unique."""
    writers: dict[tuple[str, bytes | None], Operation] = {}
    for operation in merge_attempts(operations):
        for key, value in operation.written.items():
            if value is not None:
                writers[(key, value)] = operation
    faults = []
    seen: dict[tuple[str, bytes], int] = {}
    for revision, (key, value) in ledger.between(ledger.first_revision, ledger.revision, prefix=prefix):
        if value is None:
            continue
        writer = writers.get((key, value))
        if writer is None:
            faults.append(f"revision {revision} has {value!r} for {key}, which no live request wrote")
        elif writer.fate is Fate.REFUSED:
            faults.append(f"revision {revision} has {value!r} for {key}, refused to {writer}")
        if (first := seen.setdefault((key, value), revision)) != revision:
            faults.append(f"{value!r} was written to {key} at revision {first} and again at {revision}")
    return faults


def requests_have_one_outcome(operations: Iterable[Operation]) -> list[str]:
    """However often and wherever a request is tried, its answers are the same, or that it has expired; and
    after it has expired nobody is told anything else."""
    faults = []
    for attempts in by_request(operations).values():
        definite = {
            (one.fate, one.revision if one.fate is Fate.DONE else 0)
            for one in attempts
            if one.fate in (Fate.DONE, Fate.REFUSED)
        }
        if len(definite) > 1:
            faults.append(f"one request had different outcomes: {'; '.join(map(str, attempts))}")
        expired = min((one.returned for one in attempts if one.fate is Fate.EXPIRED), default=math.inf)
        if any(one.invoked > expired and one.fate in (Fate.DONE, Fate.REFUSED) for one in attempts):
            faults.append(f"a request was answered after it had expired: {'; '.join(map(str, attempts))}")
    return faults


@dataclass(frozen=True)
class OldRead:
    """What a replica says was below a prefix at an old revision: value and mod_revision by key."""

    replica: str
    revision: int
    prefix: str
    found: Mapping[str, tuple[bytes, int]]


def old_reads_match_history(reads: Iterable[OldRead], ledger: Ledger) -> list[str]:
    """A read at an old revision gives what a replay up to that revision gives."""
    faults = []
    for read in reads:
        expected = {
            key: (value, ledger.mod_revision(key, read.revision))
            for key, value in ledger.state(read.revision, prefix=read.prefix).items()
        }
        if expected != dict(read.found):
            wrong = sorted(
                key for key in {*expected, *read.found} if expected.get(key) != read.found.get(key)
            )
            key = wrong[0]
            faults.append(
                f"{read.replica} at revision {read.revision}: {key} is {read.found.get(key)}, "
                f"a replay gives {expected.get(key)}"
            )
    return faults
