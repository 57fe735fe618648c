"""Checks of what clients were told, each with a history that it must not let pass."""

from __future__ import annotations

from dataclasses import replace

from h9s.sim.ledger import Ledger, LedgerChange
from h9s.sim.operations import Fate, Operation, OperationLog, Value
from h9s.sim.revision_checks import (
    OldRead,
    old_reads_match_history,
    outcomes_match_history,
    requests_have_one_outcome,
    revisions_follow_time,
    writes_happened_once,
)


def ledger() -> Ledger:
    """x: a (1), b (2, together with y), gone (3)."""
    made = Ledger()
    assert not made.add(1, [LedgerChange("x", b"a")])
    assert not made.add(2, [LedgerChange("x", b"b"), LedgerChange("y", b"1")])
    assert not made.add(3, [LedgerChange("x", None)])
    return made


def history() -> list[Operation]:
    log = OperationLog()
    steps: list[tuple[dict[str, Value], dict[str, Value], Fate, int]] = [
        ({"x": None}, {"x": b"a"}, Fate.DONE, 1),
        ({"x": b"a"}, {}, Fate.DONE, 1),
        ({"x": b"a"}, {"x": b"b", "y": b"1"}, Fate.DONE, 2),
        ({"x": b"a"}, {"x": b"c"}, Fate.REFUSED, 0),
        ({"x": b"b"}, {"x": None}, Fate.DONE, 3),
        ({"x": None, "y": b"1"}, {}, Fate.DONE, 3),
        ({}, {"z": b"?"}, Fate.UNKNOWN, 0),
    ]
    for number, (expected, written, fate, revision) in enumerate(steps):
        handle = log.begin(
            "c", expected=expected, written=written, request=b"%d" % number if written else b""
        )
        log.end(handle, fate, revision=revision)
    return log.operations()


def changed(number: int, **fields) -> list[Operation]:
    operations = history()
    operations[number] = replace(operations[number], **fields)
    return operations


class TestTheLedger:
    def test_it_knows_every_state(self):
        book = ledger()
        assert book.state(1) == {"x": b"a"}
        assert book.state(2) == {"x": b"b", "y": b"1"}
        assert book.state(3) == {"y": b"1"}
        assert book.state(2, prefix="y") == {"y": b"1"}
        assert [book.mod_revision("x", revision) for revision in range(4)] == [0, 1, 2, 0]

    def test_replicas_have_to_tell_the_same(self):
        book = ledger()
        assert not book.add(2, [LedgerChange("x", b"b"), LedgerChange("y", b"1")])
        assert "elsewhere" in book.add(2, [LedgerChange("x", b"b")])
        assert "follows" in book.add(5, [])


class TestOutcomes:
    def test_what_was_told_is_so(self):
        assert outcomes_match_history(history(), ledger()) == []

    def test_a_wrong_revision(self):
        assert outcomes_match_history(changed(0, revision=2), ledger())

    def test_a_revision_that_does_not_exist(self):
        assert outcomes_match_history(changed(0, revision=4), ledger())

    def test_a_precondition_that_did_not_hold(self):
        assert outcomes_match_history(changed(2, expected={"x": b"z"}), ledger())

    def test_a_read_that_shows_another_state(self):
        assert outcomes_match_history(changed(5, expected={"x": b"b"}), ledger())

    def test_half_of_what_was_written(self):
        assert outcomes_match_history(changed(2, written={"x": b"b"}), ledger())


class TestTime:
    def test_revisions_rise_with_time(self):
        assert revisions_follow_time(history()) == []

    def test_a_read_behind_an_answered_write(self):
        assert revisions_follow_time(changed(5, revision=2))

    def test_a_write_that_shares_its_revision_with_an_earlier_one(self):
        assert revisions_follow_time(changed(4, revision=2))

    def test_operations_at_the_same_time_may_come_in_any_order(self):
        log = OperationLog()
        first, second = log.begin("a", written={"x": b"1"}), log.begin("b", written={"x": b"2"})
        log.end(first, Fate.DONE, revision=2)
        log.end(second, Fate.DONE, revision=1)
        assert revisions_follow_time(log.operations()) == []


class TestOnce:
    def test_everything_that_happened_was_asked_for_once(self):
        assert writes_happened_once(history(), ledger()) == []

    def test_a_write_that_happened_twice(self):
        book = ledger()
        book.add(4, [LedgerChange("x", b"a")])
        assert "again at 4" in writes_happened_once(history(), book)[0]

    def test_a_refused_write_that_happened(self):
        book = ledger()
        book.add(4, [LedgerChange("x", b"c")])
        assert "refused to" in writes_happened_once(history(), book)[0]

    def test_an_expired_write_that_happened(self):
        book = ledger()
        book.add(4, [LedgerChange("z", b"?")])
        assert writes_happened_once(history(), book) == []
        assert "no live request" in writes_happened_once(changed(6, fate=Fate.EXPIRED), book)[0]

    def test_a_write_that_nobody_asked_for(self):
        book = ledger()
        book.add(4, [LedgerChange("x", b"who?")])
        assert writes_happened_once(history(), book)
        assert writes_happened_once(history(), book, prefix="y") == []


class TestRequests:
    def attempts(self, *fates: tuple[Fate, int]) -> list[Operation]:
        log = OperationLog()
        for fate, revision in fates:
            handle = log.begin("c", written={"x": b"a"}, request=b"r")
            log.end(handle, fate, revision=revision)
        return log.operations()

    def test_the_same_answer_again_and_expiry_at_last(self):
        told = self.attempts((Fate.UNKNOWN, 0), (Fate.DONE, 1), (Fate.DONE, 1), (Fate.EXPIRED, 0))
        assert requests_have_one_outcome(told) == []

    def test_no_answer_after_expiry_tells_nothing(self):
        told = self.attempts((Fate.EXPIRED, 0), (Fate.UNKNOWN, 0), (Fate.EXPIRED, 0))
        assert requests_have_one_outcome(told) == []

    def test_another_revision(self):
        assert requests_have_one_outcome(self.attempts((Fate.DONE, 1), (Fate.DONE, 2)))

    def test_another_verdict(self):
        assert requests_have_one_outcome(self.attempts((Fate.DONE, 1), (Fate.REFUSED, 0)))

    def test_an_answer_after_expiry(self):
        assert requests_have_one_outcome(self.attempts((Fate.EXPIRED, 0), (Fate.DONE, 1)))


class TestOldReads:
    def test_a_replay_gives_the_same(self):
        reads = [
            OldRead("r1", 2, "", {"x": (b"b", 2), "y": (b"1", 2)}),
            OldRead("r2", 3, "", {"y": (b"1", 2)}),
            OldRead("r2", 0, "", {}),
        ]
        assert old_reads_match_history(reads, ledger()) == []

    def test_what_came_later_shows(self):
        assert (
            "y is (b'1', 2)"
            in old_reads_match_history([OldRead("r1", 1, "", {"x": (b"a", 1), "y": (b"1", 2)})], ledger())[0]
        )

    def test_what_was_there_is_missing(self):
        assert old_reads_match_history([OldRead("r1", 2, "", {"x": (b"b", 2)})], ledger())

    def test_a_wrong_mod_revision(self):
        assert old_reads_match_history([OldRead("r1", 3, "y", {"y": (b"1", 3)})], ledger())
