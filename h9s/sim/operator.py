"""Somebody who changes the members in the middle of everything, and loses disks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from h9s.errors import H9sError
from h9s.raft.administration import Administration
from h9s.sim.replicas import SimReplicas

#: In seconds, for one request.
_PATIENCE = 1.0
_MOST_REPLICAS = 6
#: How often, and how many times, it is looked whether a replica may lose its disk.
_LOOK_INTERVAL = 0.1
_LOOKS = 20


class SimOperator:
    """Acts at random. At most one replica at a time is without its data."""

    def __init__(self, replicas: SimReplicas, *, rng: random.Random) -> None:
        self._replicas = replicas
        self._rng = rng
        #: Of the members that were, the newest.
        self._last = len(replicas.names)
        self.is_on_duty = rng.random() < 0.5
        self.count = 0
        #: How many requests were answered well.
        self.done = 0

    async def run(self, *, until: float) -> None:
        """Act every now and then until the loop's time reaches `until`."""
        pace = self._rng.choice((0.3, 1.0, 2.0))
        while self.is_on_duty:
            await asyncio.sleep(self._rng.expovariate(1 / pace))
            if self._replicas.loop.time() >= until:
                return
            self.count += 1
            await self._rng.choice(self._acts())()

    def _acts(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        return (
            self._add, self._add, self._promote, self._promote, self._promote, self._remove, self._transfer,
            self._wipe, self._wipe, self._move, self._cut_off, self._cut_off,
        )  # fmt: skip

    async def _ask(self, what: str, request: Callable[[Administration], Awaitable[None]]) -> None:
        """Whoever believes to lead."""
        leaders = self._replicas.ready_leaders()
        if not leaders:
            return
        leader = self._rng.choice(leaders)
        self._replicas.trace(f"the operator asks {leader}: {what}")
        try:
            await request(self._replicas.stores[leader].administration)
        except H9sError as error:
            self._replicas.trace(f"{leader} answers: {error.message}")
        else:
            self.done += 1

    def _anybody(self) -> str:
        return self._rng.choice(self._replicas.names)

    async def _add(self) -> None:
        """A new replica, or one of those that were not added yet."""
        if len(self._replicas.names) < _MOST_REPLICAS:
            self._last += 1
            name = f"r{self._last}"
            self._replicas.enroll(name)
            await self._replicas.start(name)
        else:
            name = self._replicas.names[-1]
        await self._ask(
            f"add {name}",
            lambda cluster: cluster.add(name, api_address=name, peer_address=name, timeout=_PATIENCE),
        )

    async def _promote(self) -> None:
        """One that learns, soon after it may have caught up."""
        leaders = self._replicas.ready_leaders()
        learners = self._replicas.stores[leaders[0]].membership.effective.learners if leaders else ()
        if learners:
            name = self._rng.choice(learners)
            await self._ask(f"promote {name}", lambda cluster: cluster.promote(name, timeout=_PATIENCE))

    async def _remove(self) -> None:
        # With one disk lost and one member fewer there may be no majority left: that is not promised.
        if len(self._replicas.names) > 2 and self._replicas.all_have_their_data:
            name = self._anybody()
            self._replicas.dismissed.add(name)
            await self._ask(f"remove {name}", lambda cluster: cluster.remove(name, timeout=_PATIENCE))

    async def _transfer(self) -> None:
        name = self._rng.choice(("", self._anybody()))
        await self._ask(f"transfer to {name or 'anybody'}", lambda cluster: cluster.transfer(name))

    async def _wipe(self) -> None:
        """One that the others can do without, as soon as they can."""
        name = self._anybody()
        for _ in range(_LOOKS):
            if name in self._replicas.names and self._replicas.may_lose(name):
                await self._replicas.wipe(name)
                return
            await asyncio.sleep(_LOOK_INTERVAL)

    async def _cut_off(self) -> None:
        """The leader changes something that few or nobody hears of, and another takes over meanwhile."""
        leaders = self._replicas.ready_leaders()
        if len(leaders) != 1 or len(self._replicas.names) < 3:
            return
        leader = leaders[0]
        others = [name for name in self._replicas.names if name != leader]
        deaf = self._rng.sample(others, self._rng.randint(len(others) - 1, len(others)))
        for name in deaf:
            self._replicas.network.mute(leader, name)
        await self._rng.choice((self._add, self._remove, self._promote))()
        await asyncio.sleep(self._rng.uniform(0.0, 2.0))
        for name in deaf:
            self._replicas.network.heal_one(leader, name)

    async def _move(self) -> None:
        """A new address; it shows with the next connection."""
        name = self._anybody()
        hello = self._replicas.network.hellos[name]
        self._replicas.network.hellos[name] = hello._replace(peer_address=f"{name}:{self.count}")
        if name in self._replicas.stores:
            self._replicas.crash_soon(name, down_seconds=self._rng.uniform(0.0, 0.5))
