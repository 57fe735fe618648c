"""Trading a token for a certificate, at a real apiserver."""

import random

import pytest

from h9s import pki
from h9s.client.retry import RetryPolicy
from h9s.clock import SystemClock
from h9s.config import ClientConfig
from h9s.errors import H9sError, UnauthenticatedError, UsageError
from h9s.kubelet.join import config_path, join
from tests.integration.apiserver.serving import CA, serving

BRIEF = RetryPolicy(attempt_timeout=2.0, deadline=3.0)


async def join_as(address, token, folder, *, name="n7"):
    return await join(
        address,
        token,
        node_name=name,
        data_dir=folder,
        clock=SystemClock(),
        rng=random.Random(),
        retry=BRIEF,
    )


async def test_a_token_buys_a_certificate_of_the_nodes_own_which_is_kept(tmp_path):
    async with serving() as cluster, cluster.client() as admin:
        token = (await admin.create_join_token()).token
        config = await join_as(cluster.join_address, token, tmp_path)
        assert pki.Identity.of_certificate(config.certificate) == pki.Identity("n7", pki.ROLE_NODE)
        assert config.ca == CA.certificate
        assert config.servers == ("10.0.0.1:7400",)
    path = config_path(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert ClientConfig.load(path) == config
    # The cluster is away and the token long spent: neither is needed any more.
    assert await join_as("127.0.0.1:1", "", tmp_path) == config


async def test_another_nodes_directory_is_not_taken_over(tmp_path):
    async with serving() as cluster, cluster.client() as admin:
        token = (await admin.create_join_token()).token
        await join_as(cluster.join_address, token, tmp_path)
        with pytest.raises(UsageError, match=r"of node 'n7', not of 'n8'"):
            await join_as(cluster.join_address, token, tmp_path, name="n8")


async def test_a_cluster_that_is_not_the_tokens_is_not_believed(tmp_path):
    stranger = pki.create_ca("stranger")
    async with serving() as cluster, cluster.client() as admin:
        issued = pki.JoinToken.parse((await admin.create_join_token()).token)
        token = pki.JoinToken(issued.id, issued.secret, stranger.certificate).format()
        with pytest.raises(H9sError):
            await join_as(cluster.join_address, token, tmp_path)
    assert not config_path(tmp_path).exists()


async def test_a_token_that_is_not_good_is_refused(tmp_path):
    async with serving() as cluster, cluster.client() as admin:
        issued = pki.JoinToken.parse((await admin.create_join_token()).token)
        token = pki.JoinToken(issued.id, "wrong", issued.ca).format()
        with pytest.raises(UnauthenticatedError):
            await join_as(cluster.join_address, token, tmp_path)
    with pytest.raises(UsageError, match="copy it whole"):
        await join_as("127.0.0.1:1", "h9s1.broken", tmp_path)
