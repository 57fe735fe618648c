"""The three-way merge behind `apply`. Pure; works on objects as JSON-like dicts.

Three versions meet: what was applied last (`original`), what the manifest says now (`modified`) and
what the cluster has (`current`). The result is `current` with the manifest's say in it:

- what the manifest names, it decides; maps are merged, field by field;
- what the last manifest named and this one no longer does is removed;
- what no manifest ever named (replicas set by `scale`, defaults, status) stays as it is.

Lists whose items have a key (containers by name) are merged item by item; all others are replaced.
The last applied configuration is kept in an annotation, in kubectl's form, so that both tools may
take turns on one object. Semantics: Kubernetes' strategic merge patch.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

JsonMap = dict[str, Any]

#: Name of a list field -> the fields that together tell its items apart, with their defaults.
_ITEM_KEYS: dict[str, tuple[tuple[str, Any], ...]] = {
    "containers": (("name", None),),
    "initContainers": (("name", None),),
    "volumes": (("name", None),),
    "env": (("name", None),),
    "volumeMounts": (("mountPath", None),),
    "ports": (("containerPort", None), ("protocol", "TCP")),
    "ownerReferences": (("uid", None),),
}
#: Maps of which several parties own a part: a manifest that drops one gives up only its own entries.
_SHARED_MAPS = frozenset({"labels", "annotations"})
#: Lists of plain values that are merged as sets, with the same ownership.
_SET_LISTS = frozenset({"finalizers"})
#: Maps in which a manifest that names them speaks for the whole set of keys: the fields of the one
#: kind of strategy make no sense beside the type of another.
_CLOSED_MAPS = frozenset({"strategy"})


def three_way_merge(original: JsonMap, modified: JsonMap, current: JsonMap) -> JsonMap:
    """What the object shall be. The arguments are not changed, nor shared with the result."""
    return copy.deepcopy(_merge_maps(original, modified, current))


def _merge_maps(original: JsonMap, modified: JsonMap, current: JsonMap) -> JsonMap:
    merged = {key: value for key, value in current.items() if key in modified or key not in original}
    for key, value in modified.items():
        merged[key] = _merge_values(key, original.get(key), value, current.get(key))
    for key in original.keys() - modified.keys():
        rest = _what_others_own(key, original[key], current.get(key))
        if rest:
            merged[key] = rest
    return merged


def _what_others_own(field: str, original: Any, current: Any) -> Any:
    """What is left of a field that the manifest gave up."""
    if field in _SHARED_MAPS and isinstance(current, dict):
        return _merge_maps(_map(original), {}, current)
    if field in _SET_LISTS and isinstance(current, list):
        return _merge_sets(_list(original), [], current)
    return None


def _merge_values(field: str, original: Any, modified: Any, current: Any) -> Any:
    if isinstance(modified, dict) and isinstance(current, dict):
        if field in _CLOSED_MAPS:
            current = {key: value for key, value in current.items() if key in modified}
        return _merge_maps(_map(original), modified, current)
    if isinstance(modified, list) and isinstance(current, list):
        if field in _SET_LISTS:
            return _merge_sets(_list(original), modified, current)
        if field in _ITEM_KEYS:
            return _merge_items(_ITEM_KEYS[field], _list(original), modified, current)
    return modified


def _merge_sets(original: Sequence[Any], modified: Sequence[Any], current: Sequence[Any]) -> list[Any]:
    kept = [item for item in current if item in modified or item not in original]
    return kept + [item for item in modified if item not in kept]


def _merge_items(
    key_fields: Sequence[tuple[str, Any]],
    original: Sequence[Any],
    modified: Sequence[Any],
    current: Sequence[Any],
) -> list[Any]:
    try:
        before, wanted, live = (_by_key(key_fields, items) for items in (original, modified, current))
    except (KeyError, TypeError, ValueError):
        return list(modified)
    merged = {key: _merge_maps(before.get(key, {}), item, live.get(key, {})) for key, item in wanted.items()}
    foreign = {key: item for key, item in live.items() if key not in wanted and key not in before}
    order = _merge_order(list(wanted), [key for key in live if key in wanted or key in foreign])
    return [merged[key] if key in merged else foreign[key] for key in order]


def _by_key(
    key_fields: Iterable[tuple[str, Any]], items: Sequence[JsonMap]
) -> dict[tuple[Any, ...], JsonMap]:
    """Raises KeyError, TypeError or ValueError where the items cannot be told apart."""
    result = {}
    for item in items:
        key = tuple(
            item[field] if default is None else item.get(field, default) for field, default in key_fields
        )
        if key in result:
            raise ValueError(f"two items have the key {key}")
        result[key] = item
    return result


def _merge_order(wanted: Sequence[Any], live: Sequence[Any]) -> list[Any]:
    """The manifest's order; each item that only the cluster has stays behind its neighbour there.

    Order matters: a needlessly moved item would be a changed pod template, thus a rollout.
    """
    order = list(wanted)
    known = set(wanted)
    previous = None
    for key in live:
        if key not in known:
            order.insert(0 if previous is None else order.index(previous) + 1, key)
        previous = key
    return order


def _map(value: Any) -> JsonMap:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def last_applied(current: Mapping[str, Any]) -> JsonMap:
    """The configuration that was applied last; empty where there is none or it cannot be read."""
    text = _map(_map(current.get("metadata")).get("annotations")).get(LAST_APPLIED, "")
    try:
        value = json.loads(text)
    except (ValueError, TypeError):
        return {}
    return _map(value)


def with_last_applied(manifest: JsonMap) -> JsonMap:
    """The manifest, carrying itself in the annotation."""
    annotated = copy.deepcopy(manifest)
    annotations = annotated.setdefault("metadata", {}).setdefault("annotations", {})
    annotations.pop(LAST_APPLIED, None)
    annotations[LAST_APPLIED] = json.dumps(annotated, separators=(",", ":"), sort_keys=True) + "\n"
    return annotated
