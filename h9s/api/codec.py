"""Manifests: what users write about objects, and what they are shown, as YAML or JSON.

Reading checks structure only (kinds, field names, types); whether the values make sense is for
`validation`, which runs where objects are accepted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from h9s.api import json_mapping, yaml_text
from h9s.api.json_mapping import ReadFault
from h9s.api.kinds import ApiObject, Kind, kind_of, kinds_named, suggestion, unknown_kind
from h9s.errors import FieldFault, InvalidError

_TYPE_FIELDS = frozenset({"apiVersion", "kind"})


def load_manifests(text: str, *, source: str = "") -> list[ApiObject]:
    """All objects of a text with any number of YAML or JSON documents, those in a `kind: List` too.

    `source` (a file's name) is for errors. Raises InvalidError naming every fault with source, line
    and path: `web.yaml:12: spec.replica: unknown field, did you mean 'replicas'?`
    """
    objects: list[ApiObject] = []
    faults: list[ReadFault] = []
    for document in yaml_text.documents(text, source=source):
        if document is not None:
            _read(document, "", 0, objects, faults)
    _refuse(faults, source)
    return objects


def from_dict(value: dict[str, Any]) -> ApiObject:
    """The object of one manifest in JSON's types. Raises InvalidError with all faults."""
    objects: list[ApiObject] = []
    faults: list[ReadFault] = []
    if value.get("kind") == "List":
        faults.append(ReadFault("kind", "expected one object, got a List", 0))
    else:
        _read(value, "", 0, objects, faults)
    _refuse(faults, "")
    return objects[0]


def to_dict(message: ApiObject) -> dict[str, Any]:
    """The manifest of an object in JSON's types: apiVersion and kind first, then metadata, spec, status."""
    kind = kind_of(message)
    return {"apiVersion": kind.api_version, "kind": kind.kind, **json_mapping.write(message)}


def list_to_dict(messages: Sequence[ApiObject]) -> dict[str, Any]:
    """One manifest of kind List that holds all of them."""
    return {"apiVersion": "v1", "kind": "List", "items": [to_dict(message) for message in messages]}


def to_yaml(message: ApiObject | Sequence[ApiObject]) -> str:
    """The YAML manifest of an object, or of a List for several; ends with a newline."""
    return yaml_text.dump(_manifest(message))


def to_json(message: ApiObject | Sequence[ApiObject]) -> str:
    """The JSON manifest of an object, or of a List for several; ends with a newline."""
    return json.dumps(_manifest(message), indent=4, ensure_ascii=False) + "\n"


def _manifest(message: ApiObject | Sequence[ApiObject]) -> dict[str, Any]:
    return list_to_dict(message) if isinstance(message, Sequence) else to_dict(message)


def _read(document: Any, path: str, line: int, objects: list[ApiObject], faults: list[ReadFault]) -> None:
    """Add a document's objects, or its faults, to what there is."""
    if not isinstance(document, dict):
        faults.append(ReadFault(path, "expected an object with a 'kind'", line))
        return
    if document.get("kind") == "List":
        _read_list(document, path, objects, faults)
        return
    found = _kind(document)
    if isinstance(found, Kind):
        message = found.message()
        found_faults = json_mapping.read(message, document, ignore=_TYPE_FIELDS)
        objects.append(message)
    else:
        found_faults = [found]
    prefix = f"{path}." if path else ""
    faults.extend(fault._replace(path=prefix + fault.path) for fault in found_faults)


def _read_list(
    document: dict[str, Any], path: str, objects: list[ApiObject], faults: list[ReadFault]
) -> None:
    prefix = f"{path}." if path else ""
    known = (*_TYPE_FIELDS, "metadata", "items")
    for name in document:
        if name not in known:
            message = f"unknown field{suggestion(name, known)}"
            faults.append(ReadFault(prefix + name, message, _line(document, name)))
    items, line = document.get("items"), _line(document, "items")
    if items is None:
        return
    if not isinstance(items, list):
        faults.append(ReadFault(f"{prefix}items", "expected a list", line))
        return
    for index, item in enumerate(items):
        _read(item, f"{prefix}items[{index}]", line, objects, faults)


def _kind(document: dict[str, Any]) -> Kind | ReadFault:
    name, api_version = document.get("kind"), document.get("apiVersion")
    if not isinstance(name, str) or not name:
        line = _line(document, "kind") or getattr(document, "line", 0)
        return ReadFault("kind", "required: which kind of object is this?", line)
    candidates = kinds_named(name)
    if not candidates:
        return ReadFault("kind", unknown_kind(name), _line(document, "kind"))
    served = " or ".join(repr(kind.api_version) for kind in candidates)
    if api_version is None:
        if len(candidates) == 1:
            return candidates[0]
        return ReadFault("apiVersion", f"required: {name} may be {served}", _line(document, "kind"))
    for kind in candidates:
        if kind.api_version == api_version:
            return kind
    return ReadFault(
        "apiVersion", f"{api_version!r} has no kind {name}: write {served}", _line(document, "apiVersion")
    )


def _line(document: dict[str, Any], name: str) -> int:
    marks = getattr(document, "marks", {})
    return marks[name].line if name in marks else 0


def _refuse(faults: Sequence[ReadFault], source: str) -> None:
    if faults:
        texts = [yaml_text.location(source, f.line) + str(FieldFault(f.path, f.message)) for f in faults]
        raise InvalidError("\n".join(texts), faults=[FieldFault(f.path, f.message) for f in faults])
