"""Joining a cluster: trades a token, once, for a certificate of this node's own, and keeps that."""

from __future__ import annotations

import logging
import random
from pathlib import Path

from h9s import pki
from h9s.client import joining
from h9s.client.retry import DEFAULT_POLICY, RetryPolicy
from h9s.clock import Clock
from h9s.config import ClientConfig
from h9s.errors import UnauthenticatedError, UsageError

logger = logging.getLogger(__name__)


def config_path(data_dir: Path) -> Path:
    """Where a joined node's configuration is kept."""
    return data_dir / "howbelet.yaml"


async def join(
    address: str,
    token_text: str,
    *,
    node_name: str,
    data_dir: Path,
    clock: Clock,
    rng: random.Random,
    retry: RetryPolicy = DEFAULT_POLICY,
) -> ClientConfig:
    """The node's client configuration, whose certificate serves for its own server too.

    A node that has joined before keeps what it has: the token is not looked at. Raises UsageError for a
    damaged token, or a data directory of another node; UnauthenticatedError where the token is not good
    (any more) or the answer does not come from the token's cluster.
    """
    path = config_path(data_dir)
    if path.exists():
        config = ClientConfig.load(path)
        _require_name(config, node_name, path)
        logger.info("this node has joined before; its certificate is in %s", path)
        return config
    token = pki.JoinToken.parse(token_text)
    key, request = pki.make_csr(node_name)
    answer = await joining.join(
        address,
        token,
        node_name=node_name,
        certificate_signing_request=request,
        clock=clock,
        rng=rng,
        retry=retry,
    )
    if answer.ca_pem.strip() != token.ca.strip():
        raise UnauthenticatedError(f"{address} belongs to another cluster than the token")
    config = ClientConfig(
        servers=tuple(answer.api_addresses), ca=answer.ca_pem, certificate=answer.certificate_pem, key=key
    )
    _require_name(config, node_name, path)
    config.save(path)
    logger.info("joined the cluster as node %s", node_name)
    return config


def _require_name(config: ClientConfig, node_name: str, path: Path) -> None:
    identity = pki.Identity.of_certificate(config.certificate)
    if identity.name != node_name:
        raise UsageError(
            f"{path} is the certificate of node {identity.name!r}, not of {node_name!r}: "
            "use that --node-name, or another --data-dir"
        )
