"""Cells of tables for people: names that can't do anything to a terminal, numbers that are short, bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.table import Table
from rich.text import Text

_EIGHTHS: Final = "▏▎▍▌▋▊▉"
_UNITS: Final = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))


def name_cell(name: str) -> Text:
    """A name, or a tag that a client sent: no control character of it reaches the terminal."""
    return Text("".join(char if char.isprintable() else "?" for char in name) or "(none)")


def short_count(count: int) -> str:
    """`1,234`, `12.3k`, `4.56M`: three digits of what is large, rounded down."""
    size = abs(count)
    for unit, letter in _UNITS:
        if size >= unit and size >= 10_000:
            decimals = 2 if size < 10 * unit else 1 if size < 100 * unit else 0
            whole = size * 10**decimals // unit
            text = f"{whole // 10**decimals}" + (f".{whole % 10**decimals:0{decimals}d}" if decimals else "")
            return f"{'-' if count < 0 else ''}{text}{letter}"
    return f"{count:,}"


def bar(part: int, whole: int, width: int) -> str:
    """`part` of `whole` as a bar of at most so many characters; what is not nothing is seen."""
    if part <= 0 or whole <= 0:
        return ""
    full, rest = divmod(min(max(8 * width * part // whole, 1), 8 * width), 8)
    return "█" * full + (_EIGHTHS[rest - 1] if rest else "")


def share(part: int, whole: int) -> str:
    """`12%`, rounded down."""
    return f"{100 * part // whole}%" if whole else ""


def table_of(names: Sequence[str], numbers: Sequence[str], *more: str) -> Table:
    """An empty table: columns for names, columns for numbers, and others behind them."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in names:
        table.add_column(title, overflow="fold")
    for title in numbers:
        table.add_column(title, justify="right", overflow="fold")
    for title in more:
        table.add_column(title, overflow="fold")
    return table
