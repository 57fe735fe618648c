"""Between plain JSON values and messages: protobuf's JSON mapping, the way Kubernetes writes it.

It differs from protobuf's own in that 64-bit integers are numbers, int-or-string values are bare,
quantities may be numbers, and null means absent; and in that every fault is found and named by its
path. Knows messages by their descriptors alone, and so all kinds, present and future.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from h9s._pb import meta_pb2
from h9s.api import quantity
from h9s.api.kinds import suggestion
from h9s.api.yaml_text import MarkedDict
from h9s.errors import InvalidError

_INTEGERS = frozenset({FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64})
#: Maps whose values may be given as numbers.
_QUANTITIES = frozenset(
    {
        "h9s.v1.ResourceRequirements.limits",
        "h9s.v1.ResourceRequirements.requests",
        "h9s.v1.NodeStatus.capacity",
        "h9s.v1.NodeStatus.allocatable",
    }
)
#: Fields that Kubernetes writes even where they are empty, so that scripts can rely on them.
_ALWAYS_WRITTEN = frozenset(
    {
        "h9s.v1.ContainerStatus.ready",
        "h9s.v1.ContainerStatus.restart_count",
        "h9s.v1.ContainerStatus.image",
        "h9s.v1.ContainerStatus.image_id",
        "h9s.v1.ContainerStateTerminated.exit_code",
        "h9s.v1.ReplicaSetStatus.replicas",
    }
)


class ReadFault(NamedTuple):
    """What is wrong with a value, at which path, and on which line of the text it came from (or 0)."""

    path: str
    message: str
    line: int


def read(message: Message, value: dict[str, Any], *, ignore: frozenset[str] = frozenset()) -> list[ReadFault]:
    """Fill an empty message from a JSON object, but for the keys to ignore. Returns all faults; if
    there are any, the message is incomplete."""
    reader = _Reader()
    reader.fill(message, value, "", 0, ignore)
    return reader.faults


def write(message: Message) -> dict[str, Any]:
    """The JSON object of a message: fields in the order of the contract, unset ones left out."""
    written = dict(message.ListFields())
    return {
        field.json_name: _plain(field, written[field]) if field in written else field.default_value
        for field in message.DESCRIPTOR.fields
        if field in written or field.full_name in _ALWAYS_WRITTEN
    }


@lru_cache(maxsize=512)
def _fields(descriptor: Descriptor) -> dict[str, FieldDescriptor]:
    return {field.json_name: field for field in descriptor.fields}


def _plain(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is None:
        return list(value) if field.is_repeated else value
    if field.message_type.GetOptions().map_entry:
        return {key: value[key] for key in sorted(value)}
    if field.is_repeated:
        return [_plain_message(item) for item in value]
    return _plain_message(value)


def _plain_message(message: Message) -> Any:
    if isinstance(message, Timestamp):
        return message.ToJsonString()
    if isinstance(message, meta_pb2.IntOrString):
        return message.string_value if message.WhichOneof("value") == "string_value" else message.int_value
    return write(message)


class _Reader:
    """One pass over a value, collecting faults. Every method has the value's path and line."""

    def __init__(self) -> None:
        self.faults: list[ReadFault] = []

    def fault(self, path: str, line: int, message: str) -> None:
        self.faults.append(ReadFault(path, message, line))

    def fill(
        self, message: Message, value: Any, path: str, line: int, ignore: frozenset[str] = frozenset()
    ) -> None:
        if isinstance(message, Timestamp):
            self.fill_time(message, value, path, line)
        elif isinstance(message, meta_pb2.IntOrString):
            self.fill_int_or_string(message, value, path, line)
        elif isinstance(value, dict):
            message.SetInParent()
            fields = _fields(message.DESCRIPTOR)
            for name, item in value.items():
                if name in ignore:
                    continue
                item_path, item_line, text = _place(path, line, value, name)
                field = fields.get(name)
                if field is None:
                    hint = suggestion(str(name), fields)
                    self.fault(item_path, item_line, f"unknown field{hint}")
                elif item is not None:
                    self.fill_field(message, field, item, item_path, item_line, text)
        else:
            self.fault(path, line, f"expected an object, got {_described(value)}")

    def fill_field(
        self, message: Message, field: FieldDescriptor, value: Any, path: str, line: int, text: str
    ) -> None:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            self.fill_map(getattr(message, field.name), field, value, path, line, text)
        elif field.is_repeated:
            if not isinstance(value, list):
                self.fault(path, line, f"expected a list, got {_described(value, text)}")
                return
            container = getattr(message, field.name)
            for index, item in enumerate(value):
                item_path = f"{path}[{index}]"
                item_line = item.line if isinstance(item, MarkedDict) else line
                if field.message_type is not None:
                    self.fill(container.add(), item, item_path, item_line)
                elif (scalar := self.scalar(field, item, item_path, item_line, "")) is not None:
                    self.assign(container.append, scalar, item_path, item_line)
        elif field.message_type is not None:
            self.fill(getattr(message, field.name), value, path, line)
        elif (scalar := self.scalar(field, value, path, line, text)) is not None:
            self.assign(lambda checked: setattr(message, field.name, checked), scalar, path, line)

    def fill_map(
        self, entries: Any, field: FieldDescriptor, value: Any, path: str, line: int, text: str
    ) -> None:
        if not isinstance(value, dict):
            self.fault(path, line, f"expected an object, got {_described(value, text)}")
            return
        value_field = _fields(cast(Descriptor, field.message_type))["value"]
        for key, item in value.items():
            _, item_line, item_text = _place(path, line, value, key)
            item_path = f"{path}[{key}]"
            if field.full_name in _QUANTITIES and _is_number(item):
                item = self.quantity(item, item_path, item_line)
            if item is None:
                continue
            if (scalar := self.scalar(value_field, item, item_path, item_line, item_text)) is not None:
                self.assign(
                    lambda checked, key=key: entries.update({key: checked}), scalar, item_path, item_line
                )

    def fill_time(self, message: Timestamp, value: Any, path: str, line: int) -> None:
        expected = "expected a time such as '2024-05-01T10:00:00Z'"
        if not isinstance(value, str):
            self.fault(path, line, f"{expected}, got {_described(value)}")
            return
        try:
            message.FromJsonString(value)
            message.SetInParent()
        except ValueError:
            self.fault(path, line, f"{expected}, got {_described(value)}")

    def fill_int_or_string(self, message: meta_pb2.IntOrString, value: Any, path: str, line: int) -> None:
        if isinstance(value, str):
            self.assign(lambda checked: setattr(message, "string_value", checked), value, path, line)
        elif _is_whole(value):
            self.assign(lambda checked: setattr(message, "int_value", checked), int(value), path, line)
        else:
            self.fault(path, line, f"expected an integer or a string, got {_described(value)}")

    def quantity(self, value: float, path: str, line: int) -> str | None:
        try:
            return quantity.canonical(repr(value))
        except InvalidError as error:
            self.fault(path, line, error.message)
            return None

    def scalar(self, field: FieldDescriptor, value: Any, path: str, line: int, text: str) -> Any:
        """The value as the field's type, or None with a fault."""
        got = _described(value, text)
        if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
            if isinstance(value, str):
                return value
            hint = " (quote it)" if isinstance(value, bool) or _is_number(value) else ""
            self.fault(path, line, f"expected a string, got {got}{hint}")
        elif field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
            if isinstance(value, bool):
                return value
            hint = " (remove the quotes)" if value in ("true", "false") else ""
            self.fault(path, line, f"expected true or false, got {got}{hint}")
        elif field.cpp_type in _INTEGERS:
            if _is_whole(value):
                return int(value)
            hint = " (remove the quotes)" if isinstance(value, str) and value.isdecimal() else ""
            self.fault(path, line, f"expected an integer, got {got}{hint}")
        else:
            raise TypeError(f"{field.full_name}: no JSON mapping for a field of type {field.type}")
        return None

    def assign(self, setter: Any, value: Any, path: str, line: int) -> None:
        """Let protobuf check the range of a number and the encoding of a string."""
        try:
            setter(value)
        except ValueError:
            self.fault(
                path,
                line,
                f"{_described(value)} is out of range" if _is_number(value) else "not Unicode text",
            )


def _place(path: str, line: int, mapping: dict[str, Any], name: str) -> tuple[str, int, str]:
    """(path, line, text) of a mapping's value."""
    item_path = f"{path}.{name}" if path else str(name)
    if isinstance(mapping, MarkedDict) and name in mapping.marks:
        mark = mapping.marks[name]
        return item_path, mark.line, mark.text
    return item_path, line, ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return _is_number(value) and bool(value == value // 1)


def _described(value: Any, text: str = "") -> str:
    """What was given, for `expected ..., got ...`; `text` is how it was written, if known."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"the boolean {text or str(value).lower()}"
    if _is_number(value):
        return f"the number {_shortened(text or str(value))}"
    if isinstance(value, str):
        return f"the string {_shortened(value)!r}"
    return "an object" if isinstance(value, dict) else "a list" if isinstance(value, list) else repr(value)


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
