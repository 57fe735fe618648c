"""Repairs that can be switched off, each by a patch, to show that the simulation's checks can fail.

With any of these in place some schedule among so many must end in a finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from h9s.apiserver.watch_hub import Watcher, WatchHub
from h9s.raft.engine import Engine, member
from h9s.raft.guard import GuardedTransport
from h9s.raft.install import SnapshotInstaller
from h9s.raft.journal import Journal
from h9s.raft.read_index import ReadIndex
from h9s.raft.snapshotting import Snapshotting
from h9s.sim.disk import SimAppendFile
from h9s.sim.schedule import run_seed
from h9s.store.model import Change
from h9s.store.requests import RequestTable
from h9s.store.state_machine import StateMachine
from h9s.testing.memory_archive import MemoryArchive

Patch = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Mutation:
    """One repair taken away."""

    #: What does not hold any more.
    name: str
    patch: Patch
    #: Among so many schedules one has to fail.
    seeds: int = 100
    #: It takes many schedules: not for every run of the tests.
    is_slow: bool = False
    #: The test that fails for sure, where no schedule can be relied upon to.
    unit_test: str = ""


MUTATIONS: list[Mutation] = []


def mutation(
    name: str, *, seeds: int = 100, is_slow: bool = False, unit_test: str = ""
) -> Callable[[Patch], Patch]:
    """Register a patch."""

    def register(patch: Patch) -> Patch:
        MUTATIONS.append(Mutation(name, patch, seeds, is_slow or bool(unit_test), unit_test))
        return patch

    return register


@contextmanager
def applied(one: Mutation) -> Iterator[None]:
    """The code with the repair taken away."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        one.patch(monkeypatch)
        yield


def first_finding(one: Mutation, *, first_seed: int = 0) -> tuple[int, str]:
    """The first schedule that fails without the repair, and how; -1 if none does."""
    with applied(one):
        for seed in range(first_seed, first_seed + one.seeds):
            failures = run_seed(seed).failures
            if failures:
                return seed, failures[0]
    return -1, ""


# --- disks ---------------------------------------------------------------------------------------


@mutation("disks sync")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SimAppendFile, "sync", lambda self: self._disk.synced())


# Whoever hears of the commit syncs: all that acknowledged have to lose power in the message's time.
@mutation(
    "entries are on disk before they are acknowledged",
    seeds=400,
    unit_test="tests/unit/raft/test_guard_follower.py::test_later_entries_of_the_same_term_are_synced_before_they_are_acknowledged_too",
)
def _(patch: pytest.MonkeyPatch) -> None:
    send = GuardedTransport.send

    def send_at_once(self: Any, node: Any, message: dict[str, Any]) -> bool:
        journal = self._engine.journal
        if message["type"] == "next_node_idx" and not journal.hard_state_is_dirty:
            journal.sync = lambda: None
        try:
            return send(self, node, message)
        finally:
            vars(journal).pop("sync", None)

    patch.setattr(GuardedTransport, "send", send_at_once)


@mutation("the vote is on disk before it is shown", seeds=400, is_slow=True)
def _(patch: pytest.MonkeyPatch) -> None:
    def set_without_writing(self: Any, term: int, voted_for: str | None) -> None:
        self._term, self._voted_for = term, voted_for

    patch.setattr(Journal, "setCurrentTerm", set_without_writing)


# --- the log -------------------------------------------------------------------------------------


@mutation("a log is cut only where entries conflict")
def _(patch: pytest.MonkeyPatch) -> None:
    def cut(self: Any, position: int) -> None:
        del self._entries[position:]

    patch.setattr(Journal, "deleteEntriesFrom", cut)


@mutation("a follower commits no further than what was verified")
def _(patch: pytest.MonkeyPatch) -> None:
    receive = GuardedTransport._receive_append

    def receive_unlimited(self: Any, name: str, message: Any) -> None:
        commit_index = message.append_entries.commit_index
        deliver = type(self)._deliver.__get__(self)
        self._deliver = lambda name, message: deliver(name, {**message, "commit_index": commit_index})
        receive(self, name, message)
        del self._deliver

    patch.setattr(GuardedTransport, "_receive_append", receive_unlimited)


def _altering(patch: pytest.MonkeyPatch, kind: str, alter: Callable[[Any, Any], None]) -> None:
    """Change messages of a kind before they are judged."""
    receive = GuardedTransport.receive

    def receive_altered(self: Any, name: str, message: Any) -> bool:
        if message.WhichOneof("body") == kind:
            alter(self, message)
        return receive(self, name, message)

    patch.setattr(GuardedTransport, "receive", receive_altered)


# What was acknowledged in an older term has to be replaced meanwhile by another leader's, and this leader
# elected again, all within the second that a message may be late.
@mutation(
    "acknowledgements of another term do not count",
    unit_test="tests/unit/raft/test_guard_leader.py::test_an_acknowledgement_of_an_older_term_is_ignored",
)
def _(patch: pytest.MonkeyPatch) -> None:
    def renew(guard: Any, message: Any) -> None:
        message.term = guard._engine.term

    _altering(patch, "append_ack", renew)


# It costs time, not safety: every stale rejection sends the leader back, and every new one forth.
@mutation(
    "rejections older than the last probe do not count",
    unit_test="tests/unit/raft/test_guard_leader.py::test_a_rejection_older_than_the_last_probe_is_ignored",
)
def _(patch: pytest.MonkeyPatch) -> None:
    _altering(patch, "append_ack", lambda guard, message: guard._probe.clear())


