"""Connections to howbelets, and which of them runs a pod's container.

The apiserver shows its replica's certificate; the howbelet's must carry the name `h9s-howbelet`, so
that its address may change.
"""

from __future__ import annotations

import grpc.aio

from h9s._pb import core_pb2
from h9s.api import conditions
from h9s.client.grpc_transport import open_channel
from h9s.config import ClientConfig
from h9s.errors import InvalidError, UnavailableError
from h9s.pki import HOWBELET_NAME, Credential


class Channels:
    """One channel per address, kept open. Without a CA there is no TLS."""

    def __init__(self, *, ca: bytes, credential: Credential) -> None:
        self._config = ClientConfig(servers=(), ca=ca, certificate=credential.certificate, key=credential.key)
        self._channels: dict[str, grpc.aio.Channel] = {}

    def to(self, address: str) -> grpc.aio.Channel:
        """The channel to "host:port"; it connects when it is used."""
        channel = self._channels.get(address)
        if channel is None:
            channel = open_channel(address, self._config, target_name=HOWBELET_NAME)
            self._channels[address] = channel
        return channel

    async def close(self) -> None:
        """Close them all."""
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            await channel.close()


def choose_container(pod: core_pb2.Pod, wanted: str) -> str:
    """The container that is meant. Raises InvalidError where that is not clear."""
    names = [container.name for container in pod.spec.containers]
    if not wanted and len(names) > 1:
        raise InvalidError(f"pod {pod.metadata.name!r} has several containers, name one: {', '.join(names)}")
    if wanted and wanted not in names:
        raise InvalidError(
            f"pod {pod.metadata.name!r} has no container {wanted!r}; it has: {', '.join(names)}"
        )
    return wanted or names[0]


def require_running(pod: core_pb2.Pod, container: str) -> None:
    """Raise InvalidError, saying why, unless the container runs."""
    state = container_state(pod, container)
    if state is None or not state.HasField("running"):
        raise InvalidError(_not_running(pod, container, state))


def require_started(pod: core_pb2.Pod, container: str) -> None:
    """Raise InvalidError, saying why, unless the container has run at least once."""
    state = container_state(pod, container)
    started = state is not None and (state.HasField("running") or state.HasField("terminated"))
    has_run = any(
        status.restart_count or status.last_state.HasField("terminated")
        for status in pod.status.container_statuses
        if status.name == container
    )
    if not (started or has_run):
        raise InvalidError(_not_running(pod, container, state))


def container_state(pod: core_pb2.Pod, container: str) -> core_pb2.ContainerState | None:
    """What the pod's status says about the container."""
    for status in pod.status.container_statuses:
        if status.name == container:
            return status.state
    return None


def address_of(node: core_pb2.Node) -> str:
    """Where the node's howbelet serves. Raises UnavailableError where the node does not say."""
    port = node.status.daemon_endpoints.kubelet_endpoint.port
    for address in node.status.addresses:
        if address.type == "InternalIP" and port:
            host = f"[{address.address}]" if ":" in address.address else address.address
            return f"{host}:{port}"
    raise UnavailableError(f"node {node.metadata.name!r} has not reported where its howbelet serves")


def unreachable(node: core_pb2.Node, address: str, details: str) -> UnavailableError:
    """The error for a howbelet that does not answer."""
    ready = conditions.is_true(node.status.conditions, "Ready")
    hint = "" if ready else "; the node is not ready"
    return UnavailableError(
        f"the howbelet of node {node.metadata.name!r} at {address} cannot be reached{hint}: {details}"
    )


def _not_running(pod: core_pb2.Pod, container: str, state: core_pb2.ContainerState | None) -> str:
    subject = f"container {container!r} of pod {pod.metadata.name!r} is not running"
    if not pod.spec.node_name:
        return f"{subject}: the pod is waiting for a node"
    if state is None:
        return f"{subject}: its node has not reported it yet"
    if state.HasField("waiting"):
        reason = ": ".join(text for text in (state.waiting.reason, state.waiting.message) if text)
        return f"{subject}: it is waiting to start" + (f" ({reason})" if reason else "")
    return f"{subject}: it ended with exit code {state.terminated.exit_code}"
