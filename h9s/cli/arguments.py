"""Spellings of options that kubectl takes and click does not.

kubectl's users write `-o=yaml` and `--wait=false`. click knows short options only without the equals
sign and boolean options only as a pair of flags; this module rewrites the one into the other before
click parses. It must not touch what follows `--`, which belongs to the container's command.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_SHORT_WITH_EQUALS = re.compile(r"-[A-Za-z]=")
_BOOLEANS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


def normalize(arguments: Iterable[str], *, flags: Mapping[str, str | None]) -> list[str]:
    """The arguments as click reads them.

    `flags` maps each boolean option (`--wait`) to the option that switches it off (`--no-wait`), or
    to None where leaving it out does. Raises ValueError for a value that is not a boolean.
    """
    result: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            return [*result, argument, *rest]
        name, equals, value = argument.partition("=")
        if equals and name in flags:
            switch = _switch(name, value, flags[name])
            result.extend([switch] if switch else [])
        elif _SHORT_WITH_EQUALS.match(argument):
            result.extend((name, value))
        else:
            result.append(argument)
    return result


def _switch(name: str, value: str, off: str | None) -> str | None:
    wanted = _BOOLEANS.get(value.lower())
    if wanted is None:
        raise ValueError(f"{name}={value}: the value must be true or false")
    return name if wanted else off
