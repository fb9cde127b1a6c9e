"""What the gateway asks of the place where its books are kept: SQLite (`sqlite.py`), or a Redis that many share
(`redis_ledger.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final, Literal, NamedTuple, Protocol

from proxy.state.entries import Intent, Settlement


class StateUnusable(Exception):
    """The gateway can't start with this state: what is wrong, and what to do."""


class StateFailed(Exception):
    """Reading or writing failed this time (disk full, locked); nothing was changed, and a retry may succeed."""


class StateAway(StateFailed):
    """The state can't be asked just now, and nobody waits for it longer than agreed. What was sent may be done."""


class EntryRefused(Exception):
    """One of the entries can't be booked, ever; nothing was changed."""


class Period(NamedTuple):
    """Where an entry is booked."""

    hour: int  #: Unix seconds at which the hour begins
    day: str  #: such as 2026-11-21, in the time zone of the books


class Booking(NamedTuple):
    """A settlement, and where it goes."""

    settlement: Settlement
    period: Period


class Position(NamedTuple):
    """How far a journal was written, or folded into the books."""

    segment: str = ""
    offset: int = 0  #: bytes of the segment


class Folded(NamedTuple):
    """What became of a batch."""

    booked: int = 0  #: calls booked for the first time
    adjusted: int = 0  #: calls that had been given up and were settled after all
    ignored: int = 0  #: settlements that were in the books already


class LedgerStore(Protocol):
    """The books, for who folds one journal into them. What a method has done when it returns, lasts."""

    def position(self) -> Position:
        """How far the journal was folded. Raises StateFailed."""
        ...

    def fold(self, opened: Sequence[Intent], bookings: Iterable[Booking], position: Position) -> Folded:
        """Enter a stretch of the journal up to `position`. A call that is in the books is not entered again, unless it
        was an orphan and is now settled: then what was assumed of it is reversed, and it is booked as it was.
        `bookings` are looked at once, a few at a time, and may be made as they are.

        Raises StateFailed or EntryRefused, and what making a booking raises: the position is as it was then. A store
        that others write to as well may have entered some of the calls, each as a whole; none of those that it took
        along with one that it refuses.
        """
        ...

    def open_calls(self, began_before_ms: int, limit: int) -> Sequence[Intent]:
        """Calls that are not settled and began before this (Unix milliseconds), the oldest first: of this journal, and
        of journals of which nothing was heard for longer than any call lasts.
        """
        ...

    def retain(self, calls_from: Period, sums_from: date, limit: int) -> int:
        """Forget single calls booked before a day (or an hour, where that is as easy), and sums of days before the
        other. About `limit` rows at a time, so that nobody waits long; how many they were: call again until it is
        fewer.
        """
        ...

    def backup(self, target: Path) -> None:
        """Copy the books, as they stand, to a new file, while they are in use. Raises StateUnusable if it is there."""
        ...

    def close(self) -> None:
        """Let go of the books."""
        ...


Dimension = Literal[
    "team", "key_name", "cost_center", "model", "provider", "source", "error", "role", "metering", "tag"
]
DIMENSIONS: Final[tuple[Dimension, ...]] = (
    "team",
    "key_name",
    "cost_center",
    "model",
    "provider",
    "source",
    "error",
    "role",
    "metering",
    "tag",
)
Granularity = Literal["hour", "day", "month", "total"]


@dataclass(frozen=True, slots=True)
class Span:
    """Days, in the time zone of the books: from `first` on, `end` not included."""

    first: date
    end: date

    @property
    def last(self) -> date:
        """The last day that is in it."""
        return self.end - timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Sums:
    """What some calls come to. A call is counted once, with the attempt that answered it, or else the last; source and
    error are the call's, for all its attempts. The parts of tokens are those of an attempt, and of `wire/usage.py`,
    which this room may not import.
    """

    calls: int = 0
    saved_nusd: int = 0
    attempts: int = 0
    cost_nusd: int = 0
    low_nusd: int = 0
    high_nusd: int = 0
    uncached_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    audio_input_tokens: int = 0
    visible_tokens: int = 0
    reasoning_tokens: int = 0
    audio_output_tokens: int = 0

    @property
    def input_tokens(self) -> int:
        """All input, cached or not."""
        return self.uncached_tokens + self.cached_tokens + self.cache_write_tokens + self.audio_input_tokens

    @property
    def output_tokens(self) -> int:
        """All output, reasoning included."""
        return self.visible_tokens + self.reasoning_tokens + self.audio_output_tokens


