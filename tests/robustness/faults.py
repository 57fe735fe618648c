"""What goes wrong with real replicas. Every fault strikes, lasts a while, and is undone.

At most one disk is damaged at a time: two at once may lose data, and nobody promises otherwise.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from h9s.errors import H9sError, RefusedError, TimeoutExpiredError
from h9s.raft import records
from tests.robustness.replicas import CLUSTER_ID, PATIENCE_SECONDS, Replica, ReplicaError, Replicas

Act = Callable[[], Awaitable[None]]


@dataclass
class Faults:
    """Strikes at random, and counts by kind."""

    replicas: Replicas
    rng: random.Random
    counts: dict[str, int] = field(default_factory=dict)
    #: What happened, in order, for whoever has to find out why.
    trace: list[str] = field(default_factory=list)
    #: Who has lost the history of the current round together with its disk.
    lost_history: set[str] = field(default_factory=set)

    @property
    def count(self) -> int:
        """How many faults there were."""
        return sum(self.counts.values())

    def kinds(self) -> dict[str, Act]:
        """All faults by name, as often as they should come."""
        faults: dict[str, Act] = {
            "kill one": self._kill_one,
            "kill the leader": self._kill_leader,
            "kill all": self._kill_all,
            "stop one": self._stop_one,
            "pause one": self._pause_one,
            "pause the leader": self._pause_leader,
            "cut a pair": self._cut,
            "isolate the leader": self._isolate_leader,
            "isolate one": self._isolate_one,
            "mute a direction": self._mute,
            "mute the leader": self._mute_leader,
            "slow link": self._slow,
            "reset": self._reset,
            "torn tail": self._torn_tail,
            "kill in a partition": self._kill_in_partition,
            "wiped replica": self._wipe,
            "flipped byte": self._flip,
            "change of members": self._change_members,
        }
        if self._small_disks():
            faults["disk full"] = self._fill_disk
        if self.replicas.fake_clocks:
            faults["clock jump"] = self._clock_jump
        return faults

    async def strike(self) -> None:
        """One fault, from its beginning to its end, and until everything works again."""
        kinds = self.kinds()
        fewest = min(self.counts.get(name, 0) for name in kinds)
        # Every kind in its turn, in an order that the seed decides.
        name = self.rng.choice([name for name in kinds if self.counts.get(name, 0) == fewest])
        self.counts[name] = self.counts.get(name, 0) + 1
        self.note(name)
        await kinds[name]()
        await self.recover()

    async def recover(self) -> None:
        """Undo everything and wait until all replicas are up and agree on a leader."""
        self.replicas.network.heal()
        for replica in self.replicas.replicas.values():
            self.replicas.signal(replica.id, signal.SIGCONT)
            self.replicas.empty_disk(replica.id)
            if not replica.is_member:
                continue
            if replica.should_run and not replica.is_up and not replica.may_die:
                raise ReplicaError(f"{replica.id} has died by itself:\n{replica.tail()}")
            self.replicas.start(replica.id)
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while not await self.replicas.is_whole():
            if deaths := self.replicas.unexpected_deaths():
                raise ReplicaError("; ".join(deaths))
            if asyncio.get_running_loop().time() > deadline:
                statuses = await self.replicas.statuses()
                raise ReplicaError(f"no leader that all agree on after {PATIENCE_SECONDS:g} s: {statuses}")
            await asyncio.sleep(0.05)

    def note(self, what: str) -> None:
        """Remember what happened."""
        self.trace.append(f"{asyncio.get_running_loop().time():.3f} {what}")

    async def _last(self, longest: float) -> None:
        await asyncio.sleep(self.rng.uniform(0.1, longest))

    def _one(self) -> str:
        return self.rng.choice(self.replicas.running)

    async def _leader(self) -> str:
        return await self.replicas.leader() or self._one()

    def _others(self, name: str) -> list[str]:
        return [other for other in self.replicas.running if other != name]

    # --- processes -----------------------------------------------------------------------------

    async def _kill_one(self) -> None:
        await self._down(self._one())

    async def _kill_leader(self) -> None:
        await self._down(await self._leader())

    async def _kill_all(self) -> None:
        await self._down(*self.replicas.running)

    async def _down(self, *names: str) -> None:
        self.note(f"kill {' '.join(names)}")
        await self.replicas.kill(*names)
        await self._last(0.7)

    async def _stop_one(self) -> None:
        """In an orderly way."""
        await self.replicas.stop(self._one())
        await self._last(0.5)

    async def _pause_one(self) -> None:
        await self._pause(self._one())

    async def _pause_leader(self) -> None:
        await self._pause(await self._leader())

    async def _pause(self, name: str) -> None:
        self.note(f"pause {name}")
        self.replicas.signal(name, signal.SIGSTOP)
        await self._last(2.5)
        self.replicas.signal(name, signal.SIGCONT)

    # --- network -------------------------------------------------------------------------------

    async def _cut(self) -> None:
        first, second = self.rng.sample(self.replicas.running, 2)
        self.note(f"cut {first} {second}")
        self.replicas.network.cut(first, second)
        await self._last(2.0)

    async def _isolate(self, name: str) -> None:
        self.note(f"isolate {name}")
        for other in self._others(name):
            self.replicas.network.cut(name, other)
        await self._last(2.5)

    async def _isolate_leader(self) -> None:
        await self._isolate(await self._leader())

    async def _isolate_one(self) -> None:
        await self._isolate(self._one())

    async def _mute(self) -> None:
        source, target = self.rng.sample(self.replicas.running, 2)
        self.note(f"mute {source} -> {target}")
        self.replicas.network.hold(source, target)
        await self._last(2.0)

    async def _mute_leader(self) -> None:
        """It hears everybody, and nobody hears it; or the other way round."""
        leader, outward = await self._leader(), self.rng.random() < 0.5
        self.note(f"mute {leader} {'outward' if outward else 'inward'}")
        for other in self._others(leader):
            self.replicas.network.hold(*((leader, other) if outward else (other, leader)))
        await self._last(2.0)

    async def _slow(self) -> None:
        name, seconds = self._one(), self.rng.choice((0.02, 0.1, 0.3))
        self.note(f"slow {name} by {seconds}")
        for other in self._others(name):
            self.replicas.network.slow(name, other, seconds)
        await self._last(2.0)

    async def _reset(self) -> None:
        for _ in range(self.rng.choice((1, 3, 8))):
            first, second = self.rng.sample(self.replicas.running, 2)
            self.replicas.network.reset(first, second)
            await self._last(0.2)

    async def _kill_in_partition(self) -> None:
        """One is cut off, another is killed: no majority until one of the two is back."""
        leader = await self._leader()
        isolated, killed = self.rng.sample([leader, self.rng.choice(self._others(leader))], 2)
        self.note(f"isolate {isolated}, kill {killed}")
        for other in self._others(isolated):
            self.replicas.network.cut(isolated, other)
        await self._last(0.5)
        await self._down(killed)

    # --- disks ---------------------------------------------------------------------------------

    async def _torn_tail(self) -> None:
        """Power is lost while a record is written: its first bytes are there, never synced."""
        name = self._one()
        await self.replicas.kill(name)
        replica = self.replicas.replicas[name]
        segment = max((replica.data_dir / "journal").glob("journal-*.log"))
        data = segment.read_bytes()
        end = 0
        for record in records.decode_segment(data, identity=f"{CLUSTER_ID}/{name}", name=segment.name):
            end = record.end
        torn = records.encode_record(records.ENTRY, 1 << 30, 1 << 30, self.rng.randbytes(200))
        torn = torn[: self.rng.randint(1, len(torn) - 1)]
        self.note(f"torn tail of {len(torn)} bytes in {segment.name} of {name}")
        with segment.open("r+b") as file:
            file.seek(end)
            file.write(torn)

    def _small_disks(self) -> list[str]:
        everybody = self.replicas.replicas.values()
        return [replica.id for replica in everybody if replica.has_small_disk and replica.should_run]

    async def _fill_disk(self) -> None:
        """Nearly: what adds data is refused. Or altogether: the replica has to stop rather than lie."""
        name = self.rng.choice(self._small_disks())
        leave = self.rng.choice((0, 8 << 20, 48 << 20))
        self.note(f"the disk of {name} is full but for {leave >> 20} MiB")
        replica = self.replicas.replicas[name]
        replica.may_die = not leave
        self.replicas.fill_disk(name, leave_bytes=leave)
        await self._last(2.5)
        self.replicas.empty_disk(name)

    async def _wipe(self) -> None:
        """A disk is lost; the replica comes back with an empty one, and counts once it has caught up."""
        name = self._one()
        self.note(f"{name} loses its disk")
        await self.replicas.kill(name)
        self.lost_history.add(name)
        self.replicas.clear_data(name)
        self.replicas.run_program(self.replicas.replicas[name], "init", "--join")
        self.replicas.start(name)
        await self._until_voter(name)

    async def _flip(self) -> None:
        """A byte changes on the disk of a replica that is down. It must notice, and count for nothing until
        it has everything from the others; where it does not dare to decide, an administrator does."""
        name = self._one()
        replica = self.replicas.replicas[name]
        await self.replicas.stop(name)
        path, size = self.rng.choice(self._data_files(replica))
        offset = self.rng.randrange(size)
        with path.open("r+b") as file:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ 1 << self.rng.randrange(8)]))
        self.note(f"flipped a bit in {path.name} of {name}, offset {offset} of {size}")
        self.lost_history.add(name)
        self.replicas.start(name)
        replica.may_die = True
        while replica.is_up and not await self.replicas.status(name):
            await asyncio.sleep(0.05)
        if not replica.is_up:
            self.note(f"{name} refuses to start")
            if "howbe-apiserver repair" not in replica.tail():
                raise ReplicaError(f"{name} does not say how it is repaired:\n{replica.tail()}")
            self.note(self.replicas.run_program(replica, "repair").strip())
            self.replicas.start(name)
        replica.may_die = False
        await self._until_voter(name)
        shutil.rmtree(replica.data_dir / "set-aside", ignore_errors=True)

    def _data_files(self, replica: Replica) -> list[tuple[Path, int]]:
        """What a replica must not lose, and how long it is without what was only reserved."""
        files = [(path, path.stat().st_size) for path in (replica.data_dir / "snapshots").glob("snapshot-*")]
        segments = (replica.data_dir / "journal").glob("journal-*.log")
        files += [(path, self._written_bytes(replica, path)) for path in segments]
        return [(path, size) for path, size in files if size]

    def _written_bytes(self, replica: Replica, segment: Path) -> int:
        end = 0
        identity = f"{CLUSTER_ID}/{replica.id}"
        for record in records.decode_segment(segment.read_bytes(), identity=identity, name=segment.name):
            end = record.end
        return end

    # --- members -------------------------------------------------------------------------------

    async def _change_members(self) -> None:
        """One more replica learns and becomes a voter; then any of them is removed, and stops by itself."""
        spare = next((one for one in self.replicas.replicas.values() if not one.is_member), None)
        if spare is None:
            spare = await self.replicas.add(f"r{len(self.replicas.replicas) + 1}")
        new, old = spare.id, self._one()
        self.note(f"{new} is added, {old} is removed")
        self.lost_history.add(new)
        self.replicas.clear_data(new)
        self.replicas.configure(spare, members=[*self.replicas.running, new])
        self.replicas.run_program(spare, "init", "--join")
        async with self.replicas.client(self.rng) as client:
            self.replicas.start(new)
            spare.is_member = True
            host = self.replicas.peer_address(new)
            await client.members.add(new, api_address=spare.api_address, peer_address=host)
            await self._until_voter(new, promote=client.members.promote)
            gone = self.replicas.replicas[old]
            gone.should_run = gone.is_member = False
            await client.members.remove(old)
        await self.replicas.gone(old)
        if "removed" not in gone.tail():
            raise ReplicaError(f"{old} does not say why it stopped:\n{gone.tail()}")

    async def _until_voter(
        self, name: str, *, promote: Callable[[str], Awaitable[object]] | None = None
    ) -> None:
        """No second disk is to be damaged before this one counts again. Who was a voter before becomes one
        by itself; others are to be promoted once they have caught up."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while not await self.replicas.is_voter(name):
            if promote is not None:
                # Refused until it has caught up; on a busy machine there may be no answer in time either.
                with suppress(RefusedError, TimeoutExpiredError):
                    await promote(name)
            if deaths := self.replicas.unexpected_deaths():
                raise ReplicaError("; ".join(deaths))
            if asyncio.get_running_loop().time() > deadline:
                said = self.replicas.replicas[name].tail()
                raise ReplicaError(f"{name} has not caught up within {PATIENCE_SECONDS:g} s:\n{said}")
            await asyncio.sleep(0.05)

    # --- clocks --------------------------------------------------------------------------------

    async def _clock_jump(self) -> None:
        """One replica comes back with a wall clock that is off, and later with the right one again. Its
        monotonic clock is right all the time.

        Not so far back that certificates are not valid yet. The library costs a process a lot of time: no
        replica lives with it for long. Clocks that jump within a life are the simulation's.
        """
        name = await self._leader() if self.rng.random() < 0.6 else self._one()
        seconds = self.rng.choice((-300, -30, -1, 1, 30, 3600))
        self.note(f"the clock of {name} is {seconds:+} s off")
        replica = self.replicas.replicas[name]
        await self.replicas.kill(name)
        replica.clock_offset_seconds = seconds
        self.replicas.start(name)
        await asyncio.sleep(1.5)
        if self.rng.random() < 0.7:
            # It matters most where the leader's is wrong.
            async with self.replicas.client(self.rng) as client:
                with suppress(H9sError, TimeoutError):
                    async with asyncio.timeout(4.0):
                        await client.members.transfer_leadership(name)
        await self._last(2.0)
        await self.replicas.kill(name)
        replica.clock_offset_seconds = 0
