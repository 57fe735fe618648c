"""Clients of real replicas, and everything they were told.

Objects are leases; what they hold is their `holderIdentity`, unique for every write. Mixes: single objects
that are created, swapped and deleted under the last revision known; several at once, read together; writes in
bulk over one stream; requests that are sent again, elsewhere and later, after they were answered.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

from h9s._pb import api_pb2, coordination_pb2
from h9s.api.objects import from_object
from h9s.client import operations as ops
from h9s.client.batching import BatchingClient
from h9s.client.client import Client
from h9s.client.retry import RetryPolicy
from h9s.client.transport import COMMIT, LIST, NotConnectedError, Transport
from h9s.clock import Clock, wall_ms
from h9s.config import ClientConfig
from h9s.errors import (
    AlreadyExistsError,
    ConflictError,
    H9sError,
    NotFoundError,
    NotLeaderError,
    OverloadedError,
    RequestExpiredError,
)
from h9s.sim.operations import Fate, OperationLog, Value
from h9s.sim.revision_checks import OldRead

_REFUSED = (AlreadyExistsError, ConflictError, NotFoundError)
#: How old a request id may be before it is refused, in milliseconds (the store's rule).
REQUEST_MAX_AGE_MS = 600_000
#: The namespace of what is large, and how large that is.
BLOBS = "default"
_BLOB_BYTES = 60_000


def lease(namespace: str, name: str, held: bytes, *, revision: int = 0) -> coordination_pb2.Lease:
    """An object that holds a value; with a revision, that one has to be the current one."""
    made = coordination_pb2.Lease()
    made.metadata.name, made.metadata.namespace = name, namespace
    if revision:
        made.metadata.resource_version = str(revision)
    made.spec.holder_identity = held.decode()
    return made


def held_by(found: coordination_pb2.Lease) -> bytes:
    """What an object holds."""
    return found.spec.holder_identity.encode()


class Known:
    """What a client last saw: value and revision of each object. It may be long out of date."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._seen: dict[str, tuple[Value, int]] = {}

    def __getitem__(self, name: str) -> tuple[Value, int]:
        return self._seen.get(name, (None, 0))

    def learn(self, names: Sequence[str], found: Mapping[str, tuple[bytes, int]]) -> None:
        """The names hold what was found, or do not exist."""
        for name in names:
            self._seen[name] = found.get(name, (None, 0))

    def wrote(self, written: Mapping[str, Value], revision: int) -> None:
        """A write was done."""
        for name, value in written.items():
            self._seen[name] = (value, 0 if value is None else revision)

    def operation(self, name: str, value: Value) -> api_pb2.Operation:
        """Write `value` if the object is as last seen."""
        seen, revision = self[name]
        if value is None and seen is None:
            return self.check(name)
        if value is None:
            return ops.delete(coordination_pb2.Lease, name, self._namespace, mod_revision=revision)
        if seen is None:
            return ops.create(lease(self._namespace, name, value))
        return ops.update(lease(self._namespace, name, value, revision=revision))

    def check(self, name: str) -> api_pb2.Operation:
        """Change nothing, but only if the object is as last seen."""
        return ops.check(coordination_pb2.Lease, name, self._namespace, mod_revision=self[name][1])


