"""Text in columns. Knows nothing of what the columns mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_GAP = 3


class ColumnWidths:
    """Aligns rows that arrive over time, as `get --watch` prints them.

    A column never gets narrower; it gets wider when a later row needs it.
    """

    def __init__(self) -> None:
        self._widths: list[int] = []

    def align(self, rows: Iterable[Sequence[str]]) -> list[str]:
        """One line per row, without trailing blanks. All rows of one instance are equally long."""
        cells = [[_one_line(cell) for cell in row] for row in rows]
        for row in cells:
            self._widths.extend([0] * (len(row) - len(self._widths)))
            for index, cell in enumerate(row):
                self._widths[index] = max(self._widths[index], len(cell))
        return [
            "".join(cell.ljust(width + _GAP) for cell, width in zip(row, self._widths, strict=True)).rstrip()
            for row in cells
        ]


def _one_line(cell: str) -> str:
    return " ".join(cell.split("\n"))


def align(rows: Iterable[Sequence[str]]) -> str:
    """A whole table; each line ends in a newline."""
    return "".join(f"{line}\n" for line in ColumnWidths().align(rows))
