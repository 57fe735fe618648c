"""What goes wrong in a simulated life, and when: at random moments, and in the middle of things."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from h9s.sim.replicas import SimReplicas
from h9s.store.protocol import Leadership

#: How long a replica is down that comes back by itself, at most, in seconds.
_SHORT_OUTAGES = (0.01, 0.1, 0.5)
#: How likely an election is disturbed.
_ELECTION_RISK = 0.15


class FaultInjector:
    """Breaks and mends at random."""

    def __init__(self, replicas: SimReplicas, *, rng: random.Random, stormy: bool = False) -> None:
        """`stormy`: much at once, and little but what brings elections about."""
        self._replicas = replicas
        self._rng = rng
        self._is_stormy = stormy
        self._is_active = False
        self.count = 0
        replicas.on_role_change = self._role_changed

    async def run(self, *, until: float) -> None:
        """Act every now and then until the loop's time reaches `until`."""
        pace = self._rng.choice((0.05, 0.1, 0.2) if self._is_stormy else (0.2, 0.6, 1.5))
        self._is_active = True
        while True:
            await asyncio.sleep(self._rng.expovariate(1 / pace))
            if self._replicas.loop.time() >= until:
                self._is_active = False
                return
            self.count += 1
            await self._rng.choice(self._acts())()

    def _acts(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        alone = (self._crash, self._restart, self._restart, self._bounce, self._fail_disk)
        if len(self._replicas.names) == 1:
            return alone
        if self._is_stormy:
            return (
                self._bounce, self._bounce_leader, self._bounce_leader, self._restart, self._reset,
                self._pause, self._cut, self._mute, self._heal, self._heal, self._heal,
                self._power_failure, self._ambush, self._ambush, self._ambush,
            )  # fmt: skip
        return (
            *alone, self._jump_clock, self._fill_disk, self._cut, self._mute,
            self._heal, self._heal, self._heal, self._reset, self._slow_link,
            self._isolate_leader, self._crash_leader, self._crash_all, self._restart, self._slow_disk,
            self._power_failure, self._leave, self._pause, self._pause,
            self._ambush, self._ambush, self._ambush,
        )  # fmt: skip

    # --- network -----------------------------------------------------------------------------

    def _two(self) -> tuple[str, str]:
        first, second = self._rng.sample(self._replicas.names, 2)
        return first, second

    async def _cut(self) -> None:
        first, second = self._two()
        self._replicas.trace(f"cut {first} - {second}")
        self._replicas.network.cut(first, second)

    async def _mute(self) -> None:
        source, target = self._two()
        self._replicas.trace(f"mute {source} -> {target}")
        self._replicas.network.mute(source, target)

    async def _heal(self) -> None:
        first, second = self._two()
        self._replicas.network.heal_one(first, second)

    async def _reset(self) -> None:
        first, second = self._two()
        self._replicas.trace(f"reset {first} - {second}")
        self._replicas.network.reset(first, second)

    async def _slow_link(self) -> None:
        pair = frozenset(self._two())
        self._replicas.network.latency[pair] = self._rng.choice((0.001, 0.05, 0.2))

    async def _isolate_leader(self) -> None:
        for leader in self._replicas.ready_leaders():
            self._replicas.trace(f"isolate {leader}")
            for other in self._replicas.names:
                if other != leader:
                    self._replicas.network.cut(leader, other)

    # --- replicas ----------------------------------------------------------------------------

    async def _crash(self) -> None:
        if self._replicas.alive:
            await self._replicas.crash(self._rng.choice(self._replicas.alive))

    async def _leave(self) -> None:
        """The leader, if there is one, stops in an orderly way."""
        for name in self._replicas.ready_leaders() or self._replicas.alive[:1]:
            await self._replicas.leave(name)

    async def _crash_leader(self) -> None:
        for name in self._replicas.ready_leaders():
            await self._replicas.crash(name)

    async def _crash_all(self) -> None:
        if self._rng.random() < 0.3:
            for name in self._replicas.alive:
                await self._replicas.crash(name)

    async def _restart(self) -> None:
        down = [name for name in self._replicas.names if name not in self._replicas.stores]
        if down:
            await self._replicas.start(self._rng.choice(down))

    async def _bounce(self) -> None:
        if self._replicas.alive:
            self._bounce_one(self._rng.choice(self._replicas.alive))

    def _bounce_one(self, name: str) -> None:
        outage = self._rng.uniform(0.0, self._rng.choice(_SHORT_OUTAGES))
        self._replicas.crash_soon(name, down_seconds=outage)

    async def _bounce_leader(self) -> None:
        for name in self._replicas.ready_leaders():
            self._bounce_one(name)

    async def _power_failure(self) -> None:
        self._bounce_all()

    def _bounce_all(self) -> None:
        self._replicas.trace("the power fails")
        for name in self._replicas.alive:
            self._bounce_one(name)

    async def _pause(self) -> None:
        """Anybody, or the leader, who must not believe that no time has passed."""
        candidates = self._rng.choice((self._replicas.alive, self._replicas.ready_leaders()))
        if candidates:
            seconds = self._rng.choice((0.2, 1.0, 3.0))
            self._replicas.pause(self._rng.choice(candidates), seconds=self._rng.uniform(0.1, seconds))

    async def _slow_disk(self) -> None:
        name = self._rng.choice(self._replicas.names)
        self._replicas.sync_seconds[name] = self._rng.choice((0.0, 0.01, 0.1))

    async def _fail_disk(self) -> None:
        if self._replicas.alive:
            self._replicas.fail_disk(self._rng.choice(self._replicas.alive))

    async def _jump_clock(self) -> None:
        """Ahead or back, seldom by so much that request ids become too old at once."""
        seconds = self._rng.choice((-900.0, -30.0, -1.0, 0.0, 1.0, 30.0, 30.0, 900.0))
        self._replicas.set_clock(self._rng.choice(self._replicas.names), seconds_ahead=seconds)

    async def _fill_disk(self) -> None:
        name, is_full = self._rng.choice(self._replicas.names), self._rng.random() < 0.5
        self._replicas.fill_disk(name, full=is_full)

    # --- in the middle of things -------------------------------------------------------------

    async def _ambush(self) -> None:
        """Strike where a message was just taken, before what it brings about has come around."""
        act = self._rng.choice(
            (self._bounce_source, self._bounce_target, self._reset_both, self._bounce_both)
        )
        self._replicas.network.ambush(self._rng.choice((1, 3, 10, 50)), act)

    def _bounce_source(self, source: str, target: str) -> None:  # noqa: ARG002
        self._bounce_one(source)

    def _bounce_target(self, source: str, target: str) -> None:  # noqa: ARG002
        self._bounce_one(target)

    def _bounce_both(self, source: str, target: str) -> None:
        self._bounce_one(source)
        self._bounce_one(target)

    def _reset_both(self, source: str, target: str) -> None:
        self._replicas.network.reset(source, target)

    def _role_changed(self, name: str, leadership: Leadership) -> None:
        """Elections are when a replica that forgets does most harm."""
        if not self._is_active or leadership.role == "follower" or self._rng.random() >= _ELECTION_RISK:
            return
        self.count += 1
        act = self._rng.choice(
            (self._bounce_source, self._bounce_target, self._bounce_both, self._bounce_anybody)
        )
        self._replicas.trace(f"{name} is {leadership.role}: trouble comes")
        self._replicas.network.ambush(self._rng.choice((1, 1, 2, 4)), act)

    def _bounce_anybody(self, source: str, target: str) -> None:  # noqa: ARG002
        if self._rng.random() < 0.5:
            self._bounce_all()
        elif self._replicas.alive:
            self._bounce_one(self._rng.choice(self._replicas.alive))
