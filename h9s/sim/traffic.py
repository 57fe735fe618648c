"""Clients of the simulated cluster whose every answer is recorded: linearizability is judged by that.

They read, swap, overwrite and delete objects, one or several in a transaction; give up early; send a request
again after it was answered, to whoever leads by then; and use request ids that are about to be too old.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence

from h9s._pb import api_pb2, log_pb2
from h9s.errors import DiskFullError, H9sError, NotLeaderError, OverloadedError
from h9s.sim.operations import Fate, Value
from h9s.sim.replicas import EPOCH, SimReplicas
from h9s.sim.witness import PREFIX, lease
from h9s.store.model import FailureKind, Outcome
from h9s.store.requests import MAX_AGE_MS

_SINGLES = [[f"s{number}"] for number in range(3)]
_GROUPS = [[f"g{group}-{number}" for number in range(3)] for group in range(2)]


class RecordedClient:
    """One client. `name` is unique; what it writes carries it."""

    def __init__(self, name: str, replicas: SimReplicas, *, rng: random.Random) -> None:
        self._name = name
        self._replicas = replicas
        self._log = replicas.witness.operations
        self._rng = rng
        self._number = 0
        self._clock_correction_ms = 0
        #: What this client last saw of a key: value and mod_revision. It may be long out of date.
        self._seen: dict[str, tuple[Value, int]] = {}
        self._again: list[asyncio.Task[None]] = []

    async def run(self, *, until: float) -> None:
        """Work until the loop's time reaches `until`."""
        while self._replicas.loop.time() < until:
            await asyncio.sleep(self._rng.uniform(0.0, 0.15))
            keys = [PREFIX + name for name in self._rng.choice(_SINGLES + _GROUPS)]
            act = self._rng.choice((self._read, self._read, self._swap, self._swap, self._overwrite))
            await act(keys, until)
        for task in self._again:
            await task

    async def _read(self, keys: Sequence[str], until: float) -> None:
        """Linearizable, on any replica; several keys at one revision."""
        name = self._any_replica()
        if name is None:
            return
        store = self._replicas.stores[name]
        handle = self._log.begin(self._name)
        try:
            await store.read_barrier(timeout=min(1.0, max(0.01, until - self._replicas.loop.time())))
        except H9sError:
            self._log.forget(handle)
            return
        if self._replicas.stores.get(name) is not store:
            self._log.forget(handle)
            return
        view = store.view()
        found = {key: view.get(key) for key in keys}
        self._seen |= {key: (one.value, one.mod_revision) if one else (None, 0) for key, one in found.items()}
        values = {key: one.value if one else None for key, one in found.items()}
        self._log.end(handle, Fate.DONE, revision=view.revision, found=values)

    async def _swap(self, keys: Sequence[str], until: float) -> None:
        """Write some of the keys if all of them are as last seen."""
        written = self._rng.sample(list(keys), self._rng.randint(1, len(keys)))
        expected = {key: self._seen.get(key, (None, 0)) for key in keys}
        values = {key: self._new_value(key, expected[key][0]) for key in written}
        guards = [
            log_pb2.Guard(key=key, mod_revision=revision, client=True)
            for key, (_, revision) in expected.items()
        ]
        await self._write(guards, {key: value for key, (value, _) in expected.items()}, values, until)

    async def _overwrite(self, keys: Sequence[str], until: float) -> None:
        """Write whatever is there."""
        await self._write([], {}, {key: self._new_value(key, None) for key in keys}, until)

    def _new_value(self, key: str, seen: Value) -> Value:
        if seen is not None and self._rng.random() < 0.15:
            return None
        self._number += 1
        return lease(key.removeprefix(PREFIX), f"{self._name}-{self._number}")

    # --- writing -------------------------------------------------------------------------------

    async def _write(
        self,
        guards: Sequence[log_pb2.Guard],
        expected: Mapping[str, Value],
        written: Mapping[str, Value],
        until: float,
    ) -> None:
        transaction = log_pb2.Transaction(request_id=self._new_request_id(), guards=guards)
        for key, value in written.items():
            mutation = transaction.mutations.add(key=key)
            if value is not None:
                mutation.value = value
        patience = self._rng.choice((0.05, 0.5, 3.0))
        outcome = await self._settle(transaction, expected, written, patience=patience, until=until)
        if outcome is not None and outcome.failure is None:
            self._seen |= {
                key: (value, 0 if value is None else outcome.revision) for key, value in written.items()
            }
        for _ in range(self._rng.choice((0, 0, 0, 1, 2))):
            self._do_again(transaction, expected, written, until)

    def _do_again(
        self,
        transaction: log_pb2.Transaction,
        expected: Mapping[str, Value],
        written: Mapping[str, Value],
        until: float,
    ) -> None:
        """The same request once more, some time later."""

        async def again() -> None:
            await asyncio.sleep(self._rng.choice((0.0, 0.3, 3.0)))
            await self._settle(transaction, expected, written, patience=1.0, until=until)

        self._again.append(self._replicas.loop.create_task(again()))

    async def _settle(
        self,
        transaction: log_pb2.Transaction,
        expected: Mapping[str, Value],
        written: Mapping[str, Value],
        *,
        patience: float,
        until: float,
    ) -> Outcome | None:
        """Try replica after replica under one id until there is an answer; every try is an operation."""
        deadline = min(until, self._replicas.loop.time() + patience)
        target = self._any_replica()
        while self._replicas.loop.time() < deadline:
            if target is None or target not in self._replicas.responsive:
                await asyncio.sleep(0.02)
                target = self._any_replica()
                continue
            store = self._replicas.stores[target]
            handle = self._log.begin(
                self._name, expected=expected, written=written, request=transaction.request_id.nonce
            )
            try:
                outcome = await store.propose(transaction, timeout=self._rng.choice((0.05, 0.2, 1.0)))
            except (NotLeaderError, OverloadedError, DiskFullError) as error:
                self._log.forget(handle)
                target = getattr(error, "leader_address", "") or self._any_replica()
                await asyncio.sleep(0.03)
            except H9sError:
                self._log.end(handle, Fate.UNKNOWN)
                target = self._any_replica()
            else:
                self._answered(handle, outcome)
                return outcome
        return None

    def _answered(self, handle: int, outcome: Outcome) -> None:
        if outcome.failure is None:
            self._log.end(handle, Fate.DONE, revision=outcome.revision)
        elif outcome.failure.kind is FailureKind.GUARD:
            self._log.end(handle, Fate.REFUSED)
        elif outcome.failure.kind is FailureKind.EXPIRED:
            self._log.end(handle, Fate.EXPIRED)
            # A leader's clock may have jumped ahead, and the cluster's does not go back.
            self._clock_correction_ms = outcome.failure.now_ms - self._own_ms()
        else:
            self._replicas.fail(f"{self._name} was told {outcome.failure}")

    def _any_replica(self) -> str | None:
        responsive = self._replicas.responsive
        return self._rng.choice(responsive) if responsive else None

    def _own_ms(self) -> int:
        return int((EPOCH + self._replicas.loop.time()) * 1000)

    def _new_request_id(self) -> api_pb2.RequestId:
        """Now and then one that is refused within seconds, unless it is known by then."""
        now_ms = self._own_ms() + self._clock_correction_ms
        if self._rng.random() < 0.2:
            now_ms -= MAX_AGE_MS - self._rng.choice((100, 1_000, 4_000))
        return api_pb2.RequestId(nonce=self._rng.randbytes(16), issued_at_ms=now_ms)
