"""Which nodes are alive: deadlines in the leader's memory, and commits only where an answer changes.

Heartbeats never enter the log. A leader that is new, or that was itself stopped for a while, has
heard nothing through no fault of the nodes: it gives each of them one fresh grace period. What
follows from a node's silence (moving its pods) is the controllers' business.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from h9s._pb import api_pb2, core_pb2, meta_pb2
from h9s.api import conditions
from h9s.api.keys import collection_prefix, object_key
from h9s.api.objects import to_any
from h9s.apiserver import instruments
from h9s.apiserver.authentication import SYSTEM
from h9s.apiserver.committer import Committer, not_leader
from h9s.apiserver.lifecycle import NODE, READY
from h9s.apiserver.refusals import not_found
from h9s.clock import Clock, now_timestamp
from h9s.errors import ConflictError, H9sError, NotLeaderError
from h9s.store.model import KeyValue
from h9s.store.protocol import Store

logger = logging.getLogger(__name__)

REASON_ALIVE = "HowbeletReady"
REASON_SILENT = "NodeStatusUnknown"

_PREFIX = collection_prefix(NODE)
_LOOKS_PER_GRACE_PERIOD = 20


class Verdict(NamedTuple):
    """What the condition Ready should become."""

    status: str
    reason: str
    message: str


class Liveness:
    """Who has beaten when. Knows neither store nor clock: times are seconds on one monotonic clock."""

    def __init__(self, *, grace_period: float) -> None:
        self.grace_period = grace_period
        self._deadlines: dict[str, float] = {}
        self._beaten: set[str] = set()

    def beat(self, name: str, *, now: float) -> None:
        """The node says that it is alive."""
        self._deadlines[name] = now + self.grace_period
        self._beaten.add(name)

    def start_over(self) -> None:
        """Every node gets a fresh grace period, from when it is next looked at."""
        self._deadlines.clear()
        self._beaten.clear()

    def keep_only(self, names: Iterable[str]) -> None:
        """Forget all other nodes."""
        for gone in self._deadlines.keys() - set(names):
            del self._deadlines[gone]
            self._beaten.discard(gone)

    def judge(self, name: str, ready_status: str, *, now: float) -> Verdict | None:
        """What has to change for a node whose condition Ready has this status ("" if it has none)."""
        deadline = self._deadlines.setdefault(name, now + self.grace_period)
        if now >= deadline:
            self._beaten.discard(name)
            if ready_status != "Unknown":
                message = f"no heartbeat from its howbelet for {self.grace_period:g} s"
                return Verdict("Unknown", REASON_SILENT, message)
        elif name in self._beaten and ready_status != "True":
            return Verdict("True", REASON_ALIVE, "its howbelet sends heartbeats")
        return None

    def alive(self) -> int:
        """How many nodes have beaten within their grace period, as last judged."""
        return len(self._beaten)


class NodeMonitor:
    """Receives heartbeats and keeps the condition Ready of all nodes true to them, on the leader."""

    def __init__(self, store: Store, *, committer: Committer, clock: Clock, grace_period: float) -> None:
        self._store = store
        self._committer = committer
        self._clock = clock
        self._liveness = Liveness(grace_period=grace_period)
        self._interval = grace_period / _LOOKS_PER_GRACE_PERIOD
        self._wake = asyncio.Event()
        self._term = 0
        self._looked_at = clock.monotonic()
        #: Node key -> its mod_revision and the status of Ready then: saves decoding what did not change.
        self._ready: dict[str, tuple[int, str]] = {}

    def beat(self, node_name: str) -> None:
        """A heartbeat. Raises NotLeaderError, NotFoundError where the Node object is missing."""
        leadership = self._store.leadership()
        if not leadership.ready:
            raise not_leader(leadership)
        found = self._store.view().get(object_key(NODE, "", node_name))
        if found is None:
            raise not_found(NODE, "", node_name)
        instruments.HEARTBEATS.inc()
        self._liveness.beat(node_name, now=self._clock.monotonic())
        if self._ready_status(found) != "True":
            self._wake.set()

    async def run(self) -> None:
        """Look at all nodes again and again, until cancelled."""
        while True:
            await self.look()
            try:
                async with asyncio.timeout(self._interval):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()

    async def look(self) -> None:
        """Judge every node now and commit what changes. Does nothing unless this replica leads."""
        now = self._clock.monotonic()
        leadership = self._store.leadership()
        stopped = now - self._looked_at > self._liveness.grace_period / 2
        self._looked_at = now
        if stopped or not leadership.ready or leadership.term != self._term:
            self._liveness.start_over()
            self._term = leadership.term
        if not leadership.ready:
            instruments.NODES_ALIVE.set(0)
            return
        nodes = self._store.view().scan(_PREFIX)
        names = {found.key: found.key[len(_PREFIX) + 1 :] for found in nodes}
        self._liveness.keep_only(names.values())
        self._ready = {key: known for key, known in self._ready.items() if key in names}
        changes = [
            self._commit(found, verdict)
            for found in nodes
            if (verdict := self._liveness.judge(names[found.key], self._ready_status(found), now=now))
        ]
        instruments.NODES_ALIVE.set(self._liveness.alive())
        await asyncio.gather(*changes)

    def _ready_status(self, found: KeyValue) -> str:
        known = self._ready.get(found.key)
        if known is None or known[0] != found.mod_revision:
            ready = conditions.get(core_pb2.Node.FromString(found.value).status.conditions, READY)
            known = self._ready[found.key] = (found.mod_revision, ready.status if ready else "")
        return known[1]

    async def _commit(self, found: KeyValue, verdict: Verdict) -> None:
        operation = set_ready(found, verdict, now=now_timestamp(self._clock))
        request = api_pb2.CommitRequest(operations=[operation])
        try:
            await self._committer.commit(request, SYSTEM, timeout=self._liveness.grace_period)
        except (ConflictError, NotLeaderError):
            # The node has changed, or somebody else leads: whoever looks next decides again.
            return
        except H9sError as error:
            logger.warning("cannot set node %s to Ready=%s: %s", found.key, verdict.status, error.message)
            return
        logger.info("node %s: Ready=%s (%s)", found.key, verdict.status, verdict.message)


def set_ready(found: KeyValue, verdict: Verdict, *, now: Timestamp) -> api_pb2.Operation:
    """The operation that gives the node this condition, provided that it is as it was found."""
    node = core_pb2.Node.FromString(found.value)
    node.metadata.resource_version = str(found.mod_revision)
    condition = meta_pb2.Condition(
        type=READY, status=verdict.status, reason=verdict.reason, message=verdict.message
    )
    conditions.set_condition(node.status.conditions, condition, now)
    return api_pb2.Operation(verb=api_pb2.Operation.UPDATE_STATUS, object=to_any(node))
