"""The network between real replicas: one listener in front of each, and a rule per direction of each pair.

A connection's bytes are encrypted, so who dialled is asked of the kernel: which replica's process owns the
other end. A rule can hold back a direction (the connection stays, as when packets are lost), slow it down,
or break what is there.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_CHUNK_BYTES = 1 << 16
_MOST_WAITING = 64

Direction = tuple[str, str]


@dataclass
class _Rule:
    """What happens to what one replica sends to another."""

    open: asyncio.Event = field(default_factory=asyncio.Event)
    delay_seconds: float = 0.0


class ProxiedNetwork:
    """Listens in front of every replica. `pids` says which processes are whose."""

    def __init__(self, *, pids: Callable[[], Mapping[int, str]]) -> None:
        self._pids = pids
        self._rules: dict[Direction, _Rule] = {}
        self._servers: list[asyncio.Server] = []
        self._connections: dict[asyncio.Task[None], frozenset[str]] = {}
        #: Connections that were carried, and bytes.
        self.carried = 0

    async def listen(self, name: str, *, port: int, target_port: int, host: str = "127.0.0.1") -> None:
        """Carry what is dialled at `port` to the replica `name`, which listens at `target_port`."""

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            try:
                await self._carry(task, name, (host, port), (host, target_port), reader, writer)
            except (OSError, ConnectionError):
                pass
            except asyncio.CancelledError:
                # The pair's connections are broken on purpose.
                pass
            finally:
                self._connections.pop(task, None)
                writer.transport.abort()

        self._servers.append(await asyncio.start_server(accept, host, port))

    async def close(self) -> None:
        """Break everything and listen no more."""
        for server in self._servers:
            server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    # --- faults --------------------------------------------------------------------------------

    def hold(self, source: str, target: str) -> None:
        """What `source` sends does not reach `target`, until `heal`."""
        self._rule((source, target)).open.clear()

    def cut(self, first: str, second: str) -> None:
        """Nothing passes between the two, until `heal`."""
        self.hold(first, second)
        self.hold(second, first)

    def slow(self, first: str, second: str, seconds: float) -> None:
        """What passes between the two takes so much longer."""
        self._rule((first, second)).delay_seconds = seconds
        self._rule((second, first)).delay_seconds = seconds

    def reset(self, first: str, second: str) -> None:
        """Break the connections between the two; new ones are let through."""
        for task, pair in list(self._connections.items()):
            if pair == {first, second}:
                task.cancel()

    def heal(self) -> None:
        """Undo everything."""
        for rule in self._rules.values():
            rule.open.set()
            rule.delay_seconds = 0.0

    # --- carrying ------------------------------------------------------------------------------

    def _rule(self, direction: Direction) -> _Rule:
        if direction not in self._rules:
            self._rules[direction] = _Rule()
            self._rules[direction].open.set()
        return self._rules[direction]

    async def _carry(
        self,
        task: asyncio.Task[None],
        target: str,
        listener: tuple[str, int],
        address: tuple[str, int],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        source = owner_of(writer.get_extra_info("peername")[1], listener[1], self._pids())
        if not source:
            return
        self._connections[task] = frozenset((source, target))
        onward, back = await asyncio.open_connection(*address)
        self.carried += 1
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pump(reader, back, self._rule((source, target))))
                tasks.create_task(self._pump(onward, writer, self._rule((target, source))))
        except* (OSError, ConnectionError):
            pass
        finally:
            back.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rule: _Rule) -> None:
        """Carry one direction; an end of it ends both."""
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MOST_WAITING)
        loop = asyncio.get_running_loop()

        async def deliver() -> None:
            while True:
                due, data = await waiting.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                await rule.open.wait()
                writer.write(data)
                await writer.drain()

        delivering = asyncio.create_task(deliver())
        try:
            while data := await reader.read(_CHUNK_BYTES):
                await waiting.put((loop.time() + rule.delay_seconds, data))
            raise ConnectionResetError("the other side has closed")
        finally:
            delivering.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await delivering


def owner_of(port: int, peer_port: int, pids: Mapping[int, str]) -> str:
    """Whose process has the connection from `port` to `peer_port` on this machine; empty if nobody's."""
    inode = _inode(port, peer_port)
    if not inode:
        return ""
    wanted = f"socket:[{inode}]"
    for pid, name in pids.items():
        with suppress(OSError):
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    if os.readlink(f"/proc/{pid}/fd/{descriptor}") == wanted:
                        return name
    return ""


def _inode(port: int, peer_port: int) -> str:
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if (
            int(fields[1].rpartition(":")[2], 16) == port
            and int(fields[2].rpartition(":")[2], 16) == peer_port
        ):
            return fields[9]
    return ""
