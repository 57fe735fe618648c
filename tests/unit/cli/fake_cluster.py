"""A cluster in memory for howbectl: the client is the real one, its transport ends here."""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import AsyncGenerator, Callable
from typing import Any

from google.protobuf.message import Message

from h9s._pb import api_pb2, cluster_pb2, core_pb2
from h9s.api import defaults, validation
from h9s.api.kinds import ApiObject, kind_of
from h9s.api.objects import from_any, to_any
from h9s.client.client import Client
from h9s.client.retry import RetryPolicy
from h9s.clock import Clock
from h9s.config import ClientConfig
from h9s.errors import H9sError, InvalidError, NotFoundError
from h9s.testing.fake_api import FakeApi

START = 1_700_000_000
#: Between two steps of what happens while a watch is on: seconds, then turns of the event loop.
_PAUSE, _TURNS = 0.004, 20
_MEMBER_METHODS = frozenset({"AddReplica", "PromoteReplica", "RemoveReplica", "TransferLeadership"})


class FixedClock:
    """Wall time stands still; monotonic time is the loop's."""

    def __init__(self) -> None:
        self.now = float(START)

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


class FakeCluster(FakeApi):
    """`FakeApi` with defaults, validation, logs, exec, replicas' status and join tokens."""

    def __init__(self) -> None:
        super().__init__()
        namespace = core_pb2.Namespace()
        namespace.metadata.name = "default"
        self.put(namespace)
        #: (pod, container) -> what each stream of its log sends: bytes, or an error to break with.
        self.logs: dict[tuple[str, str], list[list[bytes | H9sError]]] = {}
        self.log_requests: list[api_pb2.LogsRequest] = []
        self.statuses: dict[str, cluster_pb2.ClusterStatusResponse] = {}
        self.exec_call: FakeExec | None = None
        self.token_ttls: list[int] = []
        #: What was asked about the members, and what is answered.
        self.member_requests: list[Message] = []
        self.replicas: list[cluster_pb2.Replica] = []
        self._script: list[Callable[[], None]] = []
        #: Called before each Commit is carried out, as another writer who is faster.
        self.before_commit: list[Callable[[], None]] = []
        #: Else deletes only set the deletionTimestamp, as they do to pods that a howbelet has to stop.
        self.deletes_at_once = True
        self.intercept = self._run_script

    def put(self, obj: ApiObject) -> None:
        """Store an object as the apiserver would."""
        defaults.set_defaults(obj)
        metadata = obj.metadata
        metadata.uid = metadata.uid or f"uid-{metadata.name}"
        if not metadata.creation_timestamp.seconds:
            metadata.creation_timestamp.seconds = START - 192
        self.objects.put(obj)
        self.notify()

    def remove(self, obj: ApiObject) -> None:
        """Delete an object."""
        self.objects.remove(obj)
        self.notify()

    def stored(self, cls: type[Any], name: str, namespace: str = "default") -> Any:
        """The object as it is, or None."""
        kind = kind_of(cls)
        found = self.objects.objects.get((kind.group, kind.kind, namespace if kind.namespaced else "", name))
        if found is None:
            return None
        message = from_any(found.value)
        message.metadata.resource_version = str(found.mod_revision)
        return message

    def while_watched(self, *steps: Callable[[], None]) -> None:
        """What happens, one after the other, once somebody watches."""
        self._script.extend(steps)

    def open(self, config: ClientConfig, *, clock: Clock, rng: random.Random, deadline: float) -> Client:
        """See `session.ClientOpener`."""
        self.notify()
        policy = RetryPolicy(deadline=deadline)
        return Client(config, clock=clock, rng=rng, retry=policy, name="howbectl", transport=self)

    def commit(self, server: str, request: api_pb2.CommitRequest) -> api_pb2.CommitResponse:
        """With the checks and defaults that every apiserver has."""
        if self.before_commit and not request.dry_run:
            self.before_commit.pop(0)()
        if not self.deletes_at_once:
            return self._start_deleting(request)
        for index, operation in enumerate(request.operations):
            if operation.HasField("object"):
                operation.object.CopyFrom(to_any(self._prepared(operation, index)))
        return super().commit(server, request)

    def _start_deleting(self, request: api_pb2.CommitRequest) -> api_pb2.CommitResponse:
        for operation in request.operations:
            leaving = self.stored(core_pb2.Pod, operation.key.name, operation.key.namespace)
            leaving.metadata.deletion_timestamp.seconds = START
            self.put(leaving)
        return api_pb2.CommitResponse(objects=[api_pb2.Object() for _ in request.operations])

    def _prepared(self, operation: api_pb2.Operation, index: int) -> ApiObject:
        message = from_any(operation.object)
        if not message.metadata.name and message.metadata.generate_name:
            message.metadata.name = f"{message.metadata.generate_name}x{self.objects.revision}"
        defaults.set_defaults(message)
        if not message.metadata.creation_timestamp.seconds:
            message.metadata.creation_timestamp.seconds = START
        checked = copy.deepcopy(message)
        if operation.verb != api_pb2.Operation.CREATE:
            checked.metadata.resource_version = ""
        faults = validation.validate_create(checked)
        if faults:
            kind = kind_of(message).kind
            listed = "; ".join(map(str, faults))
            raise InvalidError(f"{kind} {message.metadata.name!r} is invalid: {listed}", operation=index)
        return message

    async def stream(self, server: str, method: Any, request: Any) -> AsyncGenerator[Any, None]:
        """Watches, and logs."""
        if not isinstance(request, api_pb2.LogsRequest):
            async for response in super().stream(server, method, request):
                yield response
            return
        copied = api_pb2.LogsRequest()
        copied.CopyFrom(request)
        self.log_requests.append(copied)
        streams = self.logs.get((request.pod, request.container))
        if streams is None:
            raise NotFoundError(f"no log of {request.pod}/{request.container}")
        for chunk in streams.pop(0):
            if isinstance(chunk, H9sError):
                raise chunk
            yield api_pb2.LogsResponse(data=chunk)

    def duplex(self, server: str, method: Any) -> Any:
        """Exec."""
        assert self.exec_call is not None
        return self.exec_call

    def _serve(self, server: str, method: Any, request: Message) -> Message:
        if isinstance(request, cluster_pb2.ClusterStatusRequest) and server in self.statuses:
            return self.statuses[server]
        if isinstance(request, cluster_pb2.CreateJoinTokenRequest):
            self.token_ttls.append(request.ttl_seconds)
            return cluster_pb2.CreateJoinTokenResponse(
                token="h9s1.id.secret.ca", join_addresses=["127.0.0.1:1", "127.0.0.1:2"]
            )
        if method.name.rpartition("/")[2] in _MEMBER_METHODS:
            self._must_lead(server)
            self.member_requests.append(request)
            if isinstance(request, cluster_pb2.TransferLeadershipRequest):
                return cluster_pb2.TransferLeadershipResponse()
            return cluster_pb2.MembersResponse(replicas=self.replicas)
        return super()._serve(server, method, request)

    def _run_script(self, _server: str, method: str, _request: Message) -> None:
        if method == "Watch" and self._script:
            steps, self._script = self._script, []
            asyncio.get_running_loop().call_later(_PAUSE, _play, steps, _TURNS)


