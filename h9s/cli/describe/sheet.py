"""Indented text of keys and values, aligned level by level."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from h9s.cli.tables import ColumnWidths

_NONE = "<none>"
_INDENT = "  "


class Sheet:
    """Entries in the order in which they are put in."""

    def __init__(self) -> None:
        self._entries: list[tuple[str, list[str] | Sheet]] = []

    def put(self, key: str, value: object) -> None:
        """One value, over several lines if it has them."""
        self._entries.append((key, str(value).split("\n")))

    def put_some(self, key: str, value: str) -> None:
        """As `put`, unless the value is empty."""
        if value:
            self.put(key, value)

    def put_lines(self, key: str, lines: Iterable[str]) -> None:
        """Several values below each other; `<none>` where there are none."""
        self._entries.append((key, list(lines) or [_NONE]))

    def put_map(self, key: str, values: Mapping[str, str], *, sign: str = "=") -> None:
        """A map, sorted."""
        self.put_lines(key, (f"{name}{sign}{values[name]}" for name in sorted(values)))

    def section(self, key: str) -> Sheet:
        """A sheet of its own below the key."""
        sheet = Sheet()
        self._entries.append((key, sheet))
        return sheet

    def put_table(self, key: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table below the key; `<none>` where it has no rows."""
        if not rows:
            self.put(key, _NONE)
            return
        rule = ["-" * len(title) for title in header]
        table = Table(ColumnWidths().align([header, rule, *rows]))
        self._entries.append((key, table))

    def lines(self, indent: str = "") -> list[str]:
        """The text, line by line."""
        widths = [len(key) for key, value in self._entries if not isinstance(value, Sheet)]
        width = max(widths, default=0) + 3
        result: list[str] = []
        for key, value in self._entries:
            title = f"{key}:"
            if isinstance(value, Sheet):
                result.append(indent + title)
                result.extend(value.lines(indent + _INDENT))
            else:
                result.append((indent + title.ljust(width) + value[0]).rstrip())
                result.extend((indent + " " * width + line).rstrip() for line in value[1:])
        return result


class Table(Sheet):
    """Lines that are laid out already."""

    def __init__(self, laid_out: Sequence[str]) -> None:
        super().__init__()
        self._laid_out = laid_out

    def lines(self, indent: str = "") -> list[str]:
        """As they are."""
        return [(indent + line).rstrip() for line in self._laid_out]
