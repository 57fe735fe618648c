"""Changes of labels and annotations, as `howbectl label` and `annotate` write them. Pure."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass

from h9s.cli.session import CommandError
from h9s.errors import UsageError


@dataclass(frozen=True)
class Changes:
    """What to set and what to remove."""

    wanted: dict[str, str]
    removed: tuple[str, ...]

    def make(self, values: MutableMapping[str, str], *, overwrite: bool) -> None:
        """Alter the map. Raises CommandError where a key has another value and may not be overwritten."""
        for key, value in self.wanted.items():
            if not overwrite and key in values and values[key] != value:
                raise CommandError(f"{key!r} already has the value {values[key]!r}; --overwrite replaces it")
        for key in self.removed:
            values.pop(key, None)
        for key, value in self.wanted.items():
            values[key] = value


def parse_labels(texts: Sequence[str]) -> dict[str, str]:
    """`KEY=VALUE` texts as a map. Raises UsageError."""
    changes = parse_changes(texts)
    if changes.removed:
        raise UsageError(f"{changes.removed[0]}-: there is nothing to remove from yet; write KEY=VALUE")
    return changes.wanted


def parse_changes(texts: Sequence[str]) -> Changes:
    """`KEY=VALUE` sets, `KEY-` removes. Raises UsageError where a text is neither, or a key comes twice."""
    wanted: dict[str, str] = {}
    removed: list[str] = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals and text.endswith("-") and len(text) > 1:
            key = text[:-1]
            removed.append(key)
        elif equals and key:
            if key in wanted:
                raise UsageError(f"{key} is given twice")
            wanted[key] = value
        else:
            raise UsageError(f"{text!r}: write KEY=VALUE to set, KEY- to remove")
    both = wanted.keys() & set(removed)
    if both:
        raise UsageError(f"{min(both)} is both set and removed")
    return Changes(wanted, tuple(removed))


def is_change(text: str) -> bool:
    """Whether an argument is a change, not the name of an object (names have no `=` and end in no `-`)."""
    return "=" in text or text.endswith("-")
