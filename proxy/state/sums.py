"""What calls add to the sums that reports read, wherever those are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from operator import add, attrgetter
from typing import Any, Final

from proxy.state.base import Period, Sums
from proxy.state.entries import AttemptEntry, Settlement

#: A row, in the order of its columns.
Row = tuple[Any, ...]

ATTEMPT_FIELDS: Final = tuple(one.name for one in fields(AttemptEntry))
ATTEMPT_COLUMNS: Final = ("call", "position", *ATTEMPT_FIELDS)
MEASURES: Final = tuple(one.name for one in fields(Sums))
#: Members of an attempt that are amounts: those of Sums behind its own three.
AMOUNTS: Final = MEASURES[3:]

_attempt_values: Final = attrgetter(*ATTEMPT_FIELDS)
#: Where an attempt's row has them: behind call and position, in the order of Sums.
_AMOUNTS_AT: Final = slice(ATTEMPT_COLUMNS.index(AMOUNTS[0]), ATTEMPT_COLUMNS.index(AMOUNTS[-1]) + 1)
_PROVIDER_TO_METERING: Final = slice(ATTEMPT_COLUMNS.index("provider"), ATTEMPT_COLUMNS.index("metering") + 1)
_NO_AMOUNTS: Final = (0,) * len(AMOUNTS)

#: Measures, in the order of Sums, by what they are kept by.
_Sums = dict[Row, tuple[int, ...]]


def attempt_rows(number: int, settlement: Settlement) -> list[Row]:
    """The rows of a call's attempts."""
    return [(number, at, *_attempt_values(attempt)) for at, attempt in enumerate(settlement.attempts)]


def reversal(settlement: Settlement) -> Settlement:
    """What takes a settlement back: the same with every amount negated."""
    attempts = tuple(
        replace(attempt, **{name: -getattr(attempt, name) for name in AMOUNTS}) for attempt in settlement.attempts
    )
    return replace(settlement, saved_nusd=-settlement.saved_nusd, attempts=attempts)


class SumsToAdd:
    """What some calls add to the sums. Calls that agree in all that sums are kept by, tags included, are added up
    first; what each adds up to then goes to the rows of its hour, its day and its tags.
    """

    def __init__(self) -> None:
        self._groups: _Sums = {}

    def add(self, settlement: Settlement, count: int, period: Period, attempts: Sequence[Row]) -> None:
        """Add a call (`count` 1), or take one back (-1, and its amounts are negative); `attempts` are its rows."""
        payer, answered = settlement.payer, settlement.answered
        call = (
            *(period, payer.team, payer.key_name, payer.cost_center, settlement.model),
            *(settlement.source, settlement.error or "", tuple(payer.tags.items())),
        )
        for at, row in enumerate(attempts):
            counted = (count, settlement.saved_nusd) if at == answered else (0, 0)
            _add(self._groups, (*call, *row[_PROVIDER_TO_METERING]), (*counted, count, *row[_AMOUNTS_AT]))
        if not attempts:
            _add(self._groups, (*call, "", "", ""), (count, settlement.saved_nusd, 0, *_NO_AMOUNTS))

    def rows(self) -> tuple[list[Row], list[Row]]:
        """Rows for the sums by hour and for those by day: tag key, hour, day and DIMENSIONS, or the same without the
        hour; and what is to be added, in the order of Sums.
        """
        days: _Sums = {}
        hours = self.hours()
        for (tag_key, _, *key), amounts in hours.items():
            _add(days, (tag_key, *key), amounts)
        return [(*key, *sums) for key, sums in hours.items()], [(*key, *sums) for key, sums in days.items()]

    def hours(self) -> dict[Row, tuple[int, ...]]:
        """What is to be added, in the order of Sums, by tag key, hour, day and DIMENSIONS."""
        hours: _Sums = {}
        for group, amounts in self._groups.items():
            (hour, day), team, key_name, cost_center, model, source, error, tags, provider, role, metering = group
            who = (team, key_name, cost_center, model, provider, source, error, role, metering)
            for tag_key, tag in {**dict(tags), "": ""}.items():
                _add(hours, (tag_key, hour, day, *who, tag), amounts)
        return hours


def _add(sums: _Sums, key: Row, amounts: tuple[int, ...]) -> None:
    before = sums.get(key)
    sums[key] = amounts if before is None else tuple(map(add, before, amounts))
