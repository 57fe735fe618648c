"""The Nodes service: heartbeats to the leader."""

from __future__ import annotations

from h9s._pb import api_pb2, api_pb2_grpc
from h9s.apiserver.authorization import authorize_heartbeat
from h9s.apiserver.calls import Authenticates, Service, ServicerContext, served
from h9s.apiserver.heartbeats import NodeMonitor
from h9s.clock import Clock
from h9s.pki import Identity


class NodesService(Service, api_pb2_grpc.NodesServicer):
    """Hands heartbeats to the monitor and tells howbelets how often to beat."""

    def __init__(
        self,
        monitor: NodeMonitor,
        *,
        authenticator: Authenticates,
        clock: Clock,
        request_timeout: float,
        grace_period_ms: int,
        interval_ms: int,
    ) -> None:
        super().__init__(authenticator=authenticator, clock=clock, request_timeout=request_timeout)
        self._monitor = monitor
        self._answer = api_pb2.HeartbeatResponse(grace_period_ms=grace_period_ms, interval_ms=interval_ms)

    @served
    async def Heartbeat(
        self, request: api_pb2.HeartbeatRequest, caller: Identity, _context: ServicerContext
    ) -> api_pb2.HeartbeatResponse:
        """A node is alive. Raises NotFoundError until it has a Node object."""
        authorize_heartbeat(caller, request.node_name)
        self._monitor.beat(request.node_name)
        return self._answer