# A vote has to come twice to one of two candidates of one term among five, after both had consent.
@mutation(
    "a member has one vote",
    unit_test="tests/unit/raft/test_guard_leader.py::test_a_member_has_one_vote",
)
def _(patch: pytest.MonkeyPatch) -> None:
    _altering(patch, "vote_granted", lambda guard, message: guard._voters.clear())


@mutation("whoever is behind in its term is told")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(GuardedTransport, "_tell_term", lambda self, name: None)


# It takes followers that acknowledge nothing, not even a heartbeat, and more in the log than fits the window.
@mutation(
    "a new leader knows what it has sent",
    unit_test="tests/unit/raft/test_guard_leader.py::test_a_new_leader_with_a_long_log_sends_the_entry_of_its_term_at_once",
)
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Engine, "_first_in_flight", lambda self, name: self.match_index(name) + 1)


# It costs time, not safety: the next heartbeat does not fit, and the follower says so.
@mutation(
    "a broken connection's messages are sent again",
    unit_test="tests/unit/raft/test_guard_leader.py::test_a_new_connection_sends_again_what_was_not_acknowledged",
)
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(GuardedTransport, "connected", lambda self, name: self._onNodeConnected(member(name)))


# --- snapshots -----------------------------------------------------------------------------------


@mutation("a snapshot is on disk before the log is cut", seeds=400, is_slow=True)
def _(patch: pytest.MonkeyPatch) -> None:
    take = Snapshotting._take

    async def cut_first(self: Any) -> None:
        self._engine.journal.compact(self._engine.applied_index)
        await take(self)

    patch.setattr(Snapshotting, "_take", cut_first)


# All that the snapshot holds is committed: what comes of it is a follower that waits for the next leader.
@mutation(
    "a snapshot is acknowledged once it is installed",
    unit_test="tests/unit/raft/test_install.py::test_a_snapshot_is_not_acknowledged_before_it_is_on_disk",
)
def _(patch: pytest.MonkeyPatch) -> None:
    take_part = SnapshotInstaller.take_part

    def acknowledge_first(self: Any, name: str, install: Any) -> None:
        if install.offset + len(install.data) == install.size_bytes:
            self._acknowledge(name, install.last_index, installed=True)
        take_part(self, name, install)

    patch.setattr(SnapshotInstaller, "take_part", acknowledge_first)


# --- reads ---------------------------------------------------------------------------------------


@mutation("a majority confirms the leader for every read", seeds=400, is_slow=True)
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ReadIndex, "_is_confirmed", lambda self, current: True)


@mutation("a leader serves once it has applied an entry of its own term")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Engine, "own_term_index", property(lambda self: 1 if self.is_leader else None))


# --- the state machine ---------------------------------------------------------------------------


@mutation("requests are remembered")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RequestTable, "recall", lambda self, nonce, issued_at_ms: None)


@mutation("requests that may have been forgotten are refused", seeds=400, is_slow=True)
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RequestTable, "refusal", lambda self, issued_at_ms, *, now_ms: "")


@mutation("guards are checked")
def _(patch: pytest.MonkeyPatch) -> None:
    execute = StateMachine._execute

    def execute_anyway(self: Any, transaction: Any, editor: Any) -> Any:
        del transaction.guards[:]
        return execute(self, transaction, editor)

    patch.setattr(StateMachine, "_execute", execute_anyway)


@mutation("a transaction is done whole")
def _(patch: pytest.MonkeyPatch) -> None:
    execute = StateMachine._execute

    def execute_half(self: Any, transaction: Any, editor: Any) -> Any:
        del transaction.mutations[2:]
        return execute(self, transaction, editor)

    patch.setattr(StateMachine, "_execute", execute_half)


@mutation("changes tell what was there before")
def _(patch: pytest.MonkeyPatch) -> None:
    mutate = StateMachine._mutate

    def forget(self: Any, *arguments: Any) -> Change | None:
        change = mutate(self, *arguments)
        return change and change._replace(previous=None)

    patch.setattr(StateMachine, "_mutate", forget)


# --- watches -------------------------------------------------------------------------------------


@mutation("a watch is touched by the first revision that it lacks")
def _(patch: pytest.MonkeyPatch) -> None:
    touch = Watcher.touch
    patch.setattr(Watcher, "touch", lambda self, revision: touch(self, revision + 1))


@mutation("a watch begins right after where it was asked to")
def _(patch: pytest.MonkeyPatch) -> None:
    begin = Watcher.__init__

    def begin_later(self: Any, *arguments: Any, after_revision: int, previous: bool) -> None:
        begin(self, *arguments, after_revision=after_revision + 1, previous=previous)

    patch.setattr(Watcher, "__init__", begin_later)


@mutation("the events of a revision come together")
def _(patch: pytest.MonkeyPatch) -> None:
    following = Watcher.next

    async def one_by_one(self: Any) -> Any:
        waiting = vars(self).setdefault("waiting", [])
        if not waiting:
            response = await following(self)
            waiting += [
                type(response)(revision=response.revision, events=[event]) for event in response.events
            ] or [response]
        return waiting.pop(0)

    patch.setattr(Watcher, "next", one_by_one)


@mutation("a snapshot wakes those who watch", seeds=400, is_slow=True)
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(WatchHub, "_everyone", lambda self: [])


# --- history -------------------------------------------------------------------------------------


@mutation("a key was what it was before its first change since")
def _(patch: pytest.MonkeyPatch) -> None:
    def before_the_latest(self: Any, keys: Any, *, after: int, up_to: int) -> dict[str, Any]:
        records = self.records(keys, after=after, up_to=up_to)
        return {change.key: change.previous for record in records for change in record.changes}

    patch.setattr(MemoryArchive, "values_before", before_the_latest)


@mutation("an archive that was left behind begins anew")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MemoryArchive, "append", lambda self, records: self._records.extend(records))
