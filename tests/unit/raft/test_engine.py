"""The reach into PySyncObj: what is reached for exists, and what is replaced stays replaced."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import inspect
import os
import random
import re
import subprocess
import sys

import pysyncobj.syncobj
import pysyncobj.transport
import pytest
from pysyncobj import SyncObj

from h9s.raft import engine as engine_module
from h9s.raft import guard as guard_module
from h9s.raft.engine import Engine, Member
from h9s.raft.errors import EngineChangedError, SafetyError
from h9s.raft.guard import GuardedTransport
from h9s.raft.journal import Journal
from h9s.sim.disk import SimDisk
from tests.unit.raft.harness import SETTINGS, Replica, ack, append, membership_of, vote

STOCK = inspect.getsource(pysyncobj.syncobj)
REACHED = inspect.getsource(engine_module)


# --- what is reached for ---------------------------------------------------------------------


def test_the_engine_is_the_version_whose_inside_is_known(monkeypatch):
    assert importlib.metadata.version("pysyncobj") == engine_module.KNOWN_VERSION
    monkeypatch.setattr(engine_module, "VERSION", "0.3.18")
    with pytest.raises(EngineChangedError, match=r"0\.3\.18 is installed"):
        Replica()


def test_every_private_method_that_is_replaced_exists():
    replaced = set(re.findall(r"def (_SyncObj__\w+)", REACHED))
    assert replaced == {
        "_SyncObj__doApplyCommand",
        "_SyncObj__applyLogEntries",
        "_SyncObj__sendAppendEntries",
        "_SyncObj__tryLogCompaction",
    }
    for name in replaced:
        assert callable(getattr(SyncObj, name)), name


def test_every_private_method_that_is_called_exists():
    called = set(re.findall(r"_object\.(\w+)\(", REACHED))
    assert {"doTick", "_applyCommand", "_isLeader", "_getLeader", "_SyncObj__setCurrentTerm"} <= called
    for name in called:
        assert callable(getattr(SyncObj, name)), name


def test_every_private_attribute_that_is_reached_for_is_one_of_the_engines():
    """Read or written, under the very name that the engine's own methods use."""
    reached = set(re.findall(r'_[gs]et\("(\w+)"', REACHED)) | {"newAppendEntriesTime", "raftElectionDeadline"}
    assert {
        "raftState",
        "raftNextIndex",
        "raftMatchIndex",
        "noopIDx",
        "connectedNodes",
        "transport",
    } <= reached
    attributes = vars(Replica().engine._object)
    for name in reached:
        assert f"_SyncObj__{name}" in attributes, name
        assert STOCK.count(f"self.__{name}") >= 2, f"{name} is only what we made of it"


@pytest.mark.parametrize("name", ["raftCurrentTerm", "raftCommitIndex", "raftLastApplied"])
def test_every_public_property_that_is_read_exists(name):
    assert isinstance(getattr(SyncObj, name), property)


@pytest.mark.parametrize(
    "name",
    ["monotonicTime", "random", "pickle", "createJournal", "createPoller", "PIPE_NOTIFIER_ENABLED", "logger"],
)
def test_a_module_without_a_name_to_replace_is_refused(monkeypatch, name):
    spec = importlib.util.find_spec("pysyncobj.syncobj")
    assert spec is not None
    loader = type(spec.loader)
    execute = loader.exec_module  # type: ignore[union-attr]

    def execute_without(self, module):
        execute(self, module)
        if module.__name__ == "pysyncobj.syncobj":
            delattr(module, name)

    monkeypatch.setattr(loader, "exec_module", execute_without)
    with pytest.raises(EngineChangedError, match=name):
        Replica()


def test_the_states_are_numbered_as_assumed():
    states = pysyncobj.syncobj._RAFT_STATE
    assert (states.FOLLOWER, states.CANDIDATE, states.LEADER) == (0, 1, 2)
    assert engine_module._COMMAND[0] == pysyncobj.syncobj._COMMAND_TYPE.REGULAR


def test_the_commit_index_is_announced_to_the_journal_before_anything_is_applied():
    """The leader syncs there: the order of these two in the engine's tick is part of invariant 1."""
    tick = inspect.getsource(SyncObj._onTick)
    body = tick[tick.index("nextCommitIdx") :]
    assert body.index("setRaftCommitIndex") < body.index("__applyLogEntries")


def test_the_engines_messages_are_the_ones_that_the_guard_knows():
    sent = set(re.findall(r"'type': '(\w+)'", STOCK))
    known = {"append_entries", "next_node_idx", "request_vote", "response_vote", "apply_command"}
    # Answers to forwarded commands and transfers of leadership: never asked for, hence never sent.
    assert sent - known == {"apply_command_response", "timeout_now"}
    source = inspect.getsource(guard_module)
    assert all(f'"{kind}"' in source for kind in known)


def test_the_transport_is_spoken_to_as_the_engine_does():
    transport = GuardedTransport(send=lambda name, message: True, membership=membership_of(["r1"]))
    stock = pysyncobj.transport.Transport
    for name in ("_onMessageReceived", "_onNodeConnected", "_onNodeDisconnected"):
        assert callable(getattr(stock, name))
    for name in set(re.findall(r"self\.__transport\.(\w+)", STOCK)):
        assert hasattr(transport, name), name


def test_the_journal_has_what_the_engine_calls():
    for name in set(re.findall(r"self\.__raftLog\.(\w+)", STOCK)):
        assert callable(getattr(Journal, name)), name


