"""One demonstration, from the first write to the verdict, against a cluster that runs."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from cluster.failover.evidence import ContainerRun, Evidence, Round, StoredObject
from cluster.failover.timeline import Timeline
from cluster.failover.verdict import Verdict, describe, gap, judge
from cluster.failover.watcher import Watcher
from cluster.failover.writer import Writer
from cluster.local.bring_up import open_client
from cluster.local.layout import REPLICA_IDS
from cluster.local.manager import LocalCluster
from cluster.local.probes import leader_of, missing_from_control_plane, replica_statuses
from cluster.local.waiting import wait_until
from h9s._pb import coordination_pb2, core_pb2, meta_pb2
from h9s.client.client import Client
from h9s.clock import Clock, SystemClock, system_random
from h9s.errors import UnavailableError

_RECOVERY_TIMEOUT = 30.0


@dataclass(frozen=True)
class Plan:
    """What to do. Times in seconds."""

    rounds: int = 1
    writes_per_second: float = 300.0
    #: How long the cluster is left alone before each killing, and before the restart.
    calm: float = 2.0
    dead: float = 2.0


async def demonstrate(
    cluster: LocalCluster, plan: Plan, *, out: Callable[[str], None], clock: Clock | None = None
) -> Verdict:
    """Kill the leader `plan.rounds` times under load. Raises H9sError where the cluster is not
    healthy to begin with, or does not recover."""
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(open_client(cluster.layout, name=name))
            for name in ("observer", *(f"writer-{replica_id}" for replica_id in REPLICA_IDS))
        ]
        follower = await stack.enter_async_context(await _client_of_a_follower(cluster))
        stage = _Stage(cluster, plan, clients[0], clients[1:], follower, out, clock or SystemClock())
        return await stage.play()


class _Stage:
    def __init__(
        self,
        cluster: LocalCluster,
        plan: Plan,
        observer: Client,
        writer_clients: Sequence[Client],
        follower: Client,
        out: Callable[[str], None],
        clock: Clock,
    ) -> None:
        self._cluster = cluster
        self._plan = plan
        self._observer = observer
        self._out = out
        self._clock = clock
        self._namespace = f"failover-{system_random().getrandbits(32):08x}"
        interval = len(writer_clients) / plan.writes_per_second
        self._writers = [
            Writer(client, name=f"w{number}", namespace=self._namespace, interval=interval, clock=clock)
            for number, client in enumerate(writer_clients, start=1)
        ]
        self._follower = follower
        self._watcher = Watcher(follower, namespace=self._namespace)
        self._timeline = Timeline(
            observer,
            servers=cluster.layout.api_addresses,
            writers=self._writers,
            full_rate=plan.writes_per_second,
            out=out,
            clock=clock,
        )

    async def play(self) -> Verdict:
        await self._await_health()
        containers = await running_containers(self._observer)
        created = await self._observer.create(
            core_pb2.Namespace(metadata=meta_pb2.ObjectMeta(name=self._namespace))
        )
        watched_replica = (await self._follower.cluster_status()).replica_id
        self._out(
            f"writing through {', '.join(self._cluster.layout.api_addresses)}; watching on {watched_replica}"
        )
        try:
            rounds = await self._under_load(int(created.metadata.resource_version))
            stored = await self._observer.list(coordination_pb2.Lease, self._namespace)
            evidence = Evidence(
                rounds=tuple(rounds),
                acknowledged=tuple(ack for writer in self._writers for ack in writer.acknowledged),
                unanswered=tuple(write for writer in self._writers for write in writer.unanswered),
                stored=tuple(
                    StoredObject(
                        lease.metadata.name, lease.spec.holder_identity, int(lease.metadata.resource_version)
                    )
                    for lease in stored.items
                ),
                watched=tuple(self._watcher.events),
                containers_before=containers,
                containers_after=await running_containers(self._observer),
            )
        finally:
            await self._observer.delete(core_pb2.Namespace, self._namespace)
        verdict = judge(evidence)
        self._out("")
        for text in [*describe(verdict), "", "passed" if verdict.passed else "FAILED"]:
            self._out(text)
        return verdict

    async def _under_load(self, revision: int) -> list[Round]:
        """All rounds, with writers, watcher and timeline at work; returns when all of them are done."""
        async with asyncio.TaskGroup() as observers:
            watching = observers.create_task(self._watcher.run(after_revision=revision))
            printing = observers.create_task(self._timeline.run())
            async with asyncio.TaskGroup() as load:
                for writer in self._writers:
                    load.create_task(writer.run())
                try:
                    rounds = [await self._round() for _ in range(self._plan.rounds)]
                finally:
                    for writer in self._writers:
                        writer.stop()
            last = (await self._observer.list(coordination_pb2.Lease, self._namespace)).revision
            await wait_until(
                lambda: self._missing_events(last), what="the watcher", timeout=_RECOVERY_TIMEOUT
            )
            watching.cancel()
            printing.cancel()
        return rounds

    async def _round(self) -> Round:
        await asyncio.sleep(self._plan.calm)
        leader = await leader_of(self._observer, self._cluster.layout.api_addresses)
        if leader is None:
            raise UnavailableError("no replica says that it leads")
        victim = leader.replica_id
        process = self._cluster.record(victim)
        killed = self._clock.monotonic()
        self._cluster.signal(victim, signal.SIGKILL)
        self._timeline.note(f"SIGKILL to {victim}, which led (pid {process.pid if process else 'unknown'})")
        try:
            one = await self._recovery(victim, killed)
            await asyncio.sleep(self._plan.dead)
        finally:
            self._cluster.start(victim)
        self._timeline.note(f"{victim} started again")
        took = await self._await_health()
        self._timeline.note(f"{victim} has caught up, {took:.1f} s later")
        return one

    async def _recovery(self, victim: str, killed: float) -> Round:
        await wait_until(
            lambda: self._missing_write(killed), what="writes", timeout=_RECOVERY_TIMEOUT, interval=0.005
        )
        successor = await leader_of(self._observer, self._cluster.layout.api_addresses)
        one = Round(victim, killed, successor.replica_id if successor else "")
        pause = gap(one, [ack for writer in self._writers for ack in writer.acknowledged])
        self._timeline.note(f"writes go on after {pause:.3f} s; {one.successor_id or 'another'} leads")
        return one

    async def _await_health(self) -> float:
        return await wait_until(
            self._missing_health,
            what="three replicas that agree",
            timeout=_RECOVERY_TIMEOUT,
            watch=lambda: self._cluster.check_alive(REPLICA_IDS),
        )

    async def _missing_health(self) -> str:
        servers = self._cluster.layout.api_addresses
        if missing := await missing_from_control_plane(self._observer, servers):
            return missing
        statuses = (await replica_statuses(self._observer, servers)).values()
        committed = max(status.commit_index for status in statuses)
        # Under load the three answers are never of the same instant.
        behind = [
            s.replica_id for s in statuses if s.applied_index < committed - self._plan.writes_per_second
        ]
        return f"{', '.join(behind)} to catch up" if behind else ""

    async def _missing_write(self, killed: float) -> str:
        newest = max(
            (writer.acknowledged[-1].started for writer in self._writers if writer.acknowledged), default=0
        )
        return "" if newest > killed else "an acknowledged write"

    async def _missing_events(self, revision: int) -> str:
        return "" if self._watcher.revision >= revision else f"events up to revision {revision}"


async def running_containers(client: Client) -> dict[tuple[str, str], ContainerRun]:
    """Every running container of pods that are to stay, by pod uid and container name."""
    pods = (await client.list(core_pb2.Pod)).items
    return {
        (pod.metadata.uid, status.name): ContainerRun(status.container_id, status.restart_count)
        for pod in pods
        if not pod.metadata.HasField("deletion_timestamp")
        for status in pod.status.container_statuses
        if status.state.HasField("running")
    }


async def _client_of_a_follower(cluster: LocalCluster) -> Client:
    """A client that reads from a replica that does not lead. Clients choose theirs by chance."""
    while True:
        client = open_client(cluster.layout, name="watcher")
        if (await client.cluster_status()).role == "follower":
            return client
        await client.close()
