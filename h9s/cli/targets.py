"""The grammar of `KIND NAME...`, `KIND/NAME...` and `KIND,KIND` on the command line. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from h9s.api.kinds import Kind, find_kind
from h9s.errors import UsageError

#: What `get all` means, in the order in which it is shown.
ALL_KINDS = ("pods", "deployments.apps", "replicasets.apps")


@dataclass(frozen=True)
class Target:
    """One object, or with an empty name all objects of a kind."""

    kind: Kind
    name: str = ""

    def __str__(self) -> str:
        return f"{resource_name(self.kind)}/{self.name}" if self.name else self.kind.plural


def resource_name(kind: Kind) -> str:
    """A kind as messages name it: `pod`, `deployment.apps`."""
    return f"{kind.singular}.{kind.group}" if kind.group else kind.singular


def parse_targets(arguments: Sequence[str]) -> list[Target]:
    """What the arguments name, in their order, each once. Raises UsageError."""
    if not arguments:
        raise UsageError("name a kind, as in `pods` or `deploy/web`; `howbectl api-resources` lists them all")
    if any("/" in argument for argument in arguments):
        return _unique([_parse_pair(argument) for argument in arguments])
    kinds = _parse_kinds(arguments[0])
    names = arguments[1:]
    if "" in names:
        raise UsageError("an object's name must not be empty")
    if not names:
        return _unique([Target(kind) for kind in kinds])
    return _unique([Target(kind, name) for kind in kinds for name in names])


def parse_named_targets(arguments: Sequence[str]) -> list[Target]:
    """As `parse_targets`, but every target must have a name."""
    targets = parse_targets(arguments)
    for target in targets:
        if not target.name:
            raise UsageError(f"name the {target.kind.singular}, as in `{target.kind.singular}/NAME`")
    return targets


def parse_target(arguments: Sequence[str]) -> Target:
    """As `parse_named_targets`, for a command that takes exactly one object."""
    targets = parse_named_targets(arguments)
    if len(targets) > 1:
        raise UsageError(f"name one object, not {len(targets)}: {', '.join(map(str, targets))}")
    return targets[0]


def _parse_pair(argument: str) -> Target:
    kind, slash, name = argument.partition("/")
    if not slash:
        raise UsageError(f"{argument!r} stands among KIND/NAME arguments: write all of them as KIND/NAME")
    if not kind or not name or "/" in name:
        raise UsageError(f"{argument!r} is not of the form KIND/NAME")
    if "," in kind:
        raise UsageError(f"{argument!r}: one kind only before the slash")
    return Target(find_kind(kind), name)


def _parse_kinds(argument: str) -> list[Kind]:
    kinds: list[Kind] = []
    for name in argument.split(","):
        if name.lower() == "all":
            kinds.extend(find_kind(each) for each in ALL_KINDS)
        elif name:
            kinds.append(find_kind(name))
        else:
            raise UsageError(f"{argument!r}: a kind is missing beside the comma")
    return kinds


def _unique(targets: Sequence[Target]) -> list[Target]:
    return list(dict.fromkeys(targets))
