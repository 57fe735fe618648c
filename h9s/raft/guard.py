"""Stands between the engine and the network, and lets nothing through that breaks an invariant.

The numbers are those of `docs/architecture.md`:

1. Before a message shows the term or the vote, or vouches for entries, the journal is synced.
3. A follower's commit index never passes what the message verified; acknowledgements carry the
   sequence of the AppendEntries that they answer.
4. Acknowledgements of another term, from a non-member, or rejections older than the last probe are
   dropped; a member has one vote a term. A message of an older term is answered with the newer.
   Members are told apart by id and incarnation (see `configuration`): a request counts only if it was meant
   for this incarnation of this replica, an answer only if it comes from the incarnation that takes part.
   Who requests need not be a member here: this replica may lag behind.
7. The engine's forwarding of commands and its utility messages do not exist on the wire.

A conflict is answered with the first index of the conflicting term, so that a leader finds the
common prefix in a few round trips.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pysyncobj.transport import Transport

from h9s._pb import log_pb2
from h9s.raft.engine import Engine, member
from h9s.raft.errors import SafetyError
from h9s.raft.journal import LogTuple
from h9s.raft.membership import Membership

#: Sends to a replica by id; False if there is no connection.
SendFunction = Callable[[str, log_pb2.PeerMessage], bool]

#: What asks this replica to do or to promise something.
_REQUESTS = frozenset(
    {"append_entries", "request_vote", "pre_vote_request", "install_snapshot", "timeout_now"}
)
#: What vouches for what the sender did or promised.
_ANSWERS = frozenset({"append_ack", "vote_granted", "pre_vote_granted", "install_ack", "term_notice"})


class GuardedTransport(Transport):  # type: ignore[misc]
    """What the engine takes for its transport."""

    def __init__(self, *, send: SendFunction, membership: Membership) -> None:
        super().__init__(None, None, [])
        self._send = send
        self._membership = membership
        self._engine: Engine
        self._sequence: dict[str, int] = {}
        self._probe: dict[str, int] = {}
        self._acknowledged: dict[str, int] = {}
        self._voters: set[str] = set()
        self._answering = 0

    def attach(self, engine: Engine) -> None:
        """Name the engine, which needs its transport before it exists itself."""
        self._engine = engine

    # --- for the driver ----------------------------------------------------------------------

    def last_sequence(self, name: str) -> int:
        """The sequence of the last AppendEntries to that replica."""
        return self._sequence.get(name, 0)

    def acknowledged_sequence(self, name: str) -> int:
        """The highest sequence that it answered in the current term."""
        return self._acknowledged.get(name, 0)

    def connected(self, name: str) -> None:
        """A connection is there; whatever the last one lost is sent again."""
        engine = self._engine
        if engine.is_leader and member(name) in engine.followers:
            # Of a follower that has not answered in this term nothing is known: the end of the log is
            # a guess, and its answer says better.
            known = engine.match_index(name)
            engine.restart_at(name, known + 1 if known else engine.last_index + 1)
        self._onNodeConnected(member(name))

    def disconnected(self, name: str) -> None:
        """The connection is gone."""
        self._onNodeDisconnected(member(name))

    # --- from the engine ---------------------------------------------------------------------

    def send(self, node: Any, message: dict[str, Any]) -> bool:
        """Translate and send one of the engine's messages."""
        out = log_pb2.PeerMessage(term=self._engine.term)
        kind = message["type"]
        if kind == "append_entries":
            self._fill_append(node.id, message, out)
        elif kind == "next_node_idx":
            if not self._answering:
                return True
            self._fill_ack(message, out)
        elif kind == "request_vote":
            self._voters = set()
            out.request_vote.last_log_index = message["last_log_index"]
            out.request_vote.last_log_term = message["last_log_term"]
        elif kind == "response_vote":
            out.vote_granted.SetInParent()
        elif kind == "apply_command":
            # Leadership was lost between queueing and the tick. Nothing is forwarded: the
            # proposal's owner learns of the loss, and its request id settles the rest.
            return False
        else:
            raise SafetyError(f"the engine sent a {kind} message, which is not spoken here")
        if self._engine.journal.hard_state_is_dirty or out.append_ack.success:
            self._engine.journal.sync()
        return self._send(node.id, out)

    def _fill_append(self, name: str, message: dict[str, Any], out: log_pb2.PeerMessage) -> None:
        append = out.append_entries
        if not message["quiet"]:
            self._sequence[name] = append.sequence = self._sequence.get(name, 0) + 1
        append.commit_index = message["commit_index"]
        append.prev_log_index = message["prevLogIdx"]
        append.prev_log_term = message["prevLogTerm"]
        for command, index, term in message["entries"]:
            append.entries.add(index=index, term=term, command=command)

    def _fill_ack(self, message: dict[str, Any], out: log_pb2.PeerMessage) -> None:
        ack = out.append_ack
        ack.sequence = self._answering
        ack.reset = message["reset"]
        ack.success = message["success"]
        ack.next_index = message["next_node_idx"]
        journal = self._engine.journal
        if ack.reset and journal.term_at(ack.next_index) is not None:
            # Committed entries never conflict: there is no need to look below them.
            first = journal.first_index_of_term_at(ack.next_index)
            ack.next_index = max(first, journal.commit_index + 1, 2)

    # --- from the network --------------------------------------------------------------------

    def receive(self, name: str, message: log_pb2.PeerMessage) -> bool:
        """Check one message of the replica `name` and hand it to the engine, if it is the engine's.

        False if it does not count: for or from somebody else, or of an older term.
        """
        engine = self._engine
        kind = message.WhichOneof("body") or ""
        if not self._counts(name, kind, message):
            return False
        if message.term < engine.term:
            if kind in ("append_entries", "request_vote", "pre_vote_request"):
                self._tell_term(name)
            return False
        if kind == "append_entries":
            self._receive_append(name, message)
        elif kind == "append_ack":
            self._receive_ack(name, message)
        elif kind == "request_vote":
            vote = message.request_vote
            self._deliver(
                name,
                {
                    "type": "request_vote",
                    "term": message.term,
                    "last_log_index": vote.last_log_index,
                    "last_log_term": vote.last_log_term,
                },
            )
        elif kind == "vote_granted":
            may_vote = name in engine.voters and name not in self._voters
            if message.term == engine.term and may_vote:
                self._voters.add(name)
                self._deliver(name, {"type": "response_vote", "term": message.term})
        elif kind == "term_notice":
            engine.observe_term(message.term)
        return True

    def _counts(self, name: str, kind: str, message: log_pb2.PeerMessage) -> bool:
        membership = self._membership
        if kind in _REQUESTS:
            return message.recipient_incarnation == membership.incarnation
        return kind in _ANSWERS and membership.is_member(name, message.sender_incarnation)

    def _receive_append(self, name: str, message: log_pb2.PeerMessage) -> None:
        append = message.append_entries
        if message.term == self._engine.term and self._engine.is_leader:
            raise SafetyError(f"replica {name} leads term {message.term} too")
        entries = [LogTuple(entry.command, entry.index, entry.term) for entry in append.entries]
        verified = append.prev_log_index + len(entries)
        if entries and (entries[0].index, entries[-1].index) != (append.prev_log_index + 1, verified):
            raise SafetyError(f"replica {name} sent entries that do not follow one another")
        self._answering = append.sequence
        self._deliver(
            name,
            {
                "type": "append_entries",
                "term": message.term,
                "commit_index": min(append.commit_index, verified),
                "prevLogIdx": append.prev_log_index,
                "prevLogTerm": append.prev_log_term,
                "entries": entries,
            },
        )

    def _receive_ack(self, name: str, message: log_pb2.PeerMessage) -> None:
        engine, ack = self._engine, message.append_ack
        if message.term > engine.term:
            engine.observe_term(message.term)
            return
        if not engine.is_leader:
            return
        self._acknowledged[name] = max(self._acknowledged.get(name, 0), ack.sequence)
        next_index = ack.next_index
        if ack.reset:
            if ack.sequence < self._probe.get(name, 0):
                return
            self._probe[name] = self._sequence.get(name, 0) + 1
            next_index = max(engine.match_index(name) + 1, min(next_index, engine.last_index + 1), 2)
        sent_up_to = engine.next_index(name)
        self._deliver(
            name,
            {
                "type": "next_node_idx",
                "next_node_idx": next_index,
                "reset": ack.reset,
                "success": ack.success,
            },
        )
        if ack.reset:
            engine.restart_at(name, next_index)
        elif ack.success:
            # The engine would go back to the acknowledged index and send what is in flight again.
            engine.set_next_index(name, max(sent_up_to, engine.next_index(name)))
        if engine.next_index(name) <= engine.last_index:
            engine.replicate(name, heartbeat=False)

    def _deliver(self, name: str, message: dict[str, Any]) -> None:
        self._onMessageReceived(member(name), message)

    def _tell_term(self, name: str) -> None:
        notice = log_pb2.PeerMessage(term=self._engine.term)
        notice.term_notice.SetInParent()
        if self._engine.journal.hard_state_is_dirty:
            self._engine.journal.sync()
        self._send(name, notice)