def _play(steps: list[Callable[[], None]], turns: int) -> None:
    """Each step a while after the one before, and after whatever that one has set off: on a busy machine
    the pause alone may be over before anything else got its turn."""
    loop = asyncio.get_running_loop()
    if turns:
        loop.call_soon(_play, steps, turns - 1)
        return
    steps[0]()
    if steps[1:]:
        loop.call_later(_PAUSE, _play, steps[1:], _TURNS)


def interrupt() -> None:
    """The user presses Ctrl-C."""
    raise KeyboardInterrupt


class FakeExec:
    """The far side of an exec: answers as it is told, keeps what it is sent."""

    def __init__(self, *answers: api_pb2.ExecResponse, after_eof: bool = False) -> None:
        self.start: api_pb2.ExecRequest.Start | None = None
        self.stdin = b""
        self.cancelled = False
        self._answers = list(answers)
        self._eof = asyncio.Event()
        self._after_eof = after_eof

    async def write(self, request: api_pb2.ExecRequest) -> None:
        match request.WhichOneof("message"):
            case "start":
                self.start = request.start
            case "stdin":
                self.stdin += request.stdin
            case "stdin_eof":
                self._eof.set()

    async def done_writing(self) -> None:
        pass

    async def read(self) -> api_pb2.ExecResponse | None:
        if self._after_eof:
            await self._eof.wait()
        return self._answers.pop(0) if self._answers else None

    def cancel(self) -> None:
        self.cancelled = True