class Line(NamedTuple):
    """One line of a report."""

    period: str  #: `2026-11`, `2026-11-21`, `2026-11-21T07:00:00Z`; empty for the total
    group: tuple[str, ...]  #: values of the dimensions asked for
    sums: Sums


class Use(NamedTuple):
    """What one key of a team used of one model."""

    team: str
    key_name: str
    model: str
    calls: int
    tokens: int
    cost_nusd: int


class Drift(NamedTuple):
    """A day on which sums are not what the calls come to."""

    day: str
    table: Literal["hour", "day"]
    calls: Sums  #: from the single calls
    sums: Sums  #: as kept


class Extent(NamedTuple):
    """How far the books reach."""

    first_day: str = ""  #: the first day of which there are sums; empty: nothing was booked
    calls_from: str = ""  #: the first day of which there are single calls; some of it may be forgotten already
    latest_ms: int | None = None  #: when the call ended that was booked last, Unix milliseconds


class Late(NamedTuple):
    """What was booked later than when it happened, because that month was closed by then."""

    began_hour: int  #: Unix seconds at which the hour begins in which the calls began
    line: Line  #: as they were booked


class Charged(NamedTuple):
    """What one credential of a provider was used for on one day."""

    credential_id: str
    day: str  #: in UTC, by the begin of the call
    metering: str
    attempts: int
    cost_nusd: int
    low_nusd: int
    high_nusd: int


class LedgerReports(Protocol):
    """The books, for readers: other threads, other processes. Nothing here waits for the writer.

    Methods raise StateFailed.
    """

    def sums(
        self,
        span: Span,
        by: Sequence[Dimension] = (),
        granularity: Granularity = "total",
        where: Mapping[Dimension, str] | None = None,
        tag_key: str = "",
    ) -> Sequence[Line]:
        """What was spent, by period and dimensions, in their order. `where` keeps to one value of a dimension. `tag`
        stands for the values of `tag_key`; calls that don't carry it are then left out.
        """
        ...

    def use(self, span: Span) -> Sequence[Use]:
        """What each key used of each model: what counters of quotas start from."""
        ...

    def call(self, request_id: str, team: str | None = None) -> Settlement | None:
        """The latest call of this name, by its own id or the client's; of one team, if given. One that ran when the
        process died is an orphan; one that still runs is not there.
        """
        ...

    def drift(self, span: Span, team: str | None = None) -> Sequence[Drift]:
        """Where Σ calls and Σ sums differ: nowhere. Of one team, if given. Days whose calls are partly forgotten must
        not be asked for.

        Reads every call of these days: 1 s a million.
        """
        ...

    def late(
        self,
        span: Span,
        by: Sequence[Dimension] = (),
        granularity: Granularity = "total",
        where: Mapping[Dimension, str] | None = None,
        tag_key: str = "",
    ) -> Sequence[Late]:
        """Of what `sums` tells, the part that was booked in this span and had begun in a month that was closed by then.
        Single calls that are forgotten are not in it.
        """
        ...

    def charged(self, provider: str, first_ms: int, end_ms: int) -> Sequence[Charged]:
        """What a provider was asked for in calls that began in this time (Unix milliseconds, `end_ms` not included),
        by credential, day in UTC and how the tokens are known. Single calls that are forgotten are not in it.

        Reads every call of this time: 1 s a million.
        """
        ...

    def extent(self) -> Extent:
        """How far the books reach."""
        ...

    def granted(self, at_ms: int) -> Mapping[tuple[str, str], int]:
        """By how much quotas were raised at that instant (Unix milliseconds), by team and the quota's name."""
        ...
