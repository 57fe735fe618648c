"""Rules for what every object carries: names, labels, annotations, owners, finalizers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from h9s._pb import meta_pb2
from h9s.api import names
from h9s.api.kinds import Kind
from h9s.errors import FieldFault

Faults = list[FieldFault]

MAX_ANNOTATIONS_BYTES = 256 * 1024
REQUIRED = "required"


def metadata_faults(metadata: meta_pb2.ObjectMeta, kind: Kind) -> Faults:
    """Faults of an object's metadata, complete with name, except its revision."""
    faults: Faults = []
    if message := name_fault(kind, metadata.name) if metadata.name else "required (or generateName)":
        faults.append(FieldFault("metadata.name", message))
    if metadata.generate_name and (message := name_fault(kind, metadata.generate_name.rstrip("-") or "-")):
        faults.append(FieldFault("metadata.generateName", message))
    namespace = metadata.namespace
    if not kind.namespaced:
        if namespace:
            faults.append(FieldFault("metadata.namespace", f"a {kind.kind} belongs to no namespace"))
    elif message := names.dns_label_fault(namespace) if namespace else REQUIRED:
        faults.append(FieldFault("metadata.namespace", message))
    faults += label_and_annotation_faults(metadata, "metadata")
    faults += owner_faults(metadata)
    for index, finalizer in enumerate(metadata.finalizers):
        if message := names.label_key_fault(finalizer):
            faults.append(FieldFault(f"metadata.finalizers[{index}]", message))
    return faults


def name_fault(kind: Kind, name: str) -> str:
    """What is wrong with an object's name, or ""."""
    return names.dns_label_fault(name) if kind.kind == "Namespace" else names.dns_subdomain_fault(name)


def label_and_annotation_faults(metadata: meta_pb2.ObjectMeta, path: str) -> Faults:
    """Faults of labels and annotations; `path` is that of the metadata."""
    labels, annotations = metadata.labels, metadata.annotations
    faults = label_faults(labels, f"{path}.labels") if labels else []
    if not annotations:
        return faults
    size = 0
    for key, value in annotations.items():
        size += len(key) + len(value)
        # Upper case in the prefix is allowed here, for history's sake.
        if message := names.label_key_fault(key) and names.label_key_fault(key.lower()):
            faults.append(FieldFault(f"{path}.annotations[{key}]", message))
    if size > MAX_ANNOTATIONS_BYTES:
        message = f"{size} characters in all; at most {MAX_ANNOTATIONS_BYTES}"
        faults.append(FieldFault(f"{path}.annotations", message))
    return faults


def label_faults(labels: Mapping[str, str], path: str) -> Faults:
    """Faults of label keys and values."""
    return [
        FieldFault(f"{path}[{key}]", message)
        for key, value in labels.items()
        if (message := names.label_key_fault(key) or names.label_value_fault(value))
    ]


def owner_faults(metadata: meta_pb2.ObjectMeta) -> Faults:
    """Every owner is named completely, and at most one manages the object."""
    faults: Faults = []
    controllers = 0
    for index, owner in enumerate(metadata.owner_references):
        path = f"metadata.ownerReferences[{index}]"
        for field, value in (
            ("apiVersion", owner.api_version),
            ("kind", owner.kind),
            ("name", owner.name),
            ("uid", owner.uid),
        ):
            if not value:
                faults.append(FieldFault(f"{path}.{field}", REQUIRED))
        controllers += owner.controller
    if controllers > 1:
        faults.append(FieldFault("metadata.ownerReferences", "only one owner can be the controller"))
    return faults


def metadata_update_faults(new: meta_pb2.ObjectMeta, old: meta_pb2.ObjectMeta) -> Faults:
    """What an update may not change. What it leaves out counts as unchanged."""
    faults: Faults = []
    for field, value, before in (
        ("name", new.name, old.name),
        ("namespace", new.namespace, old.namespace),
        ("uid", new.uid, old.uid),
    ):
        if value != before and (value or field == "name"):
            faults.append(FieldFault(f"metadata.{field}", f"cannot be changed (it is {before!r})"))
    if new.HasField("creation_timestamp") and new.creation_timestamp != old.creation_timestamp:
        faults.append(FieldFault("metadata.creationTimestamp", "cannot be changed"))
    if old.HasField("deletion_timestamp"):
        if new.HasField("deletion_timestamp") and new.deletion_timestamp != old.deletion_timestamp:
            faults.append(FieldFault("metadata.deletionTimestamp", "cannot be changed"))
        added = set(new.finalizers) - set(old.finalizers)
        if added:
            message = f"{', '.join(sorted(added))} cannot be added: the object is being deleted"
            faults.append(FieldFault("metadata.finalizers", message))
    elif new.HasField("deletion_timestamp"):
        faults.append(FieldFault("metadata.deletionTimestamp", "is set by deleting the object"))
    return faults


def enum_fault(value: str, allowed: tuple[str, ...]) -> str:
    """What is wrong with a value that must be one of a few, or ""."""
    if value in allowed:
        return ""
    return f"{value!r} is none of {', '.join(allowed)}" if value else f"required: one of {', '.join(allowed)}"


def condition_faults(conditions: Iterable[meta_pb2.Condition]) -> Faults:
    """Each type once, each status one of the three."""
    faults: Faults = []
    path = "status.conditions"
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        if not condition.type:
            faults.append(FieldFault(f"{path}[{index}].type", REQUIRED))
        elif condition.type in seen:
            faults.append(FieldFault(f"{path}[{index}].type", f"{condition.type!r} is there twice"))
        seen.add(condition.type)
        if message := enum_fault(condition.status, ("True", "False", "Unknown")):
            faults.append(FieldFault(f"{path}[{index}].status", message))
    return faults
