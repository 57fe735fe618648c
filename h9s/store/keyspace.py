"""All keys at one revision, as a persistent map: old versions stay valid and share structure.

Keys are grouped by everything up to their last `/` (a namespace's objects of one kind), so that a
scan touches only what it returns.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

from immutables import Map, MapMutation

from h9s.store.model import Change, KeyValue
from h9s.store.sorted_keys import Group, Groups, SortedKeys, group_of

EMPTY: Groups = Map()


class KeyspaceEditor:
    """Many changes to one version, for the price of copying each touched group once."""

    __slots__ = ("_groups", "_touched")

    def __init__(self, groups: Groups) -> None:
        self._groups = groups
        self._touched: dict[str, MapMutation[str, KeyValue]] = {}

    def get(self, key: str) -> KeyValue | None:
        """The key's value, changes so far included."""
        name = key[: key.rfind("/") + 1]
        touched = self._touched.get(name)
        if touched is not None:
            return touched.get(key)
        group = self._groups.get(name)
        return None if group is None else group.get(key)

    def set(self, key: str, value: KeyValue) -> None:
        """Create or replace."""
        self._touch(key)[key] = value

    def delete(self, key: str) -> None:
        """Remove a key that exists."""
        del self._touch(key)[key]

    def finish(self) -> Groups:
        """The new version. The editor must not be used afterwards."""
        groups = self._groups
        for name, mutation in self._touched.items():
            group: Group = mutation.finish()
            groups = groups.set(name, group) if group else groups.delete(name)
        return groups

    def _touch(self, key: str) -> MapMutation[str, KeyValue]:
        name = key[: key.rfind("/") + 1]
        touched = self._touched.get(name)
        if touched is None:
            group: Group = self._groups.get(name) or Map()
            touched = self._touched[name] = group.mutate()
            if name not in self._groups:
                self._groups = self._groups.set(name, group)
        return touched


def undo(groups: Groups, changes: Iterable[Change]) -> Groups:
    """The keys as they were before `changes`, given newest first."""
    editor = KeyspaceEditor(groups)
    for change in changes:
        if change.previous is None:
            editor.delete(change.key)
        else:
            editor.set(change.key, change.previous)
    return editor.finish()


class KeyspaceView:
    """An immutable picture of the keyspace at `revision`. Implements `protocol.View`."""

    __slots__ = ("_groups", "_orders", "revision")

    def __init__(self, groups: Groups, *, revision: int, orders: SortedKeys | None = None) -> None:
        self._groups = groups
        self._orders = orders if orders is not None else SortedKeys()
        self.revision = revision

    def get(self, key: str) -> KeyValue | None:
        """See `protocol.View.get`."""
        group = self._groups.get(group_of(key))
        return None if group is None else group.get(key)

    def scan(self, prefix: str, *, after: str = "", limit: int = 0) -> list[KeyValue]:
        """See `protocol.View.scan`."""
        found: list[KeyValue] = []
        for name, group in self._groups_under(prefix, after):
            keys = self._orders.of(name, group)
            for position in range(bisect_right(keys, after) if after else 0, len(keys)):
                if keys[position].startswith(prefix):
                    found.append(group[keys[position]])
                    if limit and len(found) == limit:
                        return found
        return found

    def __iter__(self) -> Iterator[KeyValue]:
        return iter(self.scan(""))

    def __len__(self) -> int:
        return sum(len(group) for group in self._groups.values())

    def _groups_under(self, prefix: str, after: str) -> list[tuple[str, Group]]:
        exact = self._groups.get(prefix)
        if exact is not None:
            return [(prefix, exact)]
        last = group_of(after)
        names = sorted(
            name
            for name in self._groups
            # A page after many others has no use for the groups that those were of.
            if (name.startswith(prefix) or prefix.startswith(name))
            and (name >= last or last.startswith(name))
        )
        return [(name, self._groups[name]) for name in names]
