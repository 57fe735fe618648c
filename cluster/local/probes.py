"""Questions to a running cluster. Each gives "" when all is well, else what is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from cluster.local.layout import HOST
from h9s._pb import apps_pb2, cluster_pb2, core_pb2
from h9s.api.pods import is_ready
from h9s.client.client import Client
from h9s.errors import H9sError, NotFoundError

_ASK_TIMEOUT = 2.0
_HTTP_TIMEOUT = 2.0


async def replica_statuses(
    client: Client, servers: Collection[str]
) -> dict[str, cluster_pb2.ClusterStatusResponse]:
    """What each replica says of itself, by address; those that do not answer are left out."""

    async def ask(server: str) -> cluster_pb2.ClusterStatusResponse | None:
        try:
            return await client.cluster_status(server, timeout=_ASK_TIMEOUT)
        except H9sError:
            return None

    answers = await asyncio.gather(*(ask(server) for server in servers))
    return {server: answer for server, answer in zip(servers, answers, strict=True) if answer is not None}


async def leader_of(client: Client, servers: Collection[str]) -> cluster_pb2.ClusterStatusResponse | None:
    """The replica that leads, of those that say so the one of the highest term."""
    statuses = (await replica_statuses(client, servers)).values()
    leaders = [status for status in statuses if status.role == "leader"]
    return max(leaders, key=lambda status: status.term, default=None)


async def missing_from_control_plane(client: Client, servers: Collection[str]) -> str:
    """Whether all replicas answer and agree on their leader."""
    statuses = await replica_statuses(client, servers)
    silent = [server for server in servers if server not in statuses]
    if silent:
        return f"an answer from {', '.join(silent)}"
    leaders = {(status.leader_id, status.term) for status in statuses.values()}
    if len(leaders) != 1 or not next(iter(leaders))[0]:
        return "a leader that all replicas agree on"
    return ""


async def missing_howbelets(ports: Mapping[str, int]) -> str:
    """Whether the howbelets of these nodes listen on their ports. A node's condition says what was so
    before a restart until somebody finds otherwise; a howbelet that listens has come up since."""
    for name, port in ports.items():
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            return f"the howbelet of {name} to listen"
        writer.close()
    return ""


async def missing_nodes(client: Client, names: Sequence[str]) -> str:
    """Whether these nodes are Ready."""
    try:
        nodes = (await client.list(core_pb2.Node)).items
    except H9sError as error:
        return error.message
    ready = {
        node.metadata.name
        for node in nodes
        if any(
            condition.type == "Ready" and condition.status == "True" for condition in node.status.conditions
        )
    }
    waiting = [name for name in names if name not in ready]
    return f"node {', '.join(waiting)} to be ready" if waiting else ""


@dataclass(frozen=True)
class PodAnswer:
    """What a pod said over HTTP. `fault` is "" if it answered."""

    pod: str
    node: str
    address: str
    text: str
    fault: str


async def deployment_pods(client: Client, name: str, namespace: str = "default") -> list[core_pb2.Pod]:
    """The live pods of a Deployment, by its selector's labels."""
    deployment = await client.get(apps_pb2.Deployment, name, namespace)
    labels = deployment.spec.selector.match_labels
    selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    pods = (await client.list(core_pb2.Pod, namespace, label_selector=selector)).items
    return [pod for pod in pods if not pod.metadata.HasField("deletion_timestamp")]


async def missing_replicas(client: Client, name: str, namespace: str = "default") -> str:
    """Whether a Deployment has as many ready pods as it wants, of its current template."""
    try:
        deployment = await client.get(apps_pb2.Deployment, name, namespace)
    except NotFoundError:
        return f"deployment {name}"
    desired = deployment.spec.replicas
    status = deployment.status
    if status.observed_generation < deployment.metadata.generation:
        return f"the controller to see deployment {name}"
    if status.ready_replicas < desired or status.updated_replicas < desired or status.replicas > desired:
        return f"{desired} pods of {name} ({status.ready_replicas} are ready)"
    return ""


async def ask_pods(pods: Collection[core_pb2.Pod], port: int) -> list[PodAnswer]:
    """Ask pods over HTTP at their own addresses, all at once."""

    async def ask(pod: core_pb2.Pod) -> PodAnswer:
        address = f"{pod.status.pod_ip}:{port}"
        text, fault = "", ""
        if not (is_ready(pod) and pod.status.pod_ip):
            fault = "not ready"
        else:
            try:
                text = await fetch(pod.status.pod_ip, port)
            except (OSError, TimeoutError, ValueError) as error:
                fault = str(error) or type(error).__name__
        return PodAnswer(pod.metadata.name, pod.spec.node_name, address, text, fault)

    return list(await asyncio.gather(*(ask(pod) for pod in pods)))


async def fetch(host: str, port: int, path: str = "/") -> str:
    """The body of an HTTP answer. Raises OSError, TimeoutError; ValueError if the status is not 200."""
    async with asyncio.timeout(_HTTP_TIMEOUT):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(f"GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
            answer = await reader.read()
        finally:
            writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(maxsplit=2)
    if len(words) < 2 or words[1] != b"200":
        raise ValueError(f"answered {head[:40]!r}")
    return body.decode(errors="replace").strip()
