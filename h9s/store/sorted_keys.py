"""The sorted keys of groups: made once, then kept up to date with the changes, not sorted again.

A scan needs its group's keys in order. Sorting 100,000 keys takes some 60 ms, in which the event loop
stands still; following what the log has created and deleted takes next to nothing.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterable, Iterator

from immutables import Map

from h9s.store.model import Change, KeyValue

Group = Map[str, KeyValue]
Groups = Map[str, Group]

#: Versions of groups whose order is remembered, for pages of older versions too.
_REMEMBERED = 16
#: More changes than this are merged by sorting, which is fast where most is in order.
_FEW = 200
#: Keys that are sorted at a time.
_RUN = 4096


def sorted_in_runs(keys: Iterable[str]) -> Iterator[str]:
    """The keys in order, for another thread: one sort of very many would keep the interpreter, and with
    it the event loop, for too long."""
    unsorted = list(keys)
    runs = [sorted(unsorted[start : start + _RUN]) for start in range(0, len(unsorted), _RUN)]
    return heapq.merge(*runs) if len(runs) > 1 else iter(runs[0] if runs else [])


def group_of(key: str) -> str:
    """`/core/Pod/default/web` -> `/core/Pod/default/`."""
    return key[: key.rfind("/") + 1]


class _Followed:
    """A group's latest version, an older one's sorted keys, and what has come and gone since."""

    __slots__ = ("created", "deleted", "group", "keys")

    def __init__(self, group: Group, keys: list[str]) -> None:
        self.group = group
        self.keys = keys
        self.created: set[str] = set()
        self.deleted: set[str] = set()

    def note(self, change: Change) -> None:
        """One more change of the group."""
        if change.previous is None:
            _move(change.key, self.deleted, self.created)
        elif change.current is None:
            _move(change.key, self.created, self.deleted)

    def catch_up(self) -> list[str]:
        """The latest version's keys. A list that was given out stays as it is."""
        if self.created or self.deleted:
            self.keys = _merged(self.keys, self.created, self.deleted)
            self.created, self.deleted = set(), set()
        return self.keys


class SortedKeys:
    """The sorted keys of the groups that were scanned last."""

    def __init__(self) -> None:
        #: By the identity of a version.
        self._known: OrderedDict[int, tuple[Group, list[str]]] = OrderedDict()
        self._followed: OrderedDict[str, _Followed] = OrderedDict()
        self._latest: Groups = Map()

    def of(self, name: str, group: Group) -> list[str]:
        """The keys of the group `name` in this version, sorted."""
        known = self._known.get(id(group))
        if known is not None and known[0] is group:
            self._known.move_to_end(id(group))
            return known[1]
        followed = self._followed.get(name)
        if followed is not None and followed.group is group:
            self._followed.move_to_end(name)
            keys = followed.catch_up()
        else:
            keys = sorted(group)
            if self._latest.get(name) is group:
                self._followed[name] = _Followed(group, keys)
                if len(self._followed) > _REMEMBERED:
                    self._followed.popitem(last=False)
        self._known[id(group)] = (group, keys)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return keys

    def follow(self, groups: Groups, changes: Iterable[Change]) -> None:
        """The latest version is now `groups`, after these changes."""
        self._latest = groups
        if not self._followed:
            return
        touched = set()
        for change in changes:
            name = group_of(change.key)
            followed = self._followed.get(name)
            if followed is not None:
                followed.note(change)
                touched.add(name)
        for name in touched:
            group = groups.get(name)
            if group is None:
                del self._followed[name]
            else:
                self._followed[name].group = group


def _move(key: str, source: set[str], target: set[str]) -> None:
    if key in source:
        source.remove(key)
    else:
        target.add(key)


def _merged(keys: list[str], created: set[str], deleted: set[str]) -> list[str]:
    if len(created) + len(deleted) > _FEW:
        merged = [key for key in keys if key not in deleted] if deleted else list(keys)
        merged += sorted(created)
        merged.sort()
        return merged
    merged = list(keys)
    for key in deleted:
        del merged[bisect_left(merged, key)]
    for key in created:
        insort(merged, key)
    return merged
