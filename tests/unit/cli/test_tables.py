from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from h9s.cli.tables import ColumnWidths, align

_CELLS = st.text(st.sampled_from("abc\n-"), min_size=1, max_size=9)


def test_columns_are_three_blanks_apart_and_lines_end_without() -> None:
    assert (
        align([["NAME", "AGE"], ["a", "3m12s"], ["longer", "1s"]])
        == "NAME     AGE\na        3m12s\nlonger   1s\n"
    )


def test_later_rows_stay_in_the_columns_of_earlier_ones() -> None:
    widths = ColumnWidths()
    assert widths.align([["longest", "x"]]) == ["longest   x"]
    assert widths.align([["s", "y"]]) == ["s         y"]


@given(
    st.integers(1, 4).flatmap(
        lambda n: st.lists(st.lists(_CELLS, min_size=n, max_size=n), min_size=1, max_size=5)
    )
)
def test_every_row_is_one_line_and_no_cell_is_cut(rows: list[list[str]]) -> None:
    lines = ColumnWidths().align(rows)
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        assert "\n" not in line
        assert line == line.rstrip()
        position = 0
        for cell in row:
            shown = cell.replace("\n", " ").strip()
            position = line.index(shown, position) + len(shown)
