from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from proxy.cli.cells import bar, name_cell, share, short_count, table_of


@pytest.mark.parametrize(
    ("count", "text"),
    [
        *((0, "0"), (9_999, "9,999"), (10_000, "10.0k"), (12_345, "12.3k"), (123_456, "123k"), (999_999, "999k")),
        *((1_234_567, "1.23M"), (45_678_901, "45.6M"), (2 * 10**9, "2.00G"), (-54_321, "-54.3k"), (10**16, "10000T")),
    ],
)
def test_counts_are_short(count: int, text: str) -> None:
    assert short_count(count) == text


def test_bars_are_as_long_as_their_share_and_seen_if_there_is_any() -> None:
    assert [bar(part, 100, 4) for part in (0, 1, 50, 100, 200)] == ["", "▏", "██", "████", "████"]
    assert bar(1, 8, 1) == "▏"
    assert bar(7, 8, 1) == "▉"
    assert bar(-5, 100, 4) == bar(5, 0, 4) == ""


def test_shares_are_rounded_down() -> None:
    assert (share(999, 1000), share(1, 0)) == ("99%", "")


@given(st.text())
def test_no_name_reaches_the_terminal_with_control_characters(name: str) -> None:
    assert name_cell(name).plain.isprintable()


def test_a_name_is_no_markup_and_none_is_said() -> None:
    out = StringIO()
    table = table_of(("name",), ("n",))
    table.add_row(name_cell("[bold]x[/bold]\x1b[31m"), "1")
    table.add_row(name_cell(""), "2")
    Console(file=out, width=80).print(table)
    assert "[bold]x[/bold]?[31m" in out.getvalue()
    assert "(none)" in out.getvalue()
