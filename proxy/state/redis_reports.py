"""The books in Redis, for readers: sums, and whatever is told of single calls (`redis_calls.py`). A report costs Redis
a few milliseconds a team, since it hands out whole days; they are added up here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import add
from typing import Final

import redis

from proxy.state.base import (
    DIMENSIONS,
    Charged,
    Dimension,
    Drift,
    Extent,
    Granularity,
    Late,
    Line,
    Span,
    Sums,
    Use,
)
from proxy.state.entries import Settlement
from proxy.state.lines import checked_dimensions, period_of
from proxy.state.redis_books import GROUP, DaySums, day_sums, hour_sums, read_rows, read_suffixes, suffix
from proxy.state.redis_calls import RedisCalls
from proxy.state.redis_client import open_client
from proxy.state.redis_keys import RedisKeys
from proxy.state.redis_pipeline import ask_all
from proxy.state.shared_ledger import Granted, nothing_granted

#: How many days of a team are asked for in one trip.
_DAYS: Final = 32


class RedisReports:
    """See `LedgerReports`. For any thread."""

    def __init__(self, client: redis.Redis, keys: RedisKeys, granted: Granted = nothing_granted) -> None:
        """Asks nothing of Redis yet."""
        self._client = client
        self._keys = keys
        self._granted = granted
        self._calls = RedisCalls(client, keys)

    def sums(
        self,
        span: Span,
        by: Sequence[Dimension] = (),
        granularity: Granularity = "total",
        where: Mapping[Dimension, str] | None = None,
        tag_key: str = "",
    ) -> Sequence[Line]:
        """See `LedgerReports.sums`. Each team's day is as of one moment."""
        where = checked_dimensions(by, where)
        kept = [(GROUP.index(name), value) for name, value in where.items() if name != "team"]
        shown = [DIMENSIONS.index(name) for name in by]
        lines: dict[tuple[str, tuple[str, ...]], tuple[int, ...]] = {}
        for team, day, found in self._read(
            self._days(span, tag_key, where.get("team")), tag_key, granularity == "hour"
        ):
            for sums in found:
                if all(sums.group[place] == value for place, value in kept):
                    values = (team, *sums.group)
                    at = period_of(granularity, sums.hour, day), tuple([values[place] for place in shown])
                    before = lines.get(at)
                    lines[at] = sums.measures if before is None else tuple(map(add, before, sums.measures))
        return [Line(*at, Sums(*lines[at])) for at in sorted(lines)]

    def use(self, span: Span) -> Sequence[Use]:
        """See `LedgerReports.use`."""
        return [
            Use(team, key_name, model, sums.calls, sums.input_tokens + sums.output_tokens, sums.cost_nusd)
            for _, (team, key_name, model), sums in self.sums(span, ("team", "key_name", "model"))
        ]

    def call(self, request_id: str, team: str | None = None) -> Settlement | None:
        """See `LedgerReports.call`."""
        return self._calls.find(request_id, self._calls.teams() if team is None else [team])

    def drift(self, span: Span, team: str | None = None) -> Sequence[Drift]:
        """See `LedgerReports.drift`. Cost: 13 µs a call. Calls that are entered meanwhile are not counted on either
        side.
        """
        return self._calls.drift(span, self._calls.teams() if team is None else [team])

    def late(
        self,
        span: Span,
        by: Sequence[Dimension] = (),
        granularity: Granularity = "total",
        where: Mapping[Dimension, str] | None = None,
        tag_key: str = "",
    ) -> Sequence[Late]:
        """See `LedgerReports.late`."""
        where = checked_dimensions(by, where)
        teams = [where["team"]] if "team" in where else self._calls.teams()
        return self._calls.late(span, by, granularity, where, tag_key, teams)

    def charged(self, provider: str, first_ms: int, end_ms: int) -> Sequence[Charged]:
        """See `LedgerReports.charged`. Cost: 10 µs a call."""
        return self._calls.charged(provider, first_ms, end_ms)

    def extent(self) -> Extent:
        """See `LedgerReports.extent`."""
        first, kept, latest_ms, has_calls = "", "", 0, False
        for tag in map(self._keys.team, self._calls.teams()):
            (latest, mark), hours, suffixes = ask_all(
                self._client,
                [
                    ("HMGET", f"{tag}:books", "latest", "kept"),
                    ("HLEN", f"{tag}:books:hours"),
                    ("SMEMBERS", f"{tag}:books:days"),
                ],
            )
            days = [day for day, tag_key in read_suffixes(suffixes) if not tag_key]
            first = min([*days, first] if first else days, default="")
            has_calls = has_calls or hours > 0
            latest_ms = max(latest_ms, int(latest or 0))
            kept = max(kept, (mark or b" ").decode().partition(" ")[2])
        return Extent(first, max(first, kept) if has_calls else "", latest_ms or None)

    def granted(self, at_ms: int) -> Mapping[tuple[str, str], int]:
        """See `LedgerReports.granted`."""
        return self._granted(at_ms)

    def _days(self, span: Span, tag_key: str, team: str | None) -> Sequence[tuple[str, str]]:
        """Every team and day of which there are such sums."""
        teams = self._calls.teams() if team is None else [team]
        asked = ask_all(self._client, [("SMEMBERS", f"{self._keys.team(one)}:books:days") for one in teams])
        first, end = span.first.isoformat(), span.end.isoformat()
        return [
            (one, day)
            for one, suffixes in zip(teams, asked, strict=True)
            for day, key in sorted(read_suffixes(suffixes))
            if key == tag_key and first <= day < end
        ]

    def _read(
        self, days: Sequence[tuple[str, str]], tag_key: str, by_hour: bool
    ) -> Iterator[tuple[str, str, Iterable[DaySums]]]:
        """The sums of these. What is asked for first is there last: no row is read whose group is not."""
        for at in range(0, len(days), _DAYS):
            some, commands = days[at : at + _DAYS], list[tuple[str, str]]()
            for team, day in some:
                tag, name = self._keys.team(team), suffix(day, tag_key)
                commands += [("HGETALL", f"{tag}:hours:{name}")] if by_hour else []
                commands += [("HGETALL", f"{tag}:groups:{name}")]
                commands += [("GET", f"{tag}:sums:{'hour' if by_hour else 'day'}:{name}")]
            answers = iter(ask_all(self._client, commands))
            for team, day in some:
                hours = next(answers) if by_hour else {}
                groups, rows = next(answers), read_rows(next(answers))
                yield team, day, hour_sums(groups, hours, rows) if by_hour else day_sums(groups, rows)


def open_reports(url: str, namespace: str, granted: Granted = nothing_granted) -> RedisReports:
    """The books in the Redis of this URL, for readers. It is asked nothing yet."""
    return RedisReports(open_client(url), RedisKeys(namespace), granted)
