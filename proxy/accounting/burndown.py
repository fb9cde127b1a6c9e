"""When a quota will run out, if the team goes on as it did. Pure: chance comes in as an argument.

The method, which every report states: many futures are made, each from days of the past. A future first draws its own
past, as many days as there are, with replacement; then each day to come is a day drawn from that, a weekday from the
weekdays and a weekend's day from the weekends where there are at least two weeks to draw from. The projected day is
the one on which half of the futures have reached the cap; between the two other days 80 % of them do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random
from typing import Final

#: So many days of the past at most, and at least.
MAX_DAYS: Final = 28
MIN_DAYS: Final = 7
_FUTURES: Final = 500
#: From so many days on weekdays and weekends are told apart.
_TWO_WEEKS: Final = 14
_SATURDAY: Final = 5
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class BurnDown:
    """When a quota runs out. A day is None if it is not within the period."""

    days: int  #: of the past that this was made from
    runs_out: date | None  #: on this day half of the futures have reached the cap
    earliest: date | None  #: on this one a tenth of them
    latest: date | None  #: on this one nine tenths
    chance_pct: int  #: how many futures reach the cap within the period, percent, rounded down

    @property
    def method(self) -> str:
        """How it was made, in a line."""
        return (
            f"{_FUTURES} futures drawn from the last {self.days} days"
            f"{', weekdays and weekends apart' if self.days >= _TWO_WEEKS else ''}; the day is the median, "
            "the interval 80 %"
        )


def project(
    past: Mapping[date, int], used: int, cap: int, today: date, end: date, left_s: int, rng: Random
) -> BurnDown | None:
    """When the cap is reached, from what each whole day of the past used; None if there are too few of them.

    `used` is this period's, today included; of today `left_s` seconds are to come; the period ends before `end`.
    """
    if len(past) < MIN_DAYS:
        return None
    coming = [today + timedelta(days=number) for number in range((end - today).days)]
    largest = max(max(past.values()), 0)
    if used < cap and used + largest * len(coming) < cap:  # then no future can reach it
        return BurnDown(len(past), None, None, None, 0)
    reached = sorted(_futures(past, used, cap, coming, left_s, rng))

    def quantile(numerator: int, denominator: int) -> date | None:
        at = (_FUTURES * numerator + denominator - 1) // denominator - 1
        return coming[reached[at]] if at < len(reached) else None

    return BurnDown(
        len(past), quantile(1, 2), quantile(1, 10), quantile(9, 10), chance_pct=100 * len(reached) // _FUTURES
    )


def _futures(
    past: Mapping[date, int], used: int, cap: int, coming: Sequence[date], left_s: int, rng: Random
) -> list[int]:
    """Of the futures that reach the cap, on which of the coming days."""
    apart = len(past) >= _TWO_WEEKS
    pools: dict[bool, list[int]] = {}
    for day, spent in past.items():
        pools.setdefault(apart and day.weekday() >= _SATURDAY, []).append(spent)
    kinds = [apart and day.weekday() >= _SATURDAY for day in coming]
    needed = {kind: kinds.count(kind) for kind in pools}
    reached = []
    for _ in range(_FUTURES):
        draws = {
            kind: iter(rng.choices(rng.choices(pool, k=len(pool)), k=needed[kind])) for kind, pool in pools.items()
        }
        total = used
        for number, kind in enumerate(kinds):
            spent = next(draws[kind])
            total += spent * left_s // _DAY_S if number == 0 else spent
            if total >= cap:
                reached.append(number)
                break
    return reached