# --- what is replaced ------------------------------------------------------------------------


def test_nothing_is_pickled_or_unpickled():
    names = Replica().engine._object.doTick.__func__.__globals__
    for use in ("loads", "dumps", "load", "dump", "Unpickler"):
        with pytest.raises(SafetyError, match=f"pickle.{use}"):
            getattr(names["pickle"], use)


def test_a_committed_pickle_is_handed_over_as_bytes():
    bomb = b"cos\nsystem\n(S'exit 1'\ntR."
    replica = Replica()
    replica.lead()
    replica.propose(bomb)
    replica.receive("r2", ack(4, sequence=2))
    replica.tick()
    assert replica.applied == [(3, bomb)]


@pytest.mark.parametrize("kind", [b"\x01", b"\x03"])
def test_entries_of_the_engines_own_kinds_do_nothing(kind):
    """Versions are pickles, in the engine; memberships, too, but those are h9s's own here."""
    replica = Replica()
    message = append(1)
    message.append_entries.entries[0].command = kind + b"cos\nsystem\n(S'exit 1'\ntR."
    replica.receive("r2", message, term=1)
    replica.receive("r2", append(prev=2, prev_term=1, commit=2, sequence=2), term=1)
    replica.tick()
    assert (replica.engine.applied_index, replica.applied) == (2, [])


def test_no_descriptor_is_opened():
    Replica()
    before = len(os.listdir("/proc/self/fd"))
    replicas = [Replica() for _ in range(20)]
    assert len(os.listdir("/proc/self/fd")) == before
    assert len(replicas) == 20


def test_nothing_is_compacted_by_the_engine():
    """Its snapshots fork and cut the log; after five minutes it would begin."""
    replica = Replica(members=("r1",))
    replica.lead_alone()
    for number in range(50):
        replica.propose(b"%d" % number)
        replica.tick(after=30)
    assert len(replica.applied) == 50
    assert replica.journal[0].index == 1


def test_clock_randomness_and_journal_belong_to_the_instance():
    first, second = Replica(), Replica()
    first.stand()
    assert (first.engine.role, second.engine.role) == ("candidate", "follower")
    names = [replica.engine._object.doTick.__func__.__globals__ for replica in (first, second)]
    assert names[0]["monotonicTime"]() != names[1]["monotonicTime"]()
    assert names[0]["random"] is not names[1]["random"]
    assert (len(first.journal), len(second.journal)) == (1, 1)
    assert first.journal is not second.journal


def test_election_timeouts_come_from_the_given_source():
    def deadline(seed):
        replica = Replica()
        engine = Engine(
            replica_id="r1",
            members=("r1", "r2"),
            journal=Journal(SimDisk(random.Random(0)), identity="x"),
            transport_class=lambda *_: replica.guard,
            host=replica,
            monotonic=lambda: 0.0,
            rng=random.Random(seed),
            settings=SETTINGS,
        )
        return engine.next_deadline()

    assert deadline(1) == deadline(1) != deadline(2)
    low, high = SETTINGS.election_timeout_min, SETTINGS.election_timeout_max
    assert all(low <= deadline(seed) <= high for seed in range(20))


def test_members_hash_alike_in_every_process():
    script = "from h9s.raft.engine import Member; print([hash(Member(n)) for n in ('r1', 'replica-2', 'é')])"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert Member("r1") == Member("r1") != Member("r2")


def test_an_exception_while_applying_is_not_swallowed_and_not_retried_within_the_tick():
    replica = Replica()
    replica.lead()
    replica.propose(b"a")
    replica.receive("r2", ack(4, sequence=2))
    calls = []

    def explode(index, command):
        calls.append(index)
        raise RuntimeError("cannot apply")

    replica.apply = explode  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="cannot apply"):
        replica.tick()
    assert calls == [3]
    assert replica.engine.applied_index == 2


def test_one_message_announces_a_commit_and_new_entries_announce_it_too():
    replica = Replica()
    replica.lead()
    replica.receive("r2", ack(3))
    replica.tick()
    replica.sent()
    assert replica.engine.commit_is_unannounced
    replica.engine.announce_commit()
    (announcement,) = replica.sent("r3")
    assert announcement.append_entries.commit_index == 2
    replica.engine.announce_commit()
    assert replica.sent("r3") == []
    replica.propose(b"a")
    replica.receive("r2", ack(4, sequence=2))
    replica.sent()
    replica.propose(b"b")
    assert [message.append_entries.commit_index for message in replica.sent("r3")] == [3]
    assert not replica.engine.commit_is_unannounced


def test_a_message_to_one_follower_announces_nothing_to_the_other():
    replica = Replica()
    replica.lead()
    replica.receive("r2", ack(3))
    replica.tick()
    replica.sent()
    replica.engine.replicate("r2", heartbeat=True)
    assert replica.engine.commit_is_unannounced


def test_a_stalled_replica_gives_its_leader_another_whole_timeout():
    replica = Replica()
    replica.now += 1.9
    replica.engine.postpone_election()
    replica.tick(after=0.9)
    assert replica.engine.role == "follower"
    replica.stand()


def test_a_leader_whose_followers_are_silent_steps_down():
    replica = Replica()
    replica.lead()
    replica.receive("r2", vote())
    replica.tick(after=0.5)
    assert (replica.engine.role, replica.engine.leader_id) == ("follower", "")
