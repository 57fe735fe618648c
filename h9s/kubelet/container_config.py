"""From a pod's spec to what a runtime is given: references resolved, quantities turned into numbers. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from h9s._pb import core_pb2
from h9s.api import pods, quantity
from h9s.errors import InvalidError
from h9s.kubelet.observed import PodIdentity
from h9s.kubelet.runtime import ContainerConfig, PortMapping, RuntimeFailureError, SandboxConfig

#: The longest name that the kernel takes for a host.
_HOSTNAME_LIMIT = 63
#: Kubernetes' default for terminationGracePeriodSeconds.
_DEFAULT_GRACE_SECONDS = 30


class ContainerConfigError(RuntimeFailureError):
    """The container's spec refers to something that is not there; trying again may help."""

    waiting_reason = "CreateContainerConfigError"


def identity(pod: core_pb2.Pod) -> PodIdentity:
    """Which pod it is."""
    return PodIdentity(pod.metadata.uid, pod.metadata.namespace, pod.metadata.name)


def grace_seconds(pod: core_pb2.Pod) -> int:
    """How long its containers may take to end: what its deletion asked for, else what its spec says."""
    if pod.metadata.HasField("deletion_grace_period_seconds"):
        return pod.metadata.deletion_grace_period_seconds
    if pod.spec.HasField("termination_grace_period_seconds"):
        return pod.spec.termination_grace_period_seconds
    return _DEFAULT_GRACE_SECONDS


def spec_hash(container: core_pb2.Container) -> str:
    """Tells whether a running container was made from this spec."""
    return hashlib.sha256(container.SerializeToString(deterministic=True)).hexdigest()[:16]


def sandbox_config(pod: core_pb2.Pod, *, attempt: int) -> SandboxConfig:
    """The sandbox: the pod's host name, and the ports of the machine that lead into it."""
    return SandboxConfig(
        pod=identity(pod),
        attempt=attempt,
        hostname=(pod.spec.hostname or pod.metadata.name)[:_HOSTNAME_LIMIT].rstrip("-."),
        ports=tuple(
            PortMapping(port.container_port, port.host_port, port.host_ip, port.protocol or "TCP")
            for container in pod.spec.containers
            for port in container.ports
            if port.host_port
        ),
    )


def container_config(
    pod: core_pb2.Pod,
    container: core_pb2.Container,
    *,
    attempt: int,
    sandbox_id: str,
    image_id: str,
    pod_ip: str,
    host_ip: str,
) -> ContainerConfig:
    """The container. Raises ContainerConfigError on a reference or a quantity that cannot be resolved."""
    try:
        env = environment(pod, container, pod_ip=pod_ip, host_ip=host_ip)
        limits, requests = container.resources.limits, container.resources.requests
        cpu_limit = quantity.cpu_millis(limits.get("cpu") or "0")
        cpu_request = quantity.cpu_millis(requests.get("cpu") or limits.get("cpu") or "0")
        memory_limit = quantity.byte_count(limits.get("memory") or "0")
    except InvalidError as error:
        raise ContainerConfigError(f"container {container.name}: {error.message}") from error
    return ContainerConfig(
        pod=identity(pod),
        name=container.name,
        attempt=attempt,
        sandbox_id=sandbox_id,
        image=container.image,
        image_id=image_id,
        command=tuple(expand(word, env) for word in container.command),
        args=tuple(expand(word, env) for word in container.args),
        env=tuple(env.items()),
        working_dir=container.working_dir,
        cpu_limit_millis=cpu_limit,
        cpu_request_millis=cpu_request,
        memory_limit_bytes=memory_limit,
        stdin=container.stdin,
        tty=container.tty,
        spec_hash=spec_hash(container),
        grace_seconds=grace_seconds(pod),
    )


def environment(
    pod: core_pb2.Pod, container: core_pb2.Container, *, pod_ip: str, host_ip: str
) -> dict[str, str]:
    """The declared variables, in order; a value may name variables declared before it as `$(NAME)`.
    Raises InvalidError on a field that pods do not have."""
    seen = core_pb2.Pod()
    seen.CopyFrom(pod)
    seen.status.pod_ip, seen.status.host_ip = pod_ip, host_ip
    env: dict[str, str] = {}
    for variable in container.env:
        if variable.HasField("value_from"):
            env[variable.name] = pods.field_value(seen, variable.value_from.field_ref.field_path)
        else:
            env[variable.name] = expand(variable.value, env)
    return env


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace each `$(NAME)` that `env` has; leave any other as it is. `$$` stands for one `$`, so
    that `$$(NAME)` is the text `$(NAME)`."""
    return "".join(_expanded(text, env))


def _expanded(text: str, env: Mapping[str, str]) -> Iterable[str]:
    position = 0
    while (dollar := text.find("$", position)) >= 0:
        yield text[position:dollar]
        follower = text[dollar + 1 : dollar + 2]
        end = text.find(")", dollar) if follower == "(" else -1
        if follower == "$":
            yield "$"
            position = dollar + 2
        elif end >= 0:
            yield env.get(text[dollar + 2 : end], text[dollar : end + 1])
            position = end + 1
        else:
            yield "$"
            position = dollar + 1
    yield text[position:]
