"""What a replica knows of the others beside the log: who is connected, and where they are dialled.

Identity is the id that a certificate proves. An address is only where to look: the configuration's, or
what the replica itself said last.
"""

from __future__ import annotations

from collections.abc import Mapping

from h9s.raft.link_protocol import Links
from h9s.raft.membership import Membership
from h9s.raft.versions import PeerHello


class Peers:
    """The others. `seeds` are the addresses from this replica's settings."""

    def __init__(self, *, membership: Membership, links: Links, seeds: Mapping[str, str]) -> None:
        self._membership = membership
        self._links = links
        self._seeds = dict(seeds)
        #: Of the connected ones.
        self.hellos: dict[str, PeerHello] = {}
        #: By replica: what it announced, and what the configuration said then.
        self._announced: dict[str, tuple[str, str]] = {}
        self._incarnations: dict[str, int] = {}

    def connected(self, name: str, hello: PeerHello) -> None:
        """A connection is there."""
        self.hellos[name] = hello
        if hello.peer_address:
            self._announced[name] = (hello.peer_address, self._configured(name))
            self.update()

    def disconnected(self, name: str) -> None:
        """It is gone."""
        self.hellos.pop(name, None)

    def reincarnated(self) -> set[str]:
        """Who takes part under another incarnation than when this was last asked."""
        current = {member.id: member.incarnation for member in self._membership.effective.members}
        before, self._incarnations = self._incarnations, current
        return {name for name, incarnation in current.items() if before.get(name, incarnation) != incarnation}

    def update(self) -> None:
        """Dial where the others may be: where they said, where the log says, where the settings say. All
        of them may have moved at once, while none of them ran."""
        names = [member.id for member in self._membership.effective.members]
        if self._membership.self_member is None:
            names += [name for name in self._seeds if name not in names]
        others = {name: self._places(name) for name in names if name != self._membership.replica_id}
        self._links.set_peers(others)

    def _places(self, name: str) -> tuple[str, ...]:
        announced, configured_then = self._announced.get(name, ("", ""))
        configured = self._configured(name)
        places = [announced] if configured_then == configured else []
        places += [configured, self._seeds.get(name, "")]
        return tuple(dict.fromkeys(place for place in places if place))

    def _configured(self, name: str) -> str:
        member = self._membership.effective.get(name)
        return "" if member is None else member.peer_address
