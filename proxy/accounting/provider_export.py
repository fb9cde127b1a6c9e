"""What a provider says it charged, read from the file that its console exports.

OpenAI's: "Export" in the cost view of the usage dashboard, a CSV with a row for each day and whatever it was grouped
by. A group that was not asked for is an empty column, a day without charges a row without an amount. Amounts have up
to 30 decimals, and days are those of UTC.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from proxy.accounting.usd import USD

_REQUIRED: Final = ("start_time", "end_time", "amount_value", "amount_currency")
_DAY_S: Final = 86_400
_MAX_USD: Final = Decimal(10**12)


class BadExport(ValueError):
    """The file is not what was expected: which line, what was expected, what to do."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What one of the provider's keys was charged on one day."""

    key_id: str  #: as the provider calls it; empty: the export is not by key
    day: str  #: in UTC
    nusd: Decimal  #: nano-dollars and parts of them


@dataclass(frozen=True, slots=True)
class Export:
    """An export, and which days it covers: those without charges are told too."""

    days: frozenset[str]
    charges: tuple[Charge, ...]


def read_openai_costs(lines: Iterable[str]) -> Export:
    """The charges in an export of OpenAI's costs, by key and day, whatever else they are grouped by. Raises BadExport.

    `lines`: of the file, as text, without a byte order mark.
    """
    reader = csv.DictReader(lines, strict=True)
    sums: dict[tuple[str, str], Decimal] = {}
    days = set()
    try:
        missing = [name for name in _REQUIRED if name not in (reader.fieldnames or ())]
        if missing:
            raise BadExport(
                f"this is no export of OpenAI's costs: it has no column {', '.join(missing)}. Export the cost view, by "
                "day and grouped by API key."
            )
        for row in reader:
            found = _charge(row, reader.line_num)
            days.add(found[0])
            if found[1] is not None:
                key = ((row.get("api_key_id") or "").strip(), found[0])
                sums[key] = sums.get(key, Decimal(0)) + found[1]
    except csv.Error as error:
        raise BadExport(f"line {reader.line_num} is no CSV: {error}") from error
    return Export(frozenset(days), tuple(_charges(sums)))


def _charges(sums: Mapping[tuple[str, str], Decimal]) -> Iterator[Charge]:
    return (Charge(key_id, day, usd * USD) for (key_id, day), usd in sorted(sums.items()))


def _charge(row: Mapping[str, str | None], line: int) -> tuple[str, Decimal | None]:
    """The day of a row and its amount in USD; None if it has none."""
    try:
        first_s, end_s = (int((row[name] or "").strip()) for name in ("start_time", "end_time"))
        day = datetime.fromtimestamp(first_s, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError) as error:
        raise BadExport(f"line {line}: start_time and end_time are not seconds of Unix time") from error
    if end_s <= first_s or first_s // _DAY_S != (end_s - 1) // _DAY_S:
        raise BadExport(f"line {line} covers more than one day of UTC: export by day")
    text = (row["amount_value"] or "").strip()
    if not text:
        return day, None
    if (currency := (row["amount_currency"] or "").strip().lower()) != "usd":
        raise BadExport(f"line {line} is in {currency[:8]!r}, not in usd: the books are in USD alone")
    try:
        usd = Decimal(text)
    except InvalidOperation:
        usd = Decimal("NaN")
    if not usd.is_finite() or abs(usd) > _MAX_USD:
        raise BadExport(f"line {line}: amount_value is no amount")
    return day, usd
