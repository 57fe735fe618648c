"""Clients of the simulated cluster: they write, retry under the same id, read, and remember."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from functools import partial

from h9s._pb import api_pb2, log_pb2
from h9s.errors import DiskFullError, H9sError, NotLeaderError
from h9s.raft.replicated_store import ReplicatedStore
from h9s.sim.replicas import EPOCH, SimReplicas
from h9s.store.model import FailureKind, Outcome
from h9s.store.past import Past

COUNTER = "/sim/Counter//total"


@dataclass
class Acknowledged:
    """What clients were told: by key, the revision of the write."""

    writes: dict[str, int] = field(default_factory=dict)
    #: The highest counter value whose write was acknowledged.
    counter: int = 0
    #: The highest revision that any client was told.
    revision: int = 0
    reads: int = 0


class SimClient:
    """Writes objects of its own, increments a shared counter, and reads it back."""

    def __init__(
        self, name: str, replicas: SimReplicas, acknowledged: Acknowledged, *, rng: random.Random
    ) -> None:
        self._name = name
        self._replicas = replicas
        self._acknowledged = acknowledged
        self._rng = rng
        self._number = 0
        self._clock_correction_ms = 0

    async def run(self, *, until: float) -> None:
        """Work until the loop's time reaches `until`."""
        while self._replicas.loop.time() < until:
            await asyncio.sleep(self._rng.uniform(0.0, 0.1))
            act = self._rng.choice(
                (
                    self._write,
                    self._increment,
                    self._increment,
                    self._read,
                    self._read,
                    self._read_the_past,
                    self._write_many,
                )
            )
            await act(until)

    async def _write_many(self, until: float) -> None:
        """Several writes that do not wait for one another; rarely, so that most traffic stays cheap."""
        count = 1 if self._rng.random() < 0.8 else self._rng.choice((5, 20))
        await asyncio.gather(*(self._write(until) for _ in range(count)))

    async def _write(self, until: float) -> None:
        """Create an object that must not exist, so that a write done twice shows."""
        self._number += 1
        key = f"/sim/Item/{self._name}/{self._number}"
        value = self._rng.randbytes(self._rng.choice((10, 10, 100, 1000)))
        outcome = await self._commit(
            log_pb2.Transaction(
                request_id=self._new_request_id(),
                guards=[log_pb2.Guard(key=key, mod_revision=0, client=True)],
                mutations=[log_pb2.Mutation(key=key, value=value)],
            ),
            until,
        )
        if outcome is None:
            return
        if outcome.failure is None:
            self._acknowledged.writes[key] = outcome.revision
            self._acknowledged.revision = max(self._acknowledged.revision, outcome.revision)
        elif outcome.failure.kind is FailureKind.GUARD:
            self._replicas.fail(f"{key} existed before it was created: the write was done twice")

    async def _increment(self, until: float) -> None:
        """Compare and swap: of all that try at one revision, one wins."""
        name = self._any_replica()
        if name is None:
            return
        current = self._replicas.stores[name].view().get(COUNTER)
        value = 0 if current is None else int(current.value)
        revision = 0 if current is None else current.mod_revision
        outcome = await self._commit(
            log_pb2.Transaction(
                request_id=self._new_request_id(),
                guards=[log_pb2.Guard(key=COUNTER, mod_revision=revision, client=True)],
                mutations=[log_pb2.Mutation(key=COUNTER, value=b"%d" % (value + 1))],
            ),
            until,
        )
        if outcome is not None and outcome.failure is None:
            self._acknowledged.counter = max(self._acknowledged.counter, value + 1)

    async def _read(self, until: float) -> None:
        """A linearizable read anywhere shows everything acknowledged before it began."""
        name = self._any_replica()
        if name is None:
            return
        store = self._replicas.stores[name]
        expected, revision = self._acknowledged.counter, self._acknowledged.revision
        try:
            await store.read_barrier(timeout=min(1.0, max(0.01, until - self._replicas.loop.time())))
        except H9sError:
            return
        found = store.view().get(COUNTER)
        value = 0 if found is None else int(found.value)
        self._acknowledged.reads += 1
        if self._replicas.stores.get(name) is not store:
            return
        if value < expected:
            self._replicas.fail(f"{name} read {value} when {expected} had been acknowledged")
        if store.revision < revision:
            self._replicas.fail(f"{name} read at revision {store.revision} when {revision} was acknowledged")

    async def _read_the_past(self, _until: float) -> None:
        """Whatever a replica tells of an old revision is what was applied then."""
        name = self._any_replica()
        if name is not None:
            store = self._replicas.stores[name]
            await store.look_back(partial(self._check_the_past, name, store))

    def _check_the_past(self, name: str, store: ReplicatedStore, past: Past) -> None:
        # Once it is dead, its disk is another process's.
        if self._replicas.stores.get(name) is store:
            self._replicas.chronicle.check_some(name, past, self._rng)

    async def _commit(self, transaction: log_pb2.Transaction, until: float) -> Outcome | None:
        """Try replica after replica under one id; None if the time is up and the outcome open."""
        target = self._any_replica()
        while self._replicas.loop.time() < until:
            if target is None or target not in self._replicas.responsive:
                await asyncio.sleep(0.02)
                target = self._any_replica()
                continue
            store = self._replicas.stores[target]
            try:
                outcome = await store.propose(transaction, timeout=self._rng.choice((0.2, 1.0)))
                self._learn_clock(outcome)
                return outcome
            except NotLeaderError as error:
                target = error.leader_address or self._any_replica()
                await asyncio.sleep(0.03)
            except DiskFullError:
                await asyncio.sleep(0.1)
                target = self._any_replica()
            except H9sError:
                target = self._any_replica()
        return None

    def _any_replica(self) -> str | None:
        responsive = self._replicas.responsive
        return self._rng.choice(responsive) if responsive else None

    def _new_request_id(self) -> api_pb2.RequestId:
        now_ms = int((EPOCH + self._replicas.loop.time()) * 1000) + self._clock_correction_ms
        return api_pb2.RequestId(nonce=self._rng.randbytes(16), issued_at_ms=now_ms)

    def _learn_clock(self, outcome: Outcome) -> None:
        """A leader's clock may have jumped ahead, and the cluster's does not go back."""
        if outcome.failure is not None and outcome.failure.now_ms:
            own_ms = int((EPOCH + self._replicas.loop.time()) * 1000)
            self._clock_correction_ms = outcome.failure.now_ms - own_ms
