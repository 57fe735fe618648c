"""One apiserver put together: the services on their ports, and the loops behind them.

Knows the store only by its protocol; `__main__` brings the replicated one.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypedDict

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from h9s._pb import api_pb2, api_pb2_grpc, cluster_pb2, cluster_pb2_grpc, history_pb2, history_pb2_grpc
from h9s.apiserver.authentication import Authenticator
from h9s.apiserver.bootstrap import create_system_namespaces
from h9s.apiserver.calls import Authenticates
from h9s.apiserver.committer import BulkStore, Committer
from h9s.apiserver.heartbeats import NodeMonitor
from h9s.apiserver.howbelets import Channels
from h9s.apiserver.join import JoinService
from h9s.apiserver.listeners import Listeners
from h9s.apiserver.service_cluster import ClusterService
from h9s.apiserver.service_history import HistoryService
from h9s.apiserver.service_members import Administers, MembersService
from h9s.apiserver.service_nodes import NodesService
from h9s.apiserver.service_objects import ObjectsService
from h9s.apiserver.service_pods import PodsService
from h9s.apiserver.settings import PkiSettings, Settings
from h9s.apiserver.watch_hub import WatchHub
from h9s.client.grpc_transport import SERVER_OPTIONS
from h9s.clock import Clock
from h9s.pki import Credential, read_pem

logger = logging.getLogger(__name__)

#: The largest message taken, in bytes: several of the largest commits, as a CommitStream sends them.
_MAX_REQUEST_BYTES = 8 * 1024 * 1024
_OPTIONS = (
    *(option for option in SERVER_OPTIONS if option[0] != "grpc.max_receive_message_length"),
    ("grpc.max_receive_message_length", _MAX_REQUEST_BYTES),
)
#: How long calls under way get when the server stops; watches never end by themselves.
_STOP_GRACE_SECONDS = 0.2
_API = api_pb2.DESCRIPTOR.services_by_name
_HISTORY = history_pb2.DESCRIPTOR.services_by_name
_CLUSTER = cluster_pb2.DESCRIPTOR.services_by_name
_REFLECTED = (
    *(service.full_name for service in (*_API.values(), *_HISTORY.values())),
    *(_CLUSTER[name].full_name for name in ("Cluster", "Members")),
    health.SERVICE_NAME,
    reflection.SERVICE_NAME,
)


@dataclass(frozen=True)
class Pki:
    """What the server proves itself with (`credential`) and signs the certificates of nodes with (`ca`)."""

    ca: Credential
    credential: Credential

    @classmethod
    def load(cls, settings: PkiSettings) -> Pki:
        """Read the files. Raises UsageError."""
        return cls(
            ca=Credential(certificate=read_pem(settings.ca), key=read_pem(settings.ca_key)),
            credential=Credential.load(settings.certificate, settings.key),
        )

    def server_credentials(self, *, mutual: bool) -> grpc.ServerCredentials:
        """TLS for a port; `mutual`: callers need a certificate of the CA too."""
        return grpc.ssl_server_credentials(
            [(self.credential.key, self.credential.certificate)],
            root_certificates=self.ca.certificate if mutual else None,
            require_client_auth=mutual,
        )


class _Common(TypedDict):
    authenticator: Authenticates
    clock: Clock
    request_timeout: float


class ApiServer:
    """The services of one replica. `run` serves until it is cancelled."""

    def __init__(
        self,
        store: BulkStore,
        *,
        settings: Settings,
        pki: Pki,
        clock: Clock,
        rng: random.Random,
        administration: Administers | None = None,
    ) -> None:
        timings = settings.timings
        self._store = store
        self._settings = settings
        self._pki = pki
        self._clock = clock
        self._rng = rng
        self._administration = administration
        # Uids are no secrets: a generator of our own costs less than the system's.
        self._committer = Committer(store, clock=clock, rng=random.Random(rng.getrandbits(256)))
        self._hub = WatchHub(store, bookmark_seconds=timings.bookmark_ms / 1000)
        self._monitor = NodeMonitor(
            store, committer=self._committer, clock=clock, grace_period=timings.node_grace_period_ms / 1000
        )
        self._channels = Channels(ca=pki.ca.certificate, credential=pki.credential)
        self._health = health.aio.HealthServicer()
        #: Where it listens once it runs; differs from the settings where those say port 0.
        self.api_port = 0
        self.join_port = 0

    async def run(self, *, on_started: Callable[[], None] = lambda: None) -> None:
        """Serve; `on_started` is called when the ports are open. Raises UsageError if one is taken."""
        servers = [self._api_server()]
        if self._settings.join_address:
            servers.append(self._join_server())
        try:
            for server in servers:
                await server.start()
            logger.info("serving the API on port %d", self.api_port)
            on_started()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._hub.run(), name="watch-hub")
                tasks.create_task(self._monitor.run(), name="node-monitor")
                tasks.create_task(self._report_health(), name="health")
                tasks.create_task(
                    create_system_namespaces(self._store, self._committer), name="system-namespaces"
                )
        finally:
            await asyncio.gather(*(server.stop(grace=_STOP_GRACE_SECONDS) for server in servers))
            await self._channels.close()

    def _api_server(self) -> Listeners:
        services = self._services()

        def add_services(server: grpc.aio.Server) -> None:
            for add, service in services:
                add(service, server)
            reflection.enable_server_reflection(_REFLECTED, server)

        server = Listeners(
            self._settings.api_address,
            field="apiAddress",
            credentials=self._pki.server_credentials(mutual=True),
            options=_OPTIONS,
            add_services=add_services,
        )
        self.api_port = server.port
        return server

    def _join_server(self) -> Listeners:
        service = JoinService(
            self._store,
            ca=self._pki.ca,
            api_addresses=[replica.api_address for replica in self._settings.replicas],
            clock=self._clock,
            request_timeout=self._settings.timings.request_timeout_ms / 1000,
        )
        server = Listeners(
            self._settings.join_address,
            field="joinAddress",
            credentials=self._pki.server_credentials(mutual=False),
            options=_OPTIONS,
            add_services=partial(cluster_pb2_grpc.add_JoinServicer_to_server, service),
            servers=1,
        )
        self.join_port = server.port
        return server

    def _services(self) -> list[tuple[Callable[[Any, grpc.aio.Server], None], object]]:
        """The services, each with the function that adds it to a server."""
        timings = self._settings.timings
        common = _Common(
            authenticator=Authenticator(),
            clock=self._clock,
            request_timeout=timings.request_timeout_ms / 1000,
        )
        objects = ObjectsService(self._store, committer=self._committer, hub=self._hub, **common)
        nodes = NodesService(
            self._monitor,
            grace_period_ms=timings.node_grace_period_ms,
            interval_ms=timings.node_heartbeat_ms,
            **common,
        )
        pods = PodsService(self._store, channels=self._channels, **common)
        history = HistoryService(self._store, **common)
        cluster = ClusterService(
            self._store,
            committer=self._committer,
            hub=self._hub,
            cluster_id=self._settings.cluster_id,
            ca_pem=self._pki.ca.certificate,
            join_addresses=[r.join_address for r in self._settings.replicas if r.join_address],
            rng=self._rng,
            **common,
        )
        members = MembersService(self._store, administration=self._administration, **common)
        return [
            (cluster_pb2_grpc.add_MembersServicer_to_server, members),
            (api_pb2_grpc.add_ObjectsServicer_to_server, objects),
            (api_pb2_grpc.add_NodesServicer_to_server, nodes),
            (api_pb2_grpc.add_PodsServicer_to_server, pods),
            (history_pb2_grpc.add_HistoryServicer_to_server, history),
            (cluster_pb2_grpc.add_ClusterServicer_to_server, cluster),
            (health_pb2_grpc.add_HealthServicer_to_server, self._health),
        ]

    async def _report_health(self) -> None:
        """The server serves; the Objects service also needs to know of a leader."""
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)
        while True:
            led = bool(self._store.leadership().leader_id)
            serving = health_pb2.HealthCheckResponse.SERVING
            status = serving if led else health_pb2.HealthCheckResponse.NOT_SERVING
            await self._health.set(_API["Objects"].full_name, status)
            await asyncio.sleep(0.5)
