"""Brings a follower up that lacks entries which its leader has dropped, with the newest snapshot, in parts.

One part is under way at a time, which also limits the rate. The follower says where the next part has
to begin, so that a transfer goes on where it stopped, on a new connection as well. Keeps invariant 5:
an install never goes back, keeps an acknowledged suffix whose boundary term matches, and is
acknowledged at exactly its index, once it is on disk.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from h9s._pb import log_pb2
from h9s.raft.configuration import Configuration
from h9s.raft.engine import Engine
from h9s.raft.errors import JournalError
from h9s.raft.membership import Membership
from h9s.raft.snapshot_files import SnapshotFiles, SnapshotInfo
from h9s.store.snapshot import StateSnapshot, decode

log = logging.getLogger(__name__)

_PART_BYTES = 256 << 10

SendFunction = Callable[[str, log_pb2.PeerMessage], bool]
#: Runs something slow where it does not hold up the event loop.
RunOffLoop = Callable[[Callable[[], object]], Awaitable[object]]


@dataclass
class _Outgoing:
    """A transfer to one follower."""

    info: SnapshotInfo
    content: memoryview
    #: When the last part was sent, and from where on.
    sent_at: float = 0.0
    offset: int = 0


@dataclass
class _Incoming:
    """What has come of a transfer from the leader."""

    info: SnapshotInfo
    size: int
    content: bytearray = field(default_factory=bytearray)


class SnapshotInstaller:
    """Both ends of the transfer for one replica."""

    def __init__(
        self,
        *,
        engine: Engine,
        files: SnapshotFiles,
        send: SendFunction,
        run_off_loop: RunOffLoop,
        restore: Callable[[StateSnapshot], None],
        membership: Membership,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        monotonic: Callable[[], float],
        patience: float,
    ) -> None:
        self._engine = engine
        self._files = files
        self._send = send
        self._run_off_loop = run_off_loop
        self._restore = restore
        self._membership = membership
        self._spawn = spawn
        self._monotonic = monotonic
        #: Seconds without an answer after which a follower is asked again.
        self._patience = patience
        self._outgoing: dict[str, _Outgoing] = {}
        self._incoming: _Incoming | None = None
        self._is_installing = False

    @property
    def is_receiving(self) -> bool:
        """This replica lacks so much that a snapshot is on its way to it."""
        return self._incoming is not None and self._incoming.info.last_index > self._engine.applied_index

    # --- the leader's end --------------------------------------------------------------------

    def needed_by(self, name: str) -> None:
        """The follower `name` lacks dropped entries: begin, or ask again if it does not answer."""
        outgoing = self._outgoing.get(name)
        if outgoing is not None:
            if self._monotonic() - outgoing.sent_at >= self._patience:
                self._send_part(name, outgoing.offset, length=0)
            return
        info = self._files.latest()
        if info is None:
            return
        log.info("sending the snapshot of index %d to replica %s", info.last_index, name)
        self._outgoing[name] = _Outgoing(info, self._files.content(info))
        self._send_part(name, 0, length=0)

    def disconnected(self, name: str) -> None:
        """The transfer starts anew, or goes on, when the follower needs it again."""
        self._outgoing.pop(name, None)

    def stop_sending(self) -> None:
        """This replica does not lead any more; whoever does will begin where the followers are."""
        self._outgoing.clear()

    def take_ack(self, name: str, ack: log_pb2.InstallAck) -> None:
        """The follower says how far it is."""
        outgoing = self._outgoing.get(name)
        if outgoing is None or ack.last_index != outgoing.info.last_index:
            return
        if ack.installed:
            del self._outgoing[name]
            self._engine.installed_on(name, ack.last_index)
        elif ack.next_offset < len(outgoing.content):
            self._send_part(name, ack.next_offset, length=_PART_BYTES)

    def _send_part(self, name: str, offset: int, *, length: int) -> None:
        outgoing = self._outgoing[name]
        outgoing.sent_at, outgoing.offset = self._monotonic(), offset
        message = log_pb2.PeerMessage(term=self._engine.term)
        install = message.install_snapshot
        install.last_index, install.last_term = outgoing.info
        install.size_bytes = len(outgoing.content)
        install.offset = offset
        install.data = bytes(outgoing.content[offset : offset + length])
        self._send(name, message)

    # --- the follower's end ------------------------------------------------------------------

    def take_part(self, name: str, install: log_pb2.InstallSnapshot) -> None:
        """A part from the leader."""
        info = SnapshotInfo(install.last_index, install.last_term)
        if info.last_index <= self._engine.applied_index:
            self._acknowledge(name, info.last_index, installed=True)
            return
        incoming = self._incoming
        if incoming is None or (incoming.info, incoming.size) != (info, install.size_bytes):
            incoming = self._incoming = _Incoming(info, install.size_bytes)
        if install.offset == len(incoming.content):
            incoming.content += install.data
        if len(incoming.content) < incoming.size:
            self._acknowledge(name, info.last_index, offset=len(incoming.content))
        elif not self._is_installing:
            self._is_installing = True
            self._spawn(self._install(name, incoming))

    async def _install(self, name: str, incoming: _Incoming) -> None:
        info, content = incoming.info, memoryview(incoming.content)
        snapshots: list[StateSnapshot] = []

        def check_and_store() -> None:
            snapshots.append(decode(self._files.parts_of(content, name=info.name)))
            self._files.store(info, content)

        try:
            try:
                await self._run_off_loop(check_and_store)
            except OSError as error:
                raise JournalError(f"the snapshot {info.name} cannot be written: {error}") from error
            if info.last_index > self._engine.applied_index:
                self._restore(snapshots[0])
                self._engine.install(info.last_index, info.last_term)
                encoded = self._files.configuration_of(content, name=info.name)
                configuration = Configuration.decode(encoded) if encoded else None
                self._membership.rebase(info.last_index, configuration, self._engine.journal)
                log.info("installed the snapshot of index %d from replica %s", info.last_index, name)
        finally:
            self._is_installing = False
            self._incoming = None
        self._acknowledge(name, info.last_index, installed=True)

    def _acknowledge(self, name: str, last_index: int, *, offset: int = 0, installed: bool = False) -> None:
        message = log_pb2.PeerMessage(term=self._engine.term)
        message.install_ack.last_index = last_index
        message.install_ack.next_offset = offset
        message.install_ack.installed = installed
        self._send(name, message)
