"""Field selectors: queries by an object's own fields, `spec.nodeName=n1,status.phase!=Running`.

Any scalar field outside lists and maps can be asked for, by the path it has in manifests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from google.protobuf.descriptor import Descriptor

from h9s.api.kinds import ApiObject, Kind, suggestion
from h9s.errors import InvalidError

_TERM = re.compile(r"\s*([A-Za-z0-9.]+)\s*(==|=|!=)\s*((?:[^\\,=]|\\[\\,=])*?)\s*(,|\Z)")
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True)
class FieldRequirement:
    """One field must have this value, or must not."""

    path: str
    equal: bool
    value: str

    def __str__(self) -> str:
        value = re.sub(r"([\\,=])", r"\\\1", self.value)
        return f"{self.path}{'=' if self.equal else '!='}{value}"


@dataclass(frozen=True)
class FieldSelector:
    """A conjunction of requirements; without any it selects everything."""

    requirements: tuple[FieldRequirement, ...] = ()

    @classmethod
    def parse(cls, text: str) -> FieldSelector:
        """A backslash before `,`, `=` or itself takes it literally. Raises InvalidError with the place
        where the text cannot be understood."""
        requirements: list[FieldRequirement] = []
        position = 0
        more = bool(text.strip())
        while more:
            match = _TERM.match(text, position)
            if not match:
                raise InvalidError(f"field selector {text!r}: cannot understand {text[position:].strip()!r}")
            path, operator, value, end = match.groups()
            requirements.append(FieldRequirement(path, operator != "!=", _ESCAPED.sub(r"\1", value)))
            position, more = match.end(), end == ","
        return cls(tuple(requirements))

    def check(self, kind: Kind) -> None:
        """Raises InvalidError if objects of this kind do not have one of the fields."""
        for requirement in self.requirements:
            if _attributes(kind.message.DESCRIPTOR, requirement.path) is None:
                known = scalar_paths(kind.message.DESCRIPTOR)
                raise InvalidError(
                    f"field selector: {kind.kind} has no field {requirement.path!r} to select by"
                    + suggestion(requirement.path, known)
                )

    def matches(self, message: ApiObject) -> bool:
        """Whether the object meets every requirement; a field that it cannot have counts as ""."""
        return all(
            (field_text(message, requirement.path) == requirement.value) is requirement.equal
            for requirement in self.requirements
        )

    def __bool__(self) -> bool:
        return bool(self.requirements)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


def field_text(message: ApiObject, path: str) -> str:
    """The scalar at a path, as text: `true` and `false` for booleans, "" where there is none."""
    attributes = _attributes(message.DESCRIPTOR, path)
    if attributes is None:
        return ""
    value: object = message
    for attribute in attributes:
        value = getattr(value, attribute)
    return str(value).lower() if isinstance(value, bool) else str(value)


@lru_cache(maxsize=1024)
def scalar_paths(descriptor: Descriptor, prefix: str = "") -> tuple[str, ...]:
    """All paths that a selector can name on this message."""
    paths: list[str] = []
    for field in descriptor.fields:
        if field.is_repeated:
            continue
        path = prefix + field.json_name
        if field.message_type is None:
            paths.append(path)
        elif not field.message_type.full_name.startswith("google."):
            paths.extend(scalar_paths(field.message_type, f"{path}."))
    return tuple(paths)


@lru_cache(maxsize=4096)
def _attributes(descriptor: Descriptor, path: str) -> tuple[str, ...] | None:
    if path not in scalar_paths(descriptor):
        return None
    attributes: list[str] = []
    current: Descriptor | None = descriptor
    for json_name in path.split("."):
        assert current is not None
        field = next(field for field in current.fields if field.json_name == json_name)
        attributes.append(field.name)
        current = field.message_type
    return tuple(attributes)
