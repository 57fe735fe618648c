"""How a machine without a certificate asks for one."""

from __future__ import annotations

import random

from h9s._pb import cluster_pb2
from h9s.client.calls import Calls
from h9s.client.grpc_transport import GrpcTransport
from h9s.client.retry import DEFAULT_POLICY, RetryPolicy
from h9s.client.servers import Servers
from h9s.client.transport import JOIN
from h9s.clock import Clock
from h9s.config import ClientConfig
from h9s.pki import JoinToken


async def join(
    address: str,
    token: JoinToken,
    *,
    node_name: str,
    certificate_signing_request: bytes,
    clock: Clock,
    rng: random.Random,
    retry: RetryPolicy = DEFAULT_POLICY,
) -> cluster_pb2.JoinResponse:
    """Trade the token for a node's certificate at a join address ("host:port").

    Trusts nothing but the CA that the token carries. Raises UnauthenticatedError or ForbiddenError
    where the token is unknown, spent or expired, TimeoutExpiredError where nobody answers.
    """
    transport = GrpcTransport(ClientConfig(servers=(address,), ca=token.ca, certificate=b"", key=b""))
    servers = Servers([address], clock=clock, rng=rng)
    calls = Calls(transport, servers, policy=retry, clock=clock, rng=rng, name="join")
    request = cluster_pb2.JoinRequest(
        token_id=token.id,
        token_secret=token.secret,
        node_name=node_name,
        certificate_signing_request_pem=certificate_signing_request,
    )
    try:
        return await calls.to_leader(JOIN, request)
    finally:
        await transport.close()
