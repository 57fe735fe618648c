"""Heartbeats, cluster status, joining, health and reflection over real gRPC."""

import dataclasses
import random

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from h9s import pki
from h9s._pb import api_pb2, api_pb2_grpc, cluster_pb2, cluster_pb2_grpc, core_pb2, log_pb2
from h9s.api import conditions
from h9s.client import join
from h9s.client.grpc_transport import error_of_call, open_channel
from h9s.client.retry import RetryPolicy
from h9s.config import ClientConfig
from h9s.errors import (
    AlreadyExistsError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnauthenticatedError,
)
from tests.integration.apiserver.serving import CA, CLOCK, Serving, serving, until
from tests.unit.apiserver.support import NODE_1, node


async def unary(call):
    """The answer, or the server's own error."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise error_of_call(error, "server") from None


async def test_a_node_is_ready_while_it_beats():
    async with (
        serving(node_grace_period_ms=400, node_heartbeat_ms=100) as api,
        api.client("n1", pki.ROLE_NODE) as client,
        api.channel("n1", pki.ROLE_NODE) as channel,
    ):
        stub = api_pb2_grpc.NodesStub(channel)
        request = api_pb2.HeartbeatRequest(node_name="n1")
        with pytest.raises(NotFoundError):
            await unary(stub.Heartbeat(request))
        await client.create(node("n1"))
        answer = await unary(stub.Heartbeat(request))
        assert (answer.grace_period_ms, answer.interval_ms) == (400, 100)
        await until(lambda: ready(api) == "True")
        await until(lambda: ready(api) == "Unknown")
        with pytest.raises(ForbiddenError):
            await unary(stub.Heartbeat(api_pb2.HeartbeatRequest(node_name="n2")))


def ready(api: Serving) -> str:
    found = api.store.view().get("/core/Node//n1")
    assert found is not None
    condition = conditions.get(core_pb2.Node.FromString(found.value).status.conditions, "Ready")
    return condition.status if condition else ""


async def test_status_tells_what_the_replica_knows():
    async with serving() as api, api.channel() as channel:
        status = await cluster_pb2_grpc.ClusterStub(channel).Status(cluster_pb2.ClusterStatusRequest())
        assert (status.cluster_id, status.replica_id, status.role) == ("test", "r1", "leader")
        assert status.revision == api.store.revision
        assert status.version


class TestJoining:
    async def token(self, api, **fields):
        async with api.channel() as channel:
            request = cluster_pb2.CreateJoinTokenRequest(**fields)
            response = await unary(cluster_pb2_grpc.ClusterStub(channel).CreateJoinToken(request))
        assert list(response.join_addresses) == ["10.0.0.1:7403"]
        return pki.JoinToken.parse(response.token)

    async def join(self, api, token, name="n1", *, csr=None):
        key, request = pki.make_csr("whatever")
        response = await join(
            api.join_address,
            token,
            node_name=name,
            certificate_signing_request=csr or request,
            clock=CLOCK,
            rng=random.Random(),
            retry=RetryPolicy(deadline=5),
        )
        return key, response

    async def test_a_token_is_traded_for_a_certificate_that_works(self):
        async with serving() as api:
            token = await self.token(api)
            assert token.ca.strip() == CA.certificate.strip()
            key, response = await self.join(api, token)
            assert pki.Identity.of_certificate(response.certificate_pem) == NODE_1
            assert list(response.api_addresses) == ["10.0.0.1:7400"]
            config = ClientConfig(
                servers=(api.address,), ca=response.ca_pem, certificate=response.certificate_pem, key=key
            )
            async with open_channel(api.address, config) as channel:
                request = api_pb2.GetRequest(key=api_pb2.ObjectKey(kind="Namespace", name="default"))
                await api_pb2_grpc.ObjectsStub(channel).Get(request)

    async def test_a_wrong_secret_is_refused(self):
        async with serving() as api:
            token = await self.token(api)
            with pytest.raises(UnauthenticatedError, match="not known here"):
                await self.join(api, dataclasses.replace(token, secret="0" * 40))

    async def test_an_expired_token_is_refused_and_removed_by_the_next(self):
        async with serving() as api:
            token = await self.token(api)
            key = f"/h9s.io/JoinToken//{token.id}"
            found = api.store.view().get(key)
            assert found is not None
            stored = cluster_pb2.JoinToken.FromString(found.value)
            stored.spec.expires_at.seconds = int(CLOCK.wall()) - 1
            mutation = log_pb2.Mutation(key=key, value=stored.SerializeToString())
            await api.store.apply(log_pb2.Transaction(mutations=[mutation]))
            with pytest.raises(UnauthenticatedError, match="expired"):
                await self.join(api, token)
            await self.token(api)
            assert api.store.view().get(key) is None

    async def test_the_secret_is_not_stored(self):
        async with serving() as api:
            token = await self.token(api)
            stored = api.store.view().get(f"/h9s.io/JoinToken//{token.id}")
            assert stored is not None
            assert token.secret.encode() not in stored.value

    async def test_bad_requests_are_named(self):
        async with serving() as api:
            token = await self.token(api)
            with pytest.raises(InvalidError, match=r"metadata\.name"):
                await self.join(api, token, "Bad_Name")
            with pytest.raises(InvalidError, match="certificate signing request"):
                await self.join(api, token, csr=b"nonsense")
            with pytest.raises(InvalidError, match="ttlSeconds"):
                await self.token(api, ttl_seconds=-1)

    async def test_a_machine_may_join_again_once_its_node_is_silent(self):
        async with serving(node_grace_period_ms=300) as api, api.client() as client, api.channel() as channel:
            token = await self.token(api)
            await client.create(node("n1"))
            await api_pb2_grpc.NodesStub(channel).Heartbeat(api_pb2.HeartbeatRequest(node_name="n1"))
            await until(lambda: ready(api) == "True")
            with pytest.raises(AlreadyExistsError, match="ready"):
                await self.join(api, token)
            await until(lambda: ready(api) == "Unknown")
            await self.join(api, token)

    async def test_only_an_admin_makes_tokens(self):
        async with serving() as api, api.channel("c", pki.ROLE_COMPONENT) as channel:
            with pytest.raises(ForbiddenError):
                await unary(
                    cluster_pb2_grpc.ClusterStub(channel).CreateJoinToken(
                        cluster_pb2.CreateJoinTokenRequest()
                    )
                )

    async def test_the_join_port_serves_nothing_else(self):
        async with serving() as api:
            config = ClientConfig(servers=(), ca=CA.certificate, certificate=b"", key=b"")
            async with open_channel(api.join_address, config) as channel:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await api_pb2_grpc.ObjectsStub(channel).Get(api_pb2.GetRequest(), timeout=5)
                assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_health_is_told():
    async with serving() as api, api.channel() as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", "h9s.v1.Objects"):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_services_can_be_listed_by_reflection():
    async with serving() as api, api.channel() as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        answer = await call.read()
        names = {service.name for service in answer.list_services_response.service}
        assert {"h9s.v1.Objects", "h9s.v1.Nodes", "h9s.v1.Pods", "h9s.v1.Cluster"} <= names
        call.cancel()
