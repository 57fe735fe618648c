"""Every guarantee of a watch has a check of its own; each is shown a watch that breaks just that one."""

from __future__ import annotations

import pytest

from h9s.sim.ledger import Ledger, LedgerChange
from h9s.sim.watch_checks import GUARANTEES, SeenEvent, SeenResponse, SeenStream, SeenWatch, check_watches


def ledger() -> Ledger:
    made = Ledger()
    revisions = [
        [LedgerChange("/a/1", b"v1")],
        [LedgerChange("/b/1", b"elsewhere")],
        [LedgerChange("/a/1", b"v3"), LedgerChange("/a/2", b"v3"), LedgerChange("/b/2", b"elsewhere")],
        [LedgerChange("/a/1", None)],
        [LedgerChange("/b/1", None)],
        [LedgerChange("/a/1", b"v6")],
    ]
    for revision, changes in enumerate(revisions, start=1):
        assert not made.add(revision, changes)
    return made


ONE = SeenEvent(1, "/a/1", b"v1", None, "ADDED")
THREE = (SeenEvent(3, "/a/1", b"v3", b"v1", "MODIFIED"), SeenEvent(3, "/a/2", b"v3", None, "ADDED"))
FOUR = SeenEvent(4, "/a/1", None, b"v3", "DELETED")
SIX = SeenEvent(6, "/a/1", b"v6", None, "ADDED")


def watch(*streams: SeenStream, previous: bool = True) -> SeenWatch:
    return SeenWatch("w", "/a/", 0, previous, list(streams))


def stream(after: int, *responses: SeenResponse, replica: str = "r1") -> SeenStream:
    return SeenStream(replica, after, list(responses))


def told(revision: int, *events: SeenEvent) -> SeenResponse:
    return SeenResponse(revision, events)


def faults(seen: SeenWatch) -> set[str]:
    return {name for name, guarantee in GUARANTEES.items() if guarantee(seen, ledger())}


@pytest.mark.parametrize(
    "seen",
    [
        watch(),
        watch(stream(0, told(0), told(1, ONE), told(3, *THREE), told(4, FOUR), told(5), told(6, SIX))),
        watch(stream(0, told(4, ONE, *THREE, FOUR)), stream(4), stream(4, told(6, SIX), replica="r2")),
        watch(stream(0, told(2, ONE)), stream(2, told(2), told(3, *THREE), replica="r3")),
    ],
)
def test_what_is_promised(seen):
    assert check_watches([seen], ledger()) == []


def test_a_watch_that_did_not_ask_for_previous_values_needs_none():
    seen = watch(
        stream(0, told(1, ONE), told(3, *(event._replace(previous=None) for event in THREE))), previous=False
    )
    assert check_watches([seen], ledger()) == []


@pytest.mark.parametrize(
    ("broken", "seen"),
    [
        ("ordered", watch(stream(0, told(1, ONE), told(4, FOUR), told(4, *THREE)))),
        ("ordered", watch(stream(0, told(1, ONE), told(3, *THREE), told(2)))),
        ("unique", watch(stream(0, told(1, ONE), told(1, ONE)))),
        ("unique", watch(stream(0, told(1, ONE)), stream(1, told(3, ONE, *THREE), replica="r2"))),
        ("atomic", watch(stream(0, told(1, ONE), told(3, THREE[0]), told(3, THREE[1])))),
        ("atomic", watch(stream(0, told(1, ONE), told(3, THREE[0])))),
        ("reliable", watch(stream(0, told(1, ONE), told(4, FOUR)))),
        ("reliable", watch(stream(0, told(1, ONE._replace(value=b"other"))))),
        ("reliable", watch(stream(0, told(1, ONE), told(2, SeenEvent(2, "/a/9", b"made up"))))),
        ("resumable", watch(stream(0, told(1, ONE)), stream(1, told(4, FOUR), replica="r2"))),
        ("resumable", watch(stream(0, told(1, ONE)), stream(1, told(3, ONE, *THREE), replica="r2"))),
        ("bookmarkable", watch(stream(0, told(2), told(2, ONE)))),
        ("bookmarkable", watch(stream(0, told(1, ONE), told(2, *THREE)))),
        (
            "previous value",
            watch(stream(0, told(1, ONE), told(3, THREE[0]._replace(previous=b"v0"), THREE[1]))),
        ),
        ("previous value", watch(stream(0, told(1, ONE._replace(type="MODIFIED"))))),
        (
            "previous value",
            watch(stream(0, told(1, ONE), told(3, THREE[0], THREE[1]._replace(previous=b"?")))),
        ),
    ],
)
def test_what_is_broken_is_seen_by_its_check(broken, seen):
    assert broken in faults(seen)
    assert any(f"watch w is not {broken}:" in line for line in check_watches([seen], ledger()))


def test_repeats_alone_do_not_break_the_order():
    assert faults(watch(stream(0, told(1, ONE), told(1, ONE)))) == {"unique"}


def test_a_wrong_previous_value_breaks_nothing_else():
    event = THREE[0]._replace(previous=b"v0")
    assert faults(watch(stream(0, told(1, ONE), told(3, event, THREE[1])))) == {"previous value"}
