"""Nano-dollars as text: exact for programs, short for people. No float is ever money."""

from __future__ import annotations

from typing import Final

#: A dollar, in nano-dollars.
USD: Final = 10**9
_DIGITS: Final = 9


def exact_usd(nusd: int) -> str:
    """All of it, in USD: `-0.000000500`."""
    whole, rest = divmod(abs(nusd), USD)
    return f"{'-' if nusd < 0 else ''}{whole}.{rest:09d}"


def short_usd(nusd: int, decimals: int) -> str:
    """In USD, rounded half to even to so many decimals (1 to 9): `1,234.57`. What is not zero never looks like zero:
    `<0.01`.
    """
    unit = 10 ** (_DIGITS - decimals)
    rounded, rest = divmod(abs(nusd), unit)
    if 2 * rest > unit or (2 * rest == unit and rounded % 2):
        rounded += 1
    sign = "-" if nusd < 0 else ""
    if not rounded and nusd:
        return f"{sign}<0.{1:0{decimals}d}"
    whole, part = divmod(rounded, 10**decimals)
    return f"{sign if rounded else ''}{whole:,}.{part:0{decimals}d}"


def decimals_for(largest_nusd: int) -> int:
    """How many decimals a column needs whose largest amount this is."""
    if abs(largest_nusd) >= 100 * USD:
        return 2
    return 4 if abs(largest_nusd) >= USD else 6
