"""What h9s writes on its containers, so that a restarted howbelet finds them, and only its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from h9s.kubelet.observed import PodIdentity
from h9s.kubelet.runtime import ContainerConfig, SandboxConfig

CLUSTER = "h9s.cluster"
NODE = "h9s.node"
#: `sandbox` or `container`.
ROLE = "h9s.role"
POD_UID = "h9s.pod.uid"
POD_NAMESPACE = "h9s.pod.namespace"
POD_NAME = "h9s.pod.name"
CONTAINER = "h9s.container"
ATTEMPT = "h9s.attempt"
SPEC_HASH = "h9s.spec-hash"
GRACE_SECONDS = "h9s.grace-seconds"
SANDBOX_ID = "h9s.sandbox-id"

SANDBOX_ROLE = "sandbox"
CONTAINER_ROLE = "container"


@dataclass(frozen=True)
class Owner:
    """Whose containers they are: several clusters, and several nodes of each, may share one engine."""

    cluster: str
    node: str

    def filters(self, **further: str) -> list[str]:
        """As the engine's label filter takes them."""
        wanted = {CLUSTER: self.cluster, NODE: self.node, **further}
        return [f"{label}={value}" for label, value in wanted.items()]

    def pod_filters(self, pod_uid: str) -> list[str]:
        """The same for one pod."""
        return self.filters(**{POD_UID: pod_uid})

    def of_sandbox(self, config: SandboxConfig) -> dict[str, str]:
        """The labels of a sandbox."""
        return {**self._of_pod(config.pod), ROLE: SANDBOX_ROLE, ATTEMPT: str(config.attempt)}

    def of_container(self, config: ContainerConfig) -> dict[str, str]:
        """The labels of a container."""
        return {
            **self._of_pod(config.pod),
            ROLE: CONTAINER_ROLE,
            CONTAINER: config.name,
            ATTEMPT: str(config.attempt),
            SPEC_HASH: config.spec_hash,
            GRACE_SECONDS: str(config.grace_seconds),
            SANDBOX_ID: config.sandbox_id,
        }

    def _of_pod(self, pod: PodIdentity) -> dict[str, str]:
        return {
            CLUSTER: self.cluster,
            NODE: self.node,
            POD_UID: pod.uid,
            POD_NAMESPACE: pod.namespace,
            POD_NAME: pod.name,
        }


def pod_identity(labels: Mapping[str, str]) -> PodIdentity:
    """Which pod a container is of."""
    return PodIdentity(labels[POD_UID], labels.get(POD_NAMESPACE, ""), labels.get(POD_NAME, ""))


def container_name(pod: PodIdentity, name: str, attempt: int) -> str:
    """The engine's name for it. It holds the attempt: a repeated creation meets the first one."""
    return f"h9s_{name}_{pod.name}_{pod.namespace}_{pod.uid[:8]}_{attempt}"


def sandbox_name(pod: PodIdentity, attempt: int) -> str:
    """The same for the sandbox; no container can be named in capitals."""
    return container_name(pod, "POD", attempt)
