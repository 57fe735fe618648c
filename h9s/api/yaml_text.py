"""Between YAML or JSON text and plain values, as Kubernetes' tools understand them.

Stricter and plainer than PyYAML's own loaders: duplicate keys are errors, dates stay strings, `12:30`
is no number, and every mapping remembers the lines of its keys so that later errors can name them.
Knows nothing of kinds or messages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import yaml

from h9s.errors import InvalidError

#: The parser in C where PyYAML was built with it: ten times faster, same results.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SafeDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

_TAG = "tag:yaml.org,2002:"
#: What unquoted scalars are taken for, as in the tools of Kubernetes: (type, pattern, first characters).
_SCALARS = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF", "tTfFyYnNoO"),
    ("int", r"[-+]?(?:0|0b[01]+|0o?[0-7]+|[1-9][0-9_]*|0x[0-9a-fA-F]+)", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
    ("merge", r"<<", "<"),
)
_PATTERNS = {_TAG + tag: re.compile(rf"(?:{pattern})\Z") for tag, pattern, _ in _SCALARS}


_MAX_DEPTH = 100
_UNFINISHED = object()


class Mark(NamedTuple):
    """Where a value was written: its key's line, from 1, and if it is a scalar its own text."""

    line: int
    text: str


class MarkedDict(dict[str, Any]):
    """A mapping with the marks of its values."""

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.marks: dict[str, Mark] = {}


def documents(text: str, *, source: str = "") -> Iterator[Any]:
    """The values of all documents in a text, mappings as `MarkedDict`; None for an empty document.

    `source` names the text in errors. Raises InvalidError with the line where it is malformed.
    """
    # Where YAML reads JSON at all it loses half of it: surrogate pairs, tabs, some white space.
    if text.lstrip()[:1] in ("{", "[") and (value := _json(text)) is not None:
        yield value
        return
    try:
        _refuse_depth(text)
        loader = _Loader(text)
        while loader.check_node():
            node = loader.get_node()
            _refuse_duplicate_keys(node, set())
            yield _value(loader, node, {})
    except yaml.YAMLError as error:
        raise InvalidError(_explained(error, text, source)) from error
    except UnicodeEncodeError as error:
        raise InvalidError(location(source, 0) + "not UTF-8 text") from error
    except RecursionError as error:
        raise InvalidError(location(source, 0) + "too many levels of merge keys") from error


def dump(value: object) -> str:
    """YAML in block style, keys in the order given, long texts over several lines as `|`."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=False, sort_keys=False, allow_unicode=True, width=2**20
    )
    return text


def location(source: str, line: int) -> str:
    """What an error's text begins with: `web.yaml:12: `, `line 12: `, or as much as is known."""
    if not line:
        return f"{source}: " if source else ""
    return f"{source}:{line}: " if source else f"line {line}: "


class _Loader(_SafeLoader):  # type: ignore[misc]
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own name and shape


class _Dumper(_SafeDumper):  # type: ignore[misc]
    def ignore_aliases(self, _data: object) -> bool:
        return True


for _tag, _, _first in _SCALARS:
    _Loader.add_implicit_resolver(_TAG + _tag, _PATTERNS[_TAG + _tag], list(_first))
    # Strings that any YAML reader could take for something else are quoted: PyYAML's rules and ours.
    _Dumper.add_implicit_resolver(_TAG + _tag, _PATTERNS[_TAG + _tag], list(_first))


def _represent_str(dumper: Any, text: str) -> Any:
    return dumper.represent_scalar(_TAG + "str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_str)


def _value(loader: Any, node: yaml.Node, built: dict[yaml.Node, Any]) -> Any:
    """The value of a node. What aliases repeat is built once: nested ones cannot blow up."""
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    if node not in built:
        built[node] = _UNFINISHED
        if isinstance(node, yaml.SequenceNode):
            built[node] = [_value(loader, item, built) for item in node.value]
        else:
            built[node] = _mapping(loader, node, built)
    if built[node] is _UNFINISHED:
        raise _error("an alias of what it stands in", node)
    return built[node]


def _mapping(loader: Any, node: yaml.Node, built: dict[yaml.Node, Any]) -> MarkedDict:
    loader.flatten_mapping(node)
    mapping = MarkedDict(node.start_mark.line + 1)
    for key, value in node.value:
        # The key as it is written: `on:` and `80:` name what they show.
        mapping[key.value] = _value(loader, value, built)
        text = value.value if isinstance(value, yaml.ScalarNode) else ""
        mapping.marks[key.value] = Mark(key.start_mark.line + 1, text)
    return mapping


def _scalar(node: yaml.ScalarNode) -> Any:
    text: str = node.value
    if node.tag == _TAG + "str":
        return text
    pattern = _PATTERNS.get(node.tag)
    if pattern is None or not pattern.match(text):
        raise _error(f"{text!r} cannot be read as {node.tag}", node)
    match node.tag.removeprefix(_TAG):
        case "null":
            return None
        case "bool":
            return text.lower() in ("true", "yes", "on")
        case "int":
            return _integer(text.replace("_", ""))
        case "float":
            return float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def _integer(text: str) -> float:
    if len(text) > 80:
        return float("inf")
    sign, digits = (-1, text[1:]) if text[0] == "-" else (1, text.lstrip("+"))
    return sign * int("0o" + digits if re.fullmatch(r"0[0-7]+", digits) else digits, 0)


def _error(problem: str, place: Any) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, place.start_mark)


def _refuse_depth(text: str) -> None:
    """PyYAML builds nodes recursively, in C without a limit: deep nesting would end the process."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
                raise _error("nested too deeply", event)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _refuse_duplicate_keys(node: yaml.Node, visited: set[int]) -> None:
    if id(node) in visited or isinstance(node, yaml.ScalarNode):
        return
    visited.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_duplicate_keys(item, visited)
        return
    keys: set[str] = set()
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _error("a key must be a string", key)
        if key.value in keys and key.tag != _TAG + "merge":
            raise _error(f"duplicate key {key.value!r}", key)
        keys.add(key.value)
        _refuse_duplicate_keys(value, visited)


def _json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return None


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        raise ValueError("duplicate keys")
    return mapping


def _explained(error: yaml.YAMLError, text: str, source: str) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = mark.line + 1 if mark else 0
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    lines = text.splitlines()
    if 0 < line <= len(lines) and "\t" in lines[line - 1]:
        problem += " (YAML is indented with spaces, not with tabs)"
    return f"{location(source, line)}malformed YAML: {problem}"
