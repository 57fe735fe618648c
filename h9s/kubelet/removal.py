"""Taking every pod of a node away without asking the control plane: before a node is given up."""

from __future__ import annotations

import asyncio
import logging

from h9s.clock import Clock
from h9s.kubelet.observed import ObservedPod
from h9s.kubelet.runtime import GoneError, Runtime

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.05


async def remove_all_pods(runtime: Runtime, *, clock: Clock, longest_grace: float) -> int:
    """Stop and remove every pod that the runtime has of this node; gives how many there were.

    Containers get their own grace period, but no more than `longest_grace` seconds. Raises
    RuntimeFailureError.
    """
    everything = await runtime.observe_all()
    await asyncio.gather(*(_remove(runtime, pod, clock, longest_grace) for pod in everything.values()))
    return len(everything)


async def _remove(runtime: Runtime, pod: ObservedPod, clock: Clock, longest_grace: float) -> None:
    logger.info("removing pod %s", pod.identity)
    for container in pod.running:
        await _terminate(runtime, container.id)
    graces = [min(container.grace_seconds, longest_grace) for container in pod.running]
    deadline = clock.monotonic() + max(graces, default=0.0)
    # There is nobody to be told by: this may be a runtime that only looks when asked.
    while clock.monotonic() < deadline and (await runtime.observe(pod.identity.uid)).running:  # noqa: ASYNC110
        await asyncio.sleep(_POLL_SECONDS)
    for container in pod.containers:
        await runtime.remove_container(container.id)
    for sandbox in pod.sandboxes:
        await runtime.remove_sandbox(sandbox.id)


async def _terminate(runtime: Runtime, container_id: str) -> None:
    try:
        await runtime.terminate_container(container_id)
    except GoneError:
        return
