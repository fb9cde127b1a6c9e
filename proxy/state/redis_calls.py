"""Single calls of the books in Redis, for readers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from operator import add
from typing import Final, NamedTuple

import redis

from proxy.state.base import Charged, Dimension, Drift, Granularity, Late, Span, StateFailed, Sums
from proxy.state.entries import Settlement
from proxy.state.lines import late_lines
from proxy.state.redis_books import TRUTH, began_hour, read_named, read_rows, read_suffixes
from proxy.state.redis_entries import (
    AMOUNTS_AT,
    HOUR_MS,
    HOUR_S,
    Kept,
    hour_of,
    place_in_attempt,
    read_kept,
    settlement_of,
    utc_day,
)
from proxy.state.redis_keys import RedisKeys
from proxy.state.redis_pipeline import ask_all, run_all
from proxy.state.scripts import load_script
from proxy.state.sums import AMOUNTS, MEASURES, SumsToAdd, attempt_rows, reversal

#: Calls of an hour that are asked for at once, and hours.
_AT_ONCE: Final = 1000
_HOURS: Final = 16
_ONE_DAY: Final = timedelta(days=1)
_NOTHING: Final = (0,) * len(MEASURES)
_PROVIDER, _METERING, _CREDENTIAL = map(place_in_attempt, ("provider", "metering", "credential_id"))
_COST, _LOW, _HIGH = map(place_in_attempt, ("cost_nusd", "low_nusd", "high_nusd"))


class _Entered(NamedTuple):
    """What was entered of a call at one time."""

    call_id: str
    hour: int  #: in which it began, counted from 1970
    kept: Kept
    assumed: Kept | None  #: the orphan that is taken back by it

    @property
    def is_late(self) -> bool:
        return self.kept.period.hour != self.hour * HOUR_S


class RedisCalls:
    """For any thread. Methods raise StateFailed."""

    def __init__(self, client: redis.Redis, keys: RedisKeys) -> None:
        self._client = client
        self._keys = keys
        self._day = load_script("day")

    def teams(self) -> Sequence[str]:
        """All that ever called."""
        (teams,) = ask_all(self._client, [("SMEMBERS", f"{self._keys.fleet}:teams")])
        return sorted(team.decode() for team in teams)

    def find(self, name: str, teams: Sequence[str]) -> Settlement | None:
        """The latest call of this name. One trip if the name says when it was; two otherwise, over all days."""
        hour = began_hour(name)
        around = [(team, one) for team in teams for one in (() if hour is None else (hour, hour - 1, hour + 1))]
        found = self._latest([(team, one, name) for team, one in around])
        if found is not None:
            return found
        named = [(*read_named(value), team) for team in teams for value in self._named(team, name)]
        began = sorted(named, reverse=True)[:1]
        return self._latest([(team, hour_of(began_ms), call_id) for began_ms, call_id, team in began])

    def drift(self, span: Span, teams: Sequence[str]) -> Sequence[Drift]:
        """See `LedgerReports.drift`."""
        calls: dict[str, tuple[int, ...]] = {}
        sums: dict[tuple[str, str], tuple[int, ...]] = {}
        for team in teams:
            stamps, kept = self._sums_of(team, span)
            for at, measures in kept.items():
                sums[at] = tuple(map(add, sums.get(at, _NOTHING), measures))
            for one in self._booked_in(team, span):
                day = one.kept.period.day
                if one.kept.stamp <= stamps.get(day, stamps[""]):
                    calls[day] = tuple(map(add, calls.get(day, _NOTHING), _measures(one)))
        return [
            Drift(day, table, Sums(*calls.get(day, _NOTHING)), Sums(*sums.get((table, day), _NOTHING)))
            for day in sorted({*calls, *(day for _, day in sums)})
            for table in ("day", "hour")
            if calls.get(day, _NOTHING) != sums.get((table, day), _NOTHING)
        ]

    def late(
        self,
        span: Span,
        by: Sequence[Dimension],
        granularity: Granularity,
        where: Mapping[Dimension, str],
        tag_key: str,
        teams: Sequence[str],
    ) -> Sequence[Late]:
        """See `LedgerReports.late`."""
        found: dict[int, SumsToAdd] = {}
        for team in teams:
            for one in self._late_in(team, span):
                sums = found.setdefault(one.hour * HOUR_S, SumsToAdd())
                for count, kept in ((-1, one.assumed), (1, one.kept)):
                    if kept is not None:
                        entry = settlement_of(kept, team, one.call_id, one.hour)
                        entry = reversal(entry) if count < 0 else entry
                        sums.add(entry, count, one.kept.period, attempt_rows(0, entry))
        return late_lines(found, by, granularity, where, tag_key)

    def charged(self, provider: str, first_ms: int, end_ms: int) -> Sequence[Charged]:
        """See `LedgerReports.charged`."""
        sums: dict[tuple[str, str, str], tuple[int, ...]] = {}
        first, last = hour_of(first_ms), hour_of(end_ms - 1)
        for team in self.teams():
            for one in self._scanned(team, lambda hour: first <= hour <= last):
                if not first_ms <= one.hour * HOUR_MS + one.kept.past_ms < end_ms:
                    continue
                for count, kept in ((-1, one.assumed), (1, one.kept)):
                    for attempt in [] if kept is None else kept.attempts:
                        if attempt[_PROVIDER] == provider:
                            at = attempt[_CREDENTIAL], utc_day(one.hour), attempt[_METERING]
                            amounts = (count, *(count * attempt[place] for place in (_COST, _LOW, _HIGH)))
                            sums[at] = tuple(map(add, sums.get(at, (0, 0, 0, 0)), amounts))
        return [Charged(*at, *amounts) for at, amounts in sorted(sums.items())]

    def _latest(self, places: Sequence[tuple[str, int, str]]) -> Settlement | None:
        """Of these (team, hour, call id), the one that began last."""
        commands = [
            ("HMGET", f"{self._keys.team(team)}:calls:{hour}", call_id, call_id + TRUTH)
            for team, hour, call_id in places
        ]
        found = []
        for (team, hour, call_id), (first, truth) in zip(places, ask_all(self._client, commands), strict=True):
            if first is not None:
                found.append(settlement_of(_read(truth or first, hour), team, call_id, hour))
        return max(found, key=lambda one: one.began_ms, default=None)

    def _named(self, team: str, name: str) -> Sequence[bytes]:
        tag = self._keys.team(team)
        days = sorted({hour // 24 for hour in self._hours(team)}, reverse=True)
        found = ask_all(self._client, [("HGET", f"{tag}:named:{day}", name) for day in days])
        return [value for value in found if value is not None]

    def _hours(self, team: str) -> Sequence[int]:
        (hours,) = ask_all(self._client, [("HKEYS", f"{self._keys.team(team)}:books:hours")])
        return sorted(map(int, hours))

    def _sums_of(self, team: str, span: Span) -> tuple[Mapping[str, int], Mapping[tuple[str, str], tuple[int, ...]]]:
        """What was entered last when the sums of each day were read, by its stamp; of days without sums under ''. And
        those sums, by table and day.
        """
        tag = self._keys.team(team)
        stamp, suffixes = ask_all(self._client, [("HGET", f"{tag}:books", "stamp"), ("SMEMBERS", f"{tag}:books:days")])
        stamps, sums = {"": int(stamp or 0)}, {}
        for day, tag_key in read_suffixes(suffixes):
            if not tag_key and span.first.isoformat() <= day < span.end.isoformat():
                ((stamps[day], _, days, _, hours),) = run_all(self._client, self._day, [(tag, (day,))])
                for table, rows in (("day", days), ("hour", hours)):
                    sums[table, day] = tuple(map(sum, zip(*read_rows(rows), strict=True))) or _NOTHING
        return stamps, sums

    def _booked_in(self, team: str, span: Span) -> Iterator[_Entered]:
        """All that was booked on these days."""
        # In the books' own time zone a day may begin half a day before UTC's, or after it.
        first, last = (span.first - _ONE_DAY).isoformat(), span.end.isoformat()
        days = span.first.isoformat(), span.end.isoformat()
        for one in self._scanned(team, lambda hour: first <= utc_day(hour) <= last):
            if not one.is_late and days[0] <= one.kept.period.day < days[1]:
                yield one
        yield from self._late_in(team, span)

    def _late_in(self, team: str, span: Span) -> Iterator[_Entered]:
        """What was booked on these days in another hour than its own."""
        tag = self._keys.team(team)
        (days,) = ask_all(self._client, [("SMEMBERS", f"{tag}:books:late")])
        for day in sorted(day.decode() for day in days):
            if span.first.isoformat() <= day < span.end.isoformat():
                (fields,) = ask_all(self._client, [("HGETALL", f"{tag}:late:{day}")])
                places = sorted(fields.items())
                commands = [("HGET", f"{tag}:calls:{int(hour)}", field) for field, hour in places]
                for (field, hour), data in zip(places, ask_all(self._client, commands), strict=True):
                    if data is not None:
                        yield self._entered(tag, int(hour), field, data)

    def _scanned(self, team: str, is_wanted: Callable[[int], bool]) -> Iterator[_Entered]:
        """All that was entered of calls that began in hours like these."""
        tag = self._keys.team(team)
        waiting = [(hour, "0") for hour in reversed(self._hours(team)) if is_wanted(hour)]
        seen: dict[int, set[bytes]] = {}  # of each hour: Redis may tell of a call twice while the hash grows
        while waiting:
            some, waiting = waiting[-_HOURS:], waiting[:-_HOURS]
            commands = [("HSCAN", f"{tag}:calls:{hour}", cursor, "COUNT", _AT_ONCE) for hour, cursor in some]
            for (hour, _), (cursor, found) in zip(some, ask_all(self._client, commands), strict=True):
                known = seen.setdefault(hour, set())
                for field, data in found.items():
                    if field not in known:
                        known.add(field)
                        yield self._entered(tag, hour, field, data)
                if int(cursor):
                    waiting.append((hour, str(int(cursor))))
                else:
                    del seen[hour]

    def _entered(self, tag: str, hour: int, field: bytes, data: bytes) -> _Entered:
        call_id, assumed = field.decode(), None
        if call_id.endswith(TRUTH):
            call_id = call_id.removesuffix(TRUTH)
            (first,) = ask_all(self._client, [("HGET", f"{tag}:calls:{hour}", call_id)])
            assumed = None if first is None else _read(first, hour)
        return _Entered(call_id, hour, _read(data, hour), assumed)


def _read(data: bytes, hour: int) -> Kept:
    try:
        return read_kept(data, hour)
    except ValueError as error:
        raise StateFailed(f"the books in Redis hold something else than a call: {error}") from error


def _measures(one: _Entered) -> tuple[int, ...]:
    """What it adds to the sums of its day, in the order of Sums."""
    measures = _counted(one.kept)
    if one.assumed is not None:
        measures = tuple(new - old for new, old in zip(measures, _counted(one.assumed), strict=True))
    return measures


def _counted(kept: Kept) -> tuple[int, ...]:
    amounts = [attempt[AMOUNTS_AT] for attempt in kept.attempts] or [[0] * len(AMOUNTS)]
    return (1, kept.saved_nusd, len(kept.attempts), *map(sum, zip(*amounts, strict=True)))