class Traffic:
    """All clients of one round. `run` them as tasks; they stop when `stopping` is set."""

    def __init__(
        self,
        config: ClientConfig,
        *,
        addresses: Mapping[str, str],
        transport: Transport,
        clock: Clock,
        rng: random.Random,
        namespace: str,
    ) -> None:
        self.log = OperationLog()
        self.old_reads: list[OldRead] = []
        self.acknowledged = 0
        self.reads = 0
        self.replays = 0
        self.expired = 0
        self.stopping = asyncio.Event()
        self.revision = 0
        self._config = config
        self._addresses = addresses
        self._transport = transport
        self._clock = clock
        self._rng = rng
        self.namespace = namespace
        self._numbers = 0
        self._server_clock_offset_ms = 0
        self._single = [f"s{number}" for number in range(6)]
        self._groups = [[f"g{group}-{number}" for number in range(3)] for group in range(2)]

    def clients(self) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        """One coroutine function for each client."""
        return [
            *[self._on_singles] * 3,
            *[self._on_groups] * 2,
            self._in_bulk,
            *[self._again_and_again] * 2,
            self._blobs,
            self._reading_old,
        ]

    def _value(self) -> bytes:
        self._numbers += 1
        return f"v{self._numbers}".encode()

    def _client(self, cls: type[Client], name: str) -> Client:
        rng = random.Random(self._rng.getrandbits(64))
        return cls(self._config, clock=self._clock, rng=rng, retry=RetryPolicy(deadline=30.0), name=name)

    async def _pause(self) -> None:
        await asyncio.sleep(self._rng.uniform(0.0, 0.04))

    # --- mixes ---------------------------------------------------------------------------------

    async def _on_singles(self) -> None:
        known = Known(self.namespace)
        async with self._client(Client, "single") as client:
            while not self.stopping.is_set():
                await self._pause()
                name = self._rng.choice(self._single)
                if self._rng.random() < 0.45:
                    await self._read(client, [name], known)
                else:
                    value = None if self._rng.random() < 0.15 else self._value()
                    await self._write(client, {name: value}, known)

    async def _on_groups(self) -> None:
        """What is written together is read together."""
        known = Known(self.namespace)
        async with self._client(Client, "group") as client:
            while not self.stopping.is_set():
                await self._pause()
                group = self._rng.choice(self._groups)
                if self._rng.random() < 0.4:
                    await self._read(client, group, known)
                else:
                    chosen = self._rng.sample(group, self._rng.choice((1, 2, 3)))
                    value = self._value()
                    await self._write(client, dict.fromkeys(chosen, value), known, group)

    async def _in_bulk(self) -> None:
        """Many at once, each an object of its own."""
        async with self._client(BatchingClient, "bulk") as client:
            while not self.stopping.is_set():
                await asyncio.sleep(self._rng.uniform(0.05, 0.3))
                names = [f"bulk-{self._value().decode()}" for _ in range(self._rng.choice((5, 20)))]
                await asyncio.gather(
                    *(self._write(client, {name: self._value()}, Known(self.namespace)) for name in names)
                )

    async def _read(self, client: Client, names: Sequence[str], known: Known) -> None:
        handle = self.log.begin(client.name)
        try:
            if len(names) == 1:
                found = await self._get(client, names[0])
                revision = 0
            else:
                listing = await client.list(coordination_pb2.Lease, self.namespace)
                revision = listing.revision
                found = {
                    one.metadata.name: (held_by(one), int(one.metadata.resource_version))
                    for one in listing.items
                    if one.metadata.name in names
                }
        except H9sError:
            self.log.forget(handle)
            return
        values = {name: found[name][0] if name in found else None for name in names}
        self.log.end(handle, Fate.DONE, revision=revision, found=values)
        self.reads += 1
        known.learn(names, found)

    async def _get(self, client: Client, name: str) -> dict[str, tuple[bytes, int]]:
        try:
            one = await client.get(coordination_pb2.Lease, name, self.namespace)
        except NotFoundError:
            return {}
        return {name: (held_by(one), int(one.metadata.resource_version))}

    async def _write(
        self, client: Client, written: dict[str, Value], known: Known, checked: Sequence[str] = ()
    ) -> None:
        """Write under what is known; `checked` names are not written but have to be as known as well."""
        involved = dict.fromkeys((*written, *checked))
        expected = {name: known[name][0] for name in involved}
        operations = [known.operation(name, value) for name, value in written.items()]
        operations += [known.check(name) for name in involved if name not in written]
        changed = {
            name: value for name, value in written.items() if value is not None or known[name][0] is not None
        }
        if not changed:
            return
        handle = self.log.begin(client.name, expected=expected, written=changed)
        try:
            response = await client.commit(operations, timeout=self._rng.choice((0.3, 2.0, 10.0)))
        except _REFUSED:
            self.log.end(handle, Fate.REFUSED)
            await self._read(client, list(involved), known)
        except H9sError:
            # Also a full disk: an earlier attempt may have met another leader.
            self.log.end(handle, Fate.UNKNOWN)
            await asyncio.sleep(0.2)
        else:
            self.log.end(handle, Fate.DONE, revision=response.revision)
            self.acknowledged += 1
            self.revision = max(self.revision, response.revision)
            known.wrote(changed, response.revision)

    async def _blobs(self) -> None:
        """Large values written over and over, so that the log is cut and snapshots are taken. Not judged."""
        async with self._client(Client, "blobs") as client:
            while not self.stopping.is_set():
                await asyncio.sleep(self._rng.uniform(0.1, 0.3))
                blob = lease(BLOBS, f"blob-{self._rng.randrange(8)}", self._value())
                blob.metadata.annotations["blob"] = self._rng.randbytes(_BLOB_BYTES // 2).hex()
                try:
                    await client.update(blob, timeout=2.0)
                except NotFoundError:
                    with suppress(H9sError):
                        await client.create(blob, timeout=2.0)
                except H9sError:
                    continue

    # --- exactly once --------------------------------------------------------------------------

    async def _again_and_again(self) -> None:
        """One request, sent again after its answer, to others, and until its id is too old."""
        while not self.stopping.is_set():
            await self._pause()
            name, value = f"again-{self._value().decode()}", self._value()
            remaining_ms = self._rng.choice((2_000, 300_000, 0))
            request = api_pb2.CommitRequest(operations=[ops.create(lease(self.namespace, name, value))])
            request.request_id.nonce = self._rng.randbytes(16)
            now_ms = wall_ms(self._clock) + self._server_clock_offset_ms
            request.request_id.issued_at_ms = now_ms - REQUEST_MAX_AGE_MS + remaining_ms
            for _ in range(self._rng.choice((1, 2, 4))):
                await self._attempt(request, name, value)
                await asyncio.sleep(self._rng.uniform(0.0, 1.0))

    async def _attempt(self, request: api_pb2.CommitRequest, name: str, value: bytes) -> None:
        server = self._rng.choice(list(self._addresses.values()))
        nonce = request.request_id.nonce
        for _ in range(4):
            handle = self.log.begin("again", expected={name: None}, written={name: value}, request=nonce)
            try:
                limit = self._rng.choice((0.05, 0.5, 2.0))
                response = await self._transport.unary(server, COMMIT, request, timeout=limit)
            except RequestExpiredError as error:
                self.log.end(handle, Fate.EXPIRED)
                # The cluster's clock is ahead for good once a leader's was.
                self._server_clock_offset_ms = error.server_time_ms - wall_ms(self._clock)
                self.expired += 1
            except _REFUSED:
                self.log.end(handle, Fate.REFUSED)
            except (NotLeaderError, OverloadedError, NotConnectedError) as error:
                # Certainly not done.
                self.log.forget(handle)
                leader = error.leader_address if isinstance(error, NotLeaderError) else ""
                server = leader or self._rng.choice(list(self._addresses.values()))
                await asyncio.sleep(0.02)
                continue
            except H9sError:
                self.log.end(handle, Fate.UNKNOWN)
            else:
                self.log.end(handle, Fate.DONE, revision=response.revision)
                self.acknowledged += 1
                self.replays += 1
            return

    # --- the past ------------------------------------------------------------------------------

    async def _reading_old(self) -> None:
        """What any replica says of any revision that was acknowledged."""
        first = 0
        while not self.stopping.is_set():
            await asyncio.sleep(self._rng.uniform(0.0, 0.3))
            first = first or self.revision
            if first:
                await self.read_old(
                    self._rng.choice(list(self._addresses)), self._rng.randint(first, self.revision)
                )

    async def read_old(self, replica: str, revision: int) -> bool:
        """Ask one replica; whether it answered."""
        request = api_pb2.ListRequest(
            key=ops.key_of(coordination_pb2.Lease, "", self.namespace), revision=revision, limit=500
        )
        found = {}
        try:
            while True:
                response = await self._transport.unary(self._addresses[replica], LIST, request, timeout=2.0)
                for stored in response.objects:
                    one = from_object(stored)
                    assert isinstance(one, coordination_pb2.Lease)
                    found[one.metadata.name] = (held_by(one), int(one.metadata.resource_version))
                if not response.continue_token:
                    break
                request.continue_token = response.continue_token
        except H9sError:
            return False
        self.old_reads.append(OldRead(replica, revision, "", found))
        return True
