"""What the apiserver's tests share: identities, objects, and a cluster of one in memory."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Callable, Coroutine
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from h9s._pb import api_pb2, apps_pb2, coordination_pb2, core_pb2, log_pb2, meta_pb2
from h9s.api.keys import object_key
from h9s.api.kinds import kind_of
from h9s.api.objects import decode, from_object
from h9s.apiserver.authentication import SYSTEM
from h9s.apiserver.committer import Committer
from h9s.apiserver.transactions import Context, Decision, Refusal, decide
from h9s.client import operations
from h9s.clock import LoopClock
from h9s.pki import ROLE_ADMIN, ROLE_COMPONENT, ROLE_NODE, ROLE_REPLICA, Identity
from h9s.store.model import Outcome
from h9s.store.state_machine import StateMachine
from h9s.testing.memory_store import MemoryStore
from h9s.testing.virtual_loop import run_virtual

ADMIN = Identity("root", ROLE_ADMIN)
SCHEDULER = Identity("scheduler", ROLE_COMPONENT)
NODE_1 = Identity("n1", ROLE_NODE)
REPLICA = Identity("r2", ROLE_REPLICA)

NOW = 1_700_000_000
SEED = b"0123456789abcdef"

Op = api_pb2.Operation


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an asynchronous test on virtual time."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        run_virtual(lambda: test(*args, **kwargs))

    return run


def meta(name: str = "", namespace: str = "", **fields: Any) -> meta_pb2.ObjectMeta:
    return meta_pb2.ObjectMeta(name=name, namespace=namespace, **fields)


def namespace(name: str, **fields: Any) -> core_pb2.Namespace:
    return core_pb2.Namespace(metadata=meta(name, **fields))


def pod(
    name: str = "web", ns: str = "default", *, node: str = "", grace: int = 30, **fields: Any
) -> core_pb2.Pod:
    spec = core_pb2.PodSpec(
        containers=[core_pb2.Container(name="main", image="busybox:1")],
        node_name=node,
        termination_grace_period_seconds=grace,
    )
    return core_pb2.Pod(metadata=meta(name, ns, **fields), spec=spec)


def lease(name: str = "lock", ns: str = "default", *, holder: str = "") -> coordination_pb2.Lease:
    return coordination_pb2.Lease(
        metadata=meta(name, ns), spec=coordination_pb2.LeaseSpec(holder_identity=holder)
    )


def node(name: str = "n1", **fields: Any) -> core_pb2.Node:
    return core_pb2.Node(metadata=meta(name, **fields))


def replica_set(name: str = "web", ns: str = "default", *, replicas: int = 1) -> apps_pb2.ReplicaSet:
    labels = {"app": name}
    template = core_pb2.PodTemplateSpec(
        metadata=meta_pb2.ObjectMeta(labels=labels),
        spec=core_pb2.PodSpec(containers=[core_pb2.Container(name="main", image="busybox:1")]),
    )
    spec = apps_pb2.ReplicaSetSpec(
        replicas=replicas, selector=meta_pb2.LabelSelector(match_labels=labels), template=template
    )
    return apps_pb2.ReplicaSet(metadata=meta(name, ns), spec=spec)


def copy_of(message: Any, **metadata: Any) -> Any:
    """A copy, with these fields of its metadata replaced."""
    copied = type(message)()
    copied.CopyFrom(message)
    for field, value in metadata.items():
        setattr(copied.metadata, field, value)
    return copied


class World:
    """The pure decision and the pure state machine, one Commit after the other."""

    def __init__(self, *namespaces: str, now: int = NOW) -> None:
        self.machine = StateMachine()
        self.now = now
        self.rng = random.Random(1)
        for name in namespaces or ("default",):
            self.commit(operations.create(namespace(name)))

    @property
    def revision(self) -> int:
        return self.machine.revision

    def decide(
        self, *ops: api_pb2.Operation, caller: Identity = ADMIN, seed: bytes = SEED
    ) -> Decision | Refusal:
        context = Context(caller, Timestamp(seconds=self.now), self.rng, seed)
        return decide(ops, self.machine.view(), context)

    def apply(self, transaction: log_pb2.Transaction) -> Outcome:
        entry = log_pb2.LogEntry(format_version=1, time_ms=self.now * 1000, transactions=[transaction])
        (outcome,) = self.machine.apply(entry)
        return outcome

    def commit(self, *ops: api_pb2.Operation, caller: Identity = ADMIN, seed: bytes = SEED) -> list[Any]:
        """The objects after it, one per operation, with their resourceVersion. Raises the refusal's error."""
        decision = self.decide(*ops, caller=caller, seed=seed)
        if isinstance(decision, Refusal):
            raise decision.error
        outcome = self.apply(decision.transaction)
        assert outcome.failure is None, outcome
        objects = []
        for result in decision.results:
            stored = api_pb2.Object(mod_revision=result.mod_revision or outcome.revision)
            stored.value.type_url, stored.value.value = result.type_url, result.value
            objects.append(from_object(stored) if result.value else None)
        return objects

    def commit_one(self, op: api_pb2.Operation, **kwargs: Any) -> Any:
        (found,) = self.commit(op, **kwargs)
        return found

    def get(self, message: Any, name: str = "", ns: str = "default") -> Any:
        """The object of the message's kind (and name, if it is an instance); None if there is none."""
        kind = kind_of(message)
        if not isinstance(message, type):
            name, ns = message.metadata.name, message.metadata.namespace
        found = self.machine.view().get(object_key(kind, ns if kind.namespaced else "", name))
        return None if found is None else decode(kind, found.value, found.mod_revision)


class Cluster:
    """A store in memory with a committer before it; to be made on a running (virtual) loop."""

    def __init__(self) -> None:
        self.clock = LoopClock(asyncio.get_running_loop())
        self.store = MemoryStore(clock=self.clock, api_address="10.0.0.1:7400")
        self.committer = Committer(self.store, clock=self.clock, rng=random.Random(1))
        self._nonces = random.Random(2)

    @classmethod
    async def with_default_namespace(cls) -> Cluster:
        cluster = cls()
        await cluster.commit(operations.create(namespace("default")), caller=SYSTEM)
        return cluster

    def request(self, *ops: api_pb2.Operation, **fields: Any) -> api_pb2.CommitRequest:
        request_id = api_pb2.RequestId(
            nonce=self._nonces.randbytes(16), issued_at_ms=int(self.clock.wall() * 1000)
        )
        return api_pb2.CommitRequest(request_id=request_id, operations=ops, **fields)

    async def send(
        self, request: api_pb2.CommitRequest, *, caller: Identity = ADMIN, timeout: float = 5.0
    ) -> api_pb2.CommitResponse:
        committed = await self.committer.commit(request, caller, timeout=timeout)
        response = api_pb2.CommitResponse()
        committed.write_to(response)
        return response

    async def commit(self, *ops: api_pb2.Operation, caller: Identity = ADMIN) -> list[Any]:
        """The objects after it, one per operation."""
        response = await self.send(self.request(*ops), caller=caller)
        return [from_object(found) if found.HasField("value") else None for found in response.objects]

    async def commit_one(self, op: api_pb2.Operation, **kwargs: Any) -> Any:
        (found,) = await self.commit(op, **kwargs)
        return found

    def get(self, message: Any) -> Any:
        kind, metadata = kind_of(message), message.metadata
        found = self.store.view().get(object_key(kind, metadata.namespace, metadata.name))
        return None if found is None else decode(kind, found.value, found.mod_revision)
