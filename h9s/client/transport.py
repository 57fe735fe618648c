"""The seam between the client and the wire: the calls there are, and what carries them.

Everything above this line (following the leader, retries, watches, batching) is written against
`Transport` and runs as well on a network in memory and virtual time.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from google.protobuf.message import Message

from h9s._pb import api_pb2, cluster_pb2, history_pb2
from h9s.errors import UnavailableError

Q = TypeVar("Q", bound=Message)
R = TypeVar("R", bound=Message)
Q_contra = TypeVar("Q_contra", bound=Message, contravariant=True)
R_co = TypeVar("R_co", bound=Message, covariant=True)


@dataclass(frozen=True)
class Method(Generic[Q, R]):
    """One remote procedure: its path on the wire and its two message types."""

    path: str
    request: type[Q]
    response: type[R]

    @property
    def name(self) -> str:
        """The last part of the path, for messages and metrics."""
        return self.path.rpartition("/")[2]


GET = Method("/h9s.v1.Objects/Get", api_pb2.GetRequest, api_pb2.GetResponse)
LIST = Method("/h9s.v1.Objects/List", api_pb2.ListRequest, api_pb2.ListResponse)
WATCH = Method("/h9s.v1.Objects/Watch", api_pb2.WatchRequest, api_pb2.WatchResponse)
COMMIT = Method("/h9s.v1.Objects/Commit", api_pb2.CommitRequest, api_pb2.CommitResponse)
COMMIT_STREAM = Method(
    "/h9s.v1.Objects/CommitStream", api_pb2.CommitStreamRequest, api_pb2.CommitStreamResponse
)
HEARTBEAT = Method("/h9s.v1.Nodes/Heartbeat", api_pb2.HeartbeatRequest, api_pb2.HeartbeatResponse)
LOGS = Method("/h9s.v1.Pods/Logs", api_pb2.LogsRequest, api_pb2.LogsResponse)
EXEC = Method("/h9s.v1.Pods/Exec", api_pb2.ExecRequest, api_pb2.ExecResponse)
RESOLVE = Method("/h9s.v1.History/Resolve", history_pb2.ResolveRequest, history_pb2.ResolveResponse)
REVISIONS = Method("/h9s.v1.History/Revisions", history_pb2.RevisionsRequest, history_pb2.RevisionsResponse)
DIFF = Method("/h9s.v1.History/Diff", history_pb2.DiffRequest, history_pb2.DiffResponse)
STATUS = Method("/h9s.v1.Cluster/Status", cluster_pb2.ClusterStatusRequest, cluster_pb2.ClusterStatusResponse)
CREATE_JOIN_TOKEN = Method(
    "/h9s.v1.Cluster/CreateJoinToken",
    cluster_pb2.CreateJoinTokenRequest,
    cluster_pb2.CreateJoinTokenResponse,
)
ADD_REPLICA = Method("/h9s.v1.Members/AddReplica", cluster_pb2.AddReplicaRequest, cluster_pb2.MembersResponse)
PROMOTE_REPLICA = Method(
    "/h9s.v1.Members/PromoteReplica", cluster_pb2.PromoteReplicaRequest, cluster_pb2.MembersResponse
)
REMOVE_REPLICA = Method(
    "/h9s.v1.Members/RemoveReplica", cluster_pb2.RemoveReplicaRequest, cluster_pb2.MembersResponse
)
TRANSFER_LEADERSHIP = Method(
    "/h9s.v1.Members/TransferLeadership",
    cluster_pb2.TransferLeadershipRequest,
    cluster_pb2.TransferLeadershipResponse,
)
BACKUP = Method("/h9s.v1.Cluster/Backup", cluster_pb2.BackupRequest, cluster_pb2.BackupChunk)
JOIN = Method("/h9s.v1.Join/Join", cluster_pb2.JoinRequest, cluster_pb2.JoinResponse)


class NotConnectedError(UnavailableError):
    """No connection to the server: the request was not sent, so it did nothing."""


class UntrustedServerError(NotConnectedError):
    """Who answers there cannot prove to be a server of this cluster. Nothing was sent."""


class Duplex(Protocol[Q_contra, R_co]):
    """A stream in both directions. One task may write while another reads."""

    async def write(self, request: Q_contra) -> None:
        """Send one message; returns when the transport takes the next. Raises H9sError."""
        ...

    async def done_writing(self) -> None:
        """Say that nothing more will be written."""
        ...

    async def read(self) -> R_co | None:
        """The next message; None after the last one. Raises H9sError."""
        ...

    def cancel(self) -> None:
        """Give the stream up; does nothing where it has ended."""
        ...


class Transport(Protocol):
    """Carries calls to servers, which are named by their address ("host:port").

    Raises nothing but subclasses of H9sError: the server's own, NotConnectedError where the request
    was not sent, UnavailableError where the connection broke, TimeoutExpiredError.
    """

    async def unary(self, server: str, method: Method[Q, R], request: Q, *, timeout: float) -> R:
        """One request, one answer, within `timeout` seconds."""
        ...

    def stream(self, server: str, method: Method[Q, R], request: Q) -> AsyncGenerator[R, None]:
        """One request, many answers. Closing the generator cancels the call."""
        ...

    def duplex(self, server: str, method: Method[Q, R]) -> Duplex[Q, R]:
        """Many requests, many answers."""
        ...

    async def close(self) -> None:
        """Break all connections; calls under way end with UnavailableError."""
        ...
