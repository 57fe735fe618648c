"""Objects as rows of tables on stdout, one table per kind, also as they change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import click

from h9s.api.kinds import ApiObject, Kind
from h9s.cli.columns import NONE, columns_of, label_text
from h9s.cli.output import object_name
from h9s.cli.reading import Found
from h9s.cli.tables import ColumnWidths
from h9s.clock import Clock


@dataclass(frozen=True)
class RowStyle:
    """What the tables show beside the kinds' own columns."""

    wide: bool = False
    headers: bool = True
    namespaces: bool = False
    labels: bool = False
    label_columns: tuple[str, ...] = ()
    #: Names with their kind in front (`pod/web`), for output with several kinds.
    qualified: bool = False


class TablePrinter:
    """Prints tables; a second call with the same kind goes on with the table of the first."""

    def __init__(self, style: RowStyle, *, clock: Clock) -> None:
        self._style = style
        self._clock = clock
        self._widths: dict[Kind, ColumnWidths] = {}

    def show(self, found: Sequence[Found], *, say_if_empty: str = "") -> None:
        """One table per kind that has objects; the remark on stderr where no kind has."""
        by_kind: dict[Kind, list[ApiObject]] = {}
        for each in found:
            by_kind.setdefault(each.target.kind, []).extend(each.objects)
        tables = [(kind, objects) for kind, objects in by_kind.items() if objects]
        if not tables and say_if_empty:
            click.echo(say_if_empty, err=True)
        for number, (kind, objects) in enumerate(tables):
            if number:
                click.echo()
            self._show_kind(kind, objects)

    def _show_kind(self, kind: Kind, objects: Sequence[ApiObject]) -> None:
        first = kind not in self._widths
        widths = self._widths.setdefault(kind, ColumnWidths())
        rows = [self._row(kind, message) for message in objects]
        if first and self._style.headers:
            rows.insert(0, self._header(kind))
        click.echo("".join(f"{line}\n" for line in widths.align(rows)), nl=False)

    def _header(self, kind: Kind) -> list[str]:
        style = self._style
        titles = ["NAMESPACE"] if style.namespaces and kind.namespaced else []
        titles += [column.header for column in columns_of(kind.message, wide=style.wide)]
        titles += [key.rpartition("/")[2].upper() for key in style.label_columns]
        return titles + (["LABELS"] if style.labels else [])

    def _row(self, kind: Kind, message: ApiObject) -> list[str]:
        style = self._style
        metadata = message.metadata
        cells = [metadata.namespace] if style.namespaces and kind.namespaced else []
        now = self._clock.wall()
        for column in columns_of(kind.message, wide=style.wide):
            qualify = style.qualified and column.header == "NAME"
            cells.append(object_name(message) if qualify else column.cell(message, now))
        cells += [metadata.labels.get(key) or "" for key in style.label_columns]
        return cells + ([label_text(metadata.labels) or NONE] if style.labels else [])
