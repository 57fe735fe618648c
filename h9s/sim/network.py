"""A network whose faults come from outside: cuts, one-way loss, resets, slow links, ambushes.

Connections behave like TCP: messages keep their order while a connection lasts, and what is under
way when it breaks is lost. Two things are harsher than TCP, because Raft must stay safe even then:
a direction that is muted loses messages without breaking the connection; and as `datagrams`
messages overtake one another, are lost, come twice, or come a second late on another connection.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations

from h9s.raft.link_protocol import LinkHandler
from h9s.raft.versions import PeerHello

Pair = frozenset[str]

#: What a message that an ambush waits for brings about: source and target are given.
Ambush = Callable[[str, str], None]

_RECONNECT_SECONDS = 0.05
_DATAGRAM_LOSS = 0.01
_DATAGRAM_REPEAT = 0.2
_DATAGRAM_STRAY = 0.1
_STRAY_SECONDS = 1.0


class SimNetwork:
    """All connections between replicas."""

    def __init__(
        self,
        names: Sequence[str],
        *,
        rng: random.Random,
        loop: asyncio.AbstractEventLoop,
        latency: float,
        datagrams: bool = False,
    ) -> None:
        self._rng = rng
        self._loop = loop
        self._datagrams = datagrams
        self._usual_latency = latency
        #: The longest one-way delay of each pair, in seconds.
        self.latency: dict[Pair, float] = dict.fromkeys(_pairs(names), latency)
        self._names = list(names)
        self._handlers: dict[str, LinkHandler] = {}
        #: What each replica says when it connects.
        self.hellos: dict[str, PeerHello] = {name: PeerHello(peer_address=name) for name in names}
        self._epochs: dict[Pair, int] = dict.fromkeys(self.latency, 0)
        self._connected: dict[Pair, bool] = dict.fromkeys(self.latency, False)
        self._cut: dict[Pair, bool] = dict.fromkeys(self.latency, False)
        self._muted: dict[tuple[str, str], bool] = {}
        self._arrival: dict[tuple[str, str], float] = {}
        self._stalled_until: dict[str, float] = {}
        #: What waits for a replica that gets no processor time.
        self._held: dict[str, list[Callable[[], None]]] = {}
        self._ambushes: list[tuple[int, Ambush]] = []
        self.messages = 0

    # --- replicas ----------------------------------------------------------------------------

    def enroll(self, name: str, hello: PeerHello) -> None:
        """A further replica may connect with all others."""
        latency = max(self.latency.values(), default=self._usual_latency)
        for other in self._names:
            pair = frozenset((name, other))
            self.latency.setdefault(pair, latency)
            for table in (self._connected, self._cut):
                table.setdefault(pair, False)
            self._epochs.setdefault(pair, 0)
        self._names.append(name)
        self.hellos[name] = hello

    def links_of(self, name: str) -> SimLinks:
        """The links of a replica that is about to start."""
        return SimLinks(self, name)

    def attach(self, name: str, handler: LinkHandler) -> None:
        """The replica is up; connections come soon."""
        self._handlers[name] = handler
        for pair in self._pairs_of(name):
            self._reconnect_later(pair)

    def detach(self, name: str) -> None:
        """The replica is down: all its connections break."""
        self._handlers.pop(name, None)
        self._held.pop(name, None)
        for pair in self._pairs_of(name):
            self._break(pair)

    def send(self, source: str, target: str, data: bytes) -> bool:
        """Deliver later, in order, unless the connection breaks before."""
        pair = frozenset((source, target))
        if not self._connected[pair]:
            return False
        if self._muted.get((source, target)):
            return True
        self.messages += 1
        leaves = max(self._loop.time(), self._stalled_until.get(source, 0.0))
        if self._datagrams:
            for _ in range(self._copies()):
                at = leaves + self._datagram_delay(pair)
                self._loop.call_at(at, self._deliver_datagram, source, target, data, self._handlers[target])
            return True
        delay = self._rng.uniform(0.0002, self.latency[pair])
        at = max(leaves + delay, self._arrival.get((source, target), 0.0) + 1e-6)
        self._arrival[(source, target)] = at
        self._loop.call_at(at, self._deliver, source, target, data, self._epochs[pair])
        return True

    def _copies(self) -> int:
        chance = self._rng.random()
        if chance < _DATAGRAM_LOSS:
            return 0
        return 2 if chance < _DATAGRAM_LOSS + _DATAGRAM_REPEAT else 1

    def _datagram_delay(self, pair: Pair) -> float:
        stray = self._rng.random() < _DATAGRAM_STRAY
        return self._rng.uniform(0.0002, _STRAY_SECONDS if stray else self.latency[pair])

    def _deliver(self, source: str, target: str, data: bytes, epoch: int) -> None:
        handler = self._handlers.get(target)
        if handler is not None and self._epochs[frozenset((source, target))] == epoch:
            self._tell(target, partial(handler.link_received, source, data))
            self._spring_ambushes(source, target)

    def _deliver_datagram(self, source: str, target: str, data: bytes, handler: LinkHandler) -> None:
        """To the same process, whatever became of the connection."""
        if self._handlers.get(target) is handler:
            self._tell(target, partial(handler.link_received, source, data))
            self._spring_ambushes(source, target)

    def _tell(self, name: str, event: Callable[[], None]) -> None:
        if name in self._held:
            self._held[name].append(event)
        else:
            event()

    # --- faults ------------------------------------------------------------------------------

    def cut(self, first: str, second: str) -> None:
        """Nothing passes between the two until `heal`."""
        pair = frozenset((first, second))
        self._cut[pair] = True
        self._break(pair)

    def mute(self, source: str, target: str) -> None:
        """What `source` sends to `target` vanishes, while the connection stays."""
        self._muted[(source, target)] = True

    def reset(self, first: str, second: str) -> None:
        """Break the connection; it comes back soon."""
        pair = frozenset((first, second))
        self._break(pair)
        self._reconnect_later(pair)

    def stall(self, name: str, seconds: float) -> None:
        """What `name` sends leaves at the earliest after so many seconds."""
        self._stalled_until[name] = max(self._loop.time() + seconds, self._stalled_until.get(name, 0.0))

    def hold(self, name: str) -> None:
        """`name` takes nothing until `release`; what comes meanwhile waits."""
        self._held.setdefault(name, [])

    def release(self, name: str) -> None:
        """`name` takes what has come, in order."""
        for event in self._held.pop(name, []):
            event()

    def ambush(self, messages: int, act: Ambush) -> None:
        """Act as soon as so many more messages were delivered, in the middle of what they bring about."""
        self._ambushes.append((messages, act))

    def _spring_ambushes(self, source: str, target: str) -> None:
        if not self._ambushes:
            return
        due = [act for messages, act in self._ambushes if messages <= 1]
        self._ambushes = [(messages - 1, act) for messages, act in self._ambushes if messages > 1]
        for act in due:
            act(source, target)

    def heal_one(self, first: str, second: str) -> None:
        """Undo `cut` and `mute` between the two."""
        pair = frozenset((first, second))
        self._muted.pop((first, second), None)
        self._muted.pop((second, first), None)
        if self._cut[pair]:
            self._cut[pair] = False
            self._reconnect_later(pair)

    def heal(self, *, latency: float) -> None:
        """Undo everything; what is under way still comes as it would have."""
        self._ambushes.clear()
        self._datagrams = False
        for pair in self.latency:
            first, second = sorted(pair)
            self.latency[pair] = min(self.latency[pair], latency)
            self.heal_one(first, second)

    # --- connections -------------------------------------------------------------------------

    def _pairs_of(self, name: str) -> list[Pair]:
        return [frozenset((name, other)) for other in self._names if other != name]

    def _reconnect_later(self, pair: Pair) -> None:
        self._loop.call_later(self._rng.uniform(0.2, 1.0) * _RECONNECT_SECONDS, self._connect, pair)

    def _connect(self, pair: Pair) -> None:
        first, second = sorted(pair)
        if self._connected[pair] or self._cut[pair]:
            return
        if first not in self._handlers or second not in self._handlers:
            return
        for name, other in ((first, second), (second, first)):
            if self._handlers[name].link_objection(other, self.hellos[other]):
                self._reconnect_later(pair)
                return
        self._connected[pair] = True
        self._epochs[pair] += 1
        self._tell(first, partial(self._handlers[first].link_connected, second, self.hellos[second]))
        self._tell(second, partial(self._handlers[second].link_connected, first, self.hellos[first]))

    def _break(self, pair: Pair) -> None:
        if not self._connected[pair]:
            return
        self._connected[pair] = False
        self._epochs[pair] += 1
        first, second = sorted(pair)
        for name, other in ((first, second), (second, first)):
            if name in self._handlers:
                self._tell(name, partial(self._handlers[name].link_disconnected, other))


class SimLinks:
    """One replica's end of the network. Implements `h9s.raft.node.Links`."""

    def __init__(self, network: SimNetwork, name: str) -> None:
        self._network = network
        self._name = name

    def start(self, handler: LinkHandler) -> None:
        """See `Links.start`."""
        self._network.attach(self._name, handler)

    def set_peers(self, addresses: Mapping[str, Sequence[str]]) -> None:
        """See `Links.set_peers`. Here everybody finds everybody."""

    def send(self, replica_id: str, data: bytes) -> bool:
        """See `Links.send`."""
        return self._network.send(self._name, replica_id, data)


def _pairs(names: Sequence[str]) -> Iterator[Pair]:
    return (frozenset(pair) for pair in combinations(sorted(names), 2))
