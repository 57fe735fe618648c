"""Hypothesis strategies that make any message of the API from its descriptor, for property tests."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import strategies as st

from h9s.api.kinds import KINDS, ApiObject, Kind

#: What protobuf's strings can hold: everything but half a surrogate pair.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
#: Texts that YAML readers like to take for something else.
TRICKY = """
yes no on off null ~ 1 1.0 1e3 08 0x1f 1_0 12:30 2024-01-01 2024-01-01T00:00:00Z .inf = << - ! & * # % [ { ' "
"""
SPACED = [
    "",
    " a",
    "a ",
    "a\nb",
    "a\n",
    "\n",
    " a\nb",
    "a\n b",
    "a: b",
    "a #b",
    "\t",
    "\ufeff",
    "\x85",
    "\u2028",
]
strings = texts | st.sampled_from(TRICKY.split() + SPACED)
INT_BOUNDS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
}


def scalars(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return strings
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    low, high = INT_BOUNDS[field.cpp_type]
    return st.integers(low, high)


def values(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.message_type is None:
        return st.lists(scalars(field), max_size=2) if field.is_repeated else scalars(field)
    if field.message_type.GetOptions().map_entry:
        return st.dictionaries(strings, strings, max_size=3)
    one = messages(field.message_type)
    return st.lists(one, max_size=2) if field.is_repeated else one


def messages(descriptor: Descriptor) -> st.SearchStrategy[Message]:
    cls = GetMessageClass(descriptor)
    if cls is Timestamp:
        instants = st.integers(-(10**10), 2 * 10**11)
        return st.builds(Timestamp, seconds=instants, nanos=st.integers(0, 999_999_999))
    if descriptor.full_name == "h9s.v1.IntOrString":
        numbers = st.builds(cls, int_value=st.integers(-(2**31), 2**31 - 1))
        return numbers | st.builds(cls, string_value=strings)
    fields = {field.name: values(field) for field in descriptor.fields}
    return st.fixed_dictionaries({}, optional=fields).map(lambda chosen: cls(**chosen))


def objects_of(kind: Kind) -> st.SearchStrategy[ApiObject]:
    return messages(kind.message.DESCRIPTOR)  # type: ignore[return-value]


any_objects = st.sampled_from(KINDS).flatmap(objects_of)
