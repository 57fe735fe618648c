"""Rules about members that can be switched off; see `mutations`.

That acknowledgements count for the life that gave them, that requests are for one life alone, and that a
configuration is taken back with its entry, takes too rare a schedule: `tests/unit/raft/test_membership.py`
has those.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from h9s.raft.configuration import Configuration
from h9s.raft.engine import Engine
from h9s.raft.membership import PREFIX, Membership
from h9s.raft.reconfiguration import Reconfiguration
from h9s.sim.disk import SimDisk
from h9s.sim.past_checks import SimArchive
from h9s.sim.replicas import SimReplicas
from tests.robustness.mutations import mutation


@mutation("changes of members wait for one another", is_slow=True)
def _several_changes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Reconfiguration, "_is_settled", property(lambda self: True))


@mutation("a replica that lost its disk is somebody else", is_slow=True)
def _same_self(patch: pytest.MonkeyPatch) -> None:
    async def wipe(self: SimReplicas, name: str) -> None:
        if name in self.stores:
            await self.crash(name)
        self._disks[name] = SimDisk(self._rng, on_sync=partial(self._synced, name))
        self._archives[name] = SimArchive(self._disks[name])
        await self.start(name)

    patch.setattr(SimReplicas, "wipe", wipe)


@mutation("a voter that lost its data learns before it votes")
def _voter_at_once(patch: pytest.MonkeyPatch) -> None:
    def with_incarnation(self: Configuration, replica_id: str, incarnation: int) -> Configuration:
        return self._with(replace(self._member(replica_id), incarnation=incarnation))

    patch.setattr(Configuration, "with_incarnation", with_incarnation)


@mutation("what a former life acknowledged is forgotten", seeds=200, is_slow=True)
def _remembered(patch: pytest.MonkeyPatch) -> None:
    configure = Engine.configure

    def remembering(self: Engine, *, renewed: Any = (), **others: Any) -> None:
        configure(self, **others)

    patch.setattr(Engine, "configure", remembering)


@mutation("a configuration counts from when it is appended", is_slow=True)
def _without_effect(patch: pytest.MonkeyPatch) -> None:
    def appended(self: Membership, index: int, command: bytes) -> None:
        if command[:1] == PREFIX:
            self._stack.append((index, Configuration.decode(command[1:])))

    patch.setattr(Membership, "appended", appended)


@mutation("learners count nowhere", seeds=200, is_slow=True)
def _learners_count(patch: pytest.MonkeyPatch) -> None:
    configure = Engine.configure

    def counting(self: Engine, *, voters: Any, learners: Any, renewed: Any = ()) -> None:
        configure(self, voters={*voters, *learners}, learners=(), renewed=renewed)

    patch.setattr(Engine, "configure", counting)
