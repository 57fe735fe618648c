"""Whether a history is linearizable: whether every operation can be given one instant between its call and
its answer at which, one after the other, all of them give what was answered.

The search is Wing and Gong's, with Lowe's memory of the configurations that were tried, as in Porcupine:
depth first through (which operations have had their instant, state). The history is divided by the keys that
no operation connects: each part is linearizable if and only if the whole is (Herlihy and Wing's locality).
Knows values alone, no revisions: it does not take the store's word for the order.

Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from h9s.sim.operations import Fate, Operation, Value, merge_attempts

#: Configurations after which a part of the history counts as undecided.
DEFAULT_LIMIT = 2_000_000

_State: TypeAlias = tuple[Value, ...]


@dataclass(frozen=True)
class Verdict:
    """What a search found. An undecided history is neither."""

    #: Why there is no linearization: what could not be placed; empty if there is one.
    violations: tuple[str, ...] = ()
    undecided: tuple[str, ...] = ()
    operations: int = 0
    parts: int = 0

    @property
    def holds(self) -> bool:
        """The history is linearizable."""
        return not self.violations and not self.undecided


def check(
    operations: Iterable[Operation],
    *,
    initial: Mapping[str, Value] | None = None,
    limit: int = DEFAULT_LIMIT,
) -> Verdict:
    """Search a linearization. `initial` is what keys held before the first call; others did not exist."""
    merged = merge_attempts(operations)
    violations, undecided = [], []
    parts = divide(merged)
    for part in parts:
        search = _Search(part, initial or {}, limit)
        result = search.run()
        if result is None:
            undecided.append(f"{', '.join(search.keys)}: undecided after {limit} configurations")
        elif not result:
            violations.append(search.explain())
    return Verdict(tuple(violations), tuple(undecided), len(merged), len(parts))


def divide(operations: Sequence[Operation]) -> list[list[Operation]]:
    """The history's parts: operations that share a key, or are connected by others that do."""
    leader: dict[str, str] = {}

    def find(key: str) -> str:
        leader.setdefault(key, key)
        while leader[key] != key:
            leader[key] = key = leader[leader[key]]
        return key

    for operation in operations:
        first, *others = _keys(operation) or [""]
        for other in others:
            leader[find(other)] = find(first)
    parts: dict[str, list[Operation]] = {}
    for operation in operations:
        keys = _keys(operation)
        if keys:
            parts.setdefault(find(keys[0]), []).append(operation)
    return list(parts.values())


def _keys(operation: Operation) -> list[str]:
    return list(dict.fromkeys((*operation.expected, *operation.written)))


class _Step(NamedTuple):
    """An operation with its keys replaced by their places in the state."""

    invoked: int
    returned: float
    expected: tuple[tuple[int, Value], ...]
    written: tuple[tuple[int, Value], ...]
    fate: Fate

    @property
    def can_change(self) -> bool:
        """Whether it changes some states."""
        return bool(self.written) and self.fate is not Fate.REFUSED

    def apply(self, state: _State) -> _State | None:
        """The state after it; None if it cannot have happened in this state."""
        holds = all(state[place] == value for place, value in self.expected)
        if self.fate is Fate.REFUSED:
            return None if holds else state
        if not holds:
            return state if self.fate is Fate.UNKNOWN else None
        if not self.written:
            return state
        after = list(state)
        for place, value in self.written:
            after[place] = value
        return tuple(after)


class _Configuration(NamedTuple):
    """All answered operations before `base` have had their instant, and those in `mask`, counted from
    there; of the unanswered ones those in `open_mask`."""

    base: int
    mask: int
    open_mask: int
    state: _State


@dataclass
class _Search:
    """The search through one part of a history."""

    operations: Sequence[Operation]
    initial: Mapping[str, Value]
    limit: int
    keys: list[str] = field(init=False)

    def __post_init__(self) -> None:
        keys = {key: None for operation in self.operations for key in _keys(operation)}
        self.keys = list(keys)
        places = {key: place for place, key in enumerate(self.keys)}
        ordered = sorted(self.operations, key=lambda operation: operation.invoked)
        self._answered = [one for one in ordered if one.fate is not Fate.UNKNOWN]
        self._known = [_step(one, places) for one in self._answered]
        self._open = [_step(one, places) for one in ordered if one.fate is Fate.UNKNOWN and one.written]
        self._furthest: _Configuration | None = None
        self._most_placed = -1

    def run(self) -> bool | None:
        """Whether there is a linearization; None if the limit was reached before that is known."""
        start = _Configuration(0, 0, 0, tuple(self.initial.get(key) for key in self.keys))
        seen = {start}
        stack = [self._next(start)]
        while stack:
            configuration = next(stack[-1], None)
            if configuration is None:
                stack.pop()
                continue
            if configuration in seen:
                continue
            seen.add(configuration)
            if len(seen) > self.limit:
                return None
            placed = configuration.base + configuration.mask.bit_count()
            if placed == len(self._known):
                return True
            if placed > self._most_placed:
                self._most_placed, self._furthest = placed, configuration
            stack.append(self._next(configuration))
        return not self._known

    def _next(self, configuration: _Configuration) -> Iterator[_Configuration]:
        """What may come next: only what was called before everything that is left was answered."""
        base, mask, open_mask, state = configuration
        candidates, bound = self._candidates(base, mask)
        changing = []
        for position in candidates:
            step = self._known[position]
            after = step.apply(state)
            if after is None:
                continue
            if not step.can_change:
                # It never changes anything and may happen here: nothing is lost if it does.
                yield self._place(configuration, position, state)
                return
            changing.append((step.returned, position, after))
        for _, position, after in sorted(changing, key=lambda choice: choice[:2]):
            yield self._place(configuration, position, after)
        for position, step in enumerate(self._open):
            if step.invoked >= bound:
                break
            if not open_mask >> position & 1:
                after = step.apply(state)
                if after is not None and after != state:
                    yield configuration._replace(open_mask=open_mask | 1 << position, state=after)

    def _candidates(self, base: int, mask: int) -> tuple[list[int], float]:
        """The answered operations that may come next, and the moment before which they were called."""
        bound = math.inf
        found = []
        position = base
        while position < len(self._known) and self._known[position].invoked < bound:
            if not mask >> (position - base) & 1:
                found.append(position)
                bound = min(bound, self._known[position].returned)
            position += 1
        return [position for position in found if self._known[position].invoked < bound], bound

    def _place(self, configuration: _Configuration, position: int, state: _State) -> _Configuration:
        base = configuration.base
        mask = configuration.mask | 1 << (position - base)
        while mask & 1:
            mask >>= 1
            base += 1
        return _Configuration(base, mask, configuration.open_mask, state)

    def explain(self) -> str:
        """How far the search came, and what it could not place there."""
        furthest = self._furthest
        if furthest is None:
            furthest = _Configuration(0, 0, 0, tuple(self.initial.get(key) for key in self.keys))
        candidates, _ = self._candidates(furthest.base, furthest.mask)
        stuck = "; ".join(str(self._answered[position]) for position in candidates)
        state = dict(zip(self.keys, furthest.state, strict=True))
        placed = max(self._most_placed, 0)
        return (
            f"after {placed} of {len(self._known)} operations the state is {state}, "
            f"and none of these fits: {stuck}"
        )


def _step(operation: Operation, places: Mapping[str, int]) -> _Step:
    return _Step(
        invoked=operation.invoked,
        returned=operation.returned,
        expected=tuple((places[key], value) for key, value in operation.expected.items()),
        written=tuple((places[key], value) for key, value in operation.written.items()),
        fate=operation.fate,
    )
