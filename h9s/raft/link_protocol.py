"""What consensus needs of the connections between replicas, and what it does for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from h9s.raft.versions import PeerHello


class LinkHandler(Protocol):
    """Who gets what arrives over the links."""

    def link_objection(self, replica_id: str, hello: PeerHello) -> str:
        """Why a connection to that replica is not wanted; empty if it is."""
        ...

    def link_connected(self, replica_id: str, hello: PeerHello) -> None:
        """A connection to that replica is there."""
        ...

    def link_disconnected(self, replica_id: str) -> None:
        """It is gone, and what was under way on it may be lost."""
        ...

    def link_received(self, replica_id: str, data: bytes) -> None:
        """A message, whole, in the order it was sent."""
        ...


class Links(Protocol):
    """Connections to the other replicas. Messages keep their order while a connection lasts."""

    def start(self, handler: LinkHandler) -> None:
        """Connect, and go on doing so."""
        ...

    def set_peers(self, addresses: Mapping[str, Sequence[str]]) -> None:
        """Where the others may be from now on, by id ("host:port", the likeliest first); those not named
        are not dialled."""
        ...

    def send(self, replica_id: str, data: bytes) -> bool:
        """Hand a message to the connection; False if there is none. Never blocks."""
        ...
