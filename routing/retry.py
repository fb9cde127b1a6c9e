"""How often and how soon to try again: a budget for a model's traffic, back-off, and what a provider asked for. It does
not choose where: that is the plan's part.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from math import isfinite
from random import Random
from typing import Final

from routing.window import MovingSum

_LIFE_S: Final = 10.0
_SLOTS: Final = 10
#: 2 to this power times any sensible base is beyond every cap, and still a float.
_MAX_DOUBLINGS: Final = 60
#: Python's `float` takes more than a header may hold: signs, exponents, `1_000`, `nan`, digits of other scripts.
_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """Limits of trying again."""

    max_attempts: int = 4  #: of one call, the first included
    max_ratio: float = 0.2  #: retries per call, over all calls of the model
    floor_per_s: float = 10.0  #: retries a second that are free of the ratio
    base_s: float = 0.1  #: upper bound of the first back-off; doubles
    max_backoff_s: float = 2.0


class RetryBudget:
    """Keeps retries from multiplying an outage: each call deposits `max_ratio` of a retry, each retry withdraws one.

    Deposits and withdrawals live 10 s (up to 11 s: time slots); the floor is a reserve of 10 s' worth that comes back
    as withdrawals are forgotten. After Finagle's RetryBudget.
    """

    __slots__ = ("_balance", "_deposit", "_reserve")

    def __init__(self, settings: RetrySettings) -> None:
        """Starts with the floor's reserve and no deposits."""
        self._deposit = settings.max_ratio
        self._reserve = settings.floor_per_s * _LIFE_S
        self._balance = MovingSum(_LIFE_S, _SLOTS)

    def deposit(self, now: float) -> None:
        """A client's call came in; once per call, never for a retry."""
        self._balance.add(self._deposit, now)

    def has(self, now: float) -> bool:
        """Is there a retry left? Takes none."""
        # Five deposits of 0.2 are a retry: a little less than 1 is rounding.
        return self._balance.total(now) + self._reserve >= 1.0 - 1e-9

    def withdraw(self, now: float) -> bool:
        """Take one retry; False, and nothing is taken, if there is none."""
        if not self.has(now):
            return False
        self._balance.add(-1.0, now)
        return True


def backoff_s(settings: RetrySettings, attempt: int, rng: Random) -> float:
    """Seconds to wait before retry number `attempt` (0 for the first): U(0, min(max, base × 2^attempt)).

    Full jitter, after Brooker's "Exponential Backoff And Jitter": retries of one moment spread evenly.
    """
    longest_s = min(settings.max_backoff_s, settings.base_s * 2.0 ** min(attempt, _MAX_DOUBLINGS))
    return rng.uniform(0.0, longest_s)


def parse_retry_after(headers: Mapping[str, str], wall_now: float) -> float | None:
    """Seconds the provider asks to wait, not capped; None if it does not ask or what it says makes no sense.

    `headers`: lower-case names; `retry-after-ms` goes before `retry-after` (seconds, or an HTTP date, RFC 9110
    §10.2.3). `wall_now`: seconds since 1970, for the date. A date that has passed asks for nothing.
    """
    millis = _number(headers.get("retry-after-ms"))
    if millis is not None:
        return millis / 1000.0
    value = headers.get("retry-after")
    if value is None:
        return None
    seconds = _number(value)
    return seconds if seconds is not None else _until_date(value, wall_now)


def cap_retry_after(seconds: float, cap_s: float = 60.0) -> tuple[float, bool]:
    """`seconds`, at most `cap_s`; and whether it was absurd, that is more than the cap."""
    return min(seconds, cap_s), seconds > cap_s


def _number(value: str | None) -> float | None:
    text = (value or "").strip()
    if not _NUMBER.fullmatch(text):
        return None
    number = float(text)
    return number if isfinite(number) else None


def _until_date(value: str, wall_now: float) -> float | None:
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    # Without a zone Python would take it for local time; HTTP dates are GMT.
    aware = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
    seconds = aware.timestamp() - wall_now
    return seconds if seconds >= 0 else None
