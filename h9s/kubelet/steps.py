"""The steps that a pod's worker can take, and the plan that is made of them. Nothing but data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

from h9s.kubelet.observed import ObservedContainer, ObservedSandbox


@dataclass(frozen=True)
class CreateSandbox:
    """Give the pod an address."""

    attempt: int


@dataclass(frozen=True)
class RemoveSandbox:
    """Kill it and take it away."""

    sandbox_id: str


@dataclass(frozen=True)
class RunContainer:
    """Have the image, make the container, start it. With `container_id`: it is made already."""

    name: str
    attempt: int
    sandbox: ObservedSandbox
    container_id: str = ""


@dataclass(frozen=True)
class TerminateContainer:
    """Ask it to end; `why` is for people."""

    container: ObservedContainer
    why: str


@dataclass(frozen=True)
class KillContainer:
    """It has had its time."""

    container: ObservedContainer


@dataclass(frozen=True)
class RemoveContainer:
    """Take away a container that does not run, and its output."""

    container_id: str


Step: TypeAlias = (
    CreateSandbox | RemoveSandbox | RunContainer | TerminateContainer | KillContainer | RemoveContainer
)


@dataclass(frozen=True)
class Waiting:
    """Why a container that should run does not, as its status shows it."""

    reason: str
    message: str = ""


def _nothing() -> Mapping[str, Waiting]:
    return MappingProxyType({})


@dataclass(frozen=True)
class Plan:
    """`steps` are independent of each other. Nothing more can happen before `wake_at` (seconds since
    1970; None: ever) or a change. `waiting` says, by container, what a wait is for."""

    steps: tuple[Step, ...] = ()
    wake_at: float | None = None
    waiting: Mapping[str, Waiting] = field(default_factory=_nothing)
    #: All that was to be done with a pod that ends is done.
    finished: bool = False


def merge(plans: Iterable[Plan]) -> Plan:
    """All of them at once; none of them is the last."""
    plans = list(plans)
    moments = [plan.wake_at for plan in plans if plan.wake_at is not None]
    waiting = {name: why for plan in plans for name, why in plan.waiting.items()}
    return Plan(tuple(step for plan in plans for step in plan.steps), min(moments, default=None), waiting)
