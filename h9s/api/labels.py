"""Label selectors: which objects a query, a ReplicaSet or a watcher means.

The text form is kubectl's: `a=b,c!=d,e in (f,g),h notin (i),j,!k`. All requirements must hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from h9s._pb import meta_pb2
from h9s.api import names
from h9s.errors import InvalidError


class Operator(Enum):
    """As `LabelSelectorRequirement.operator` writes them."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True)
class Requirement:
    """One condition on one label. `values` is sorted and without duplicates."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels meet it. NotIn holds too where the label is absent."""
        if self.operator is Operator.IN:
            return self.key in labels and labels[self.key] in self.values
        if self.operator is Operator.NOT_IN:
            return self.key not in labels or labels[self.key] not in self.values
        return (self.key in labels) is (self.operator is Operator.EXISTS)

    def __str__(self) -> str:
        if self.operator is Operator.EXISTS:
            return self.key
        if self.operator is Operator.DOES_NOT_EXIST:
            return f"!{self.key}"
        negated = self.operator is Operator.NOT_IN
        if len(self.values) == 1:
            return f"{self.key}{'!=' if negated else '='}{self.values[0]}"
        return f"{self.key} {'notin' if negated else 'in'} ({','.join(self.values)})"


_REQUIREMENT = re.compile(
    r"\s*(?:"
    r"!\s*(?P<absent>[^\s=!,()]+)"
    r"|(?P<key>[^\s=!,()]+)(?:"
    r"\s+(?P<set_operator>in|notin)\s*\((?P<values>[^()]*)\)"
    r"|\s*(?P<operator>==|=|!=)\s*(?P<value>[^\s=!,()]*)"
    r")?)\s*(?P<end>,|\Z)"
)


@dataclass(frozen=True)
class Selector:
    """A conjunction of requirements; without any it selects everything."""

    requirements: tuple[Requirement, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Selector:
        """Raises InvalidError with the place where the text cannot be understood."""
        requirements: list[Requirement] = []
        position = 0
        more = bool(text.strip())
        while more:
            match = _REQUIREMENT.match(text, position)
            if not match:
                raise InvalidError(f"label selector {text!r}: cannot understand {text[position:].strip()!r}")
            requirements.append(_parsed(match, text))
            position, more = match.end(), match["end"] == ","
        return cls(tuple(requirements))

    @classmethod
    def from_label_selector(cls, selector: meta_pb2.LabelSelector) -> Selector:
        """The selector of a spec. An empty one selects everything: whether the field was set at all is
        the caller's to know. Raises InvalidError on an unknown operator or wrong values."""
        requirements = [
            Requirement(key, Operator.IN, (value,)) for key, value in sorted(selector.match_labels.items())
        ]
        for expression in selector.match_expressions:
            try:
                operator = Operator(expression.operator)
            except ValueError:
                known = ", ".join(operator.value for operator in Operator)
                raise InvalidError(f"operator {expression.operator!r} is none of {known}") from None
            if bool(expression.values) is not (operator in (Operator.IN, Operator.NOT_IN)):
                raise InvalidError(
                    f"operator {operator.value} takes {'no values' if expression.values else 'values'}"
                )
            requirements.append(Requirement(expression.key, operator, _ordered(expression.values)))
        return cls(tuple(requirements))

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels meet every requirement."""
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __bool__(self) -> bool:
        return bool(self.requirements)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


def _ordered(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(values)))


def _parsed(match: re.Match[str], text: str) -> Requirement:
    key = match["absent"] or match["key"]
    if match["absent"]:
        requirement = Requirement(key, Operator.DOES_NOT_EXIST)
    elif match["set_operator"]:
        operator = Operator.IN if match["set_operator"] == "in" else Operator.NOT_IN
        requirement = Requirement(key, operator, _ordered(v.strip() for v in match["values"].split(",")))
    elif match["operator"]:
        operator = Operator.NOT_IN if match["operator"] == "!=" else Operator.IN
        requirement = Requirement(key, operator, (match["value"],))
    else:
        requirement = Requirement(key, Operator.EXISTS)
    for fault in (names.label_key_fault(key), *map(names.label_value_fault, requirement.values)):
        if fault:
            raise InvalidError(f"label selector {text!r}: {fault}")
    return requirement
