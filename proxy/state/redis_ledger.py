"""The books in Redis: many writers, each with a journal of its own. A call is entered once, whoever enters it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Final

import redis

from proxy.state.base import Booking, EntryRefused, Folded, Period, Position, StateUnusable
from proxy.state.entries import BadEntry, Intent, decode_entry, encode_entry
from proxy.state.redis_batch import Batch, Known
from proxy.state.redis_books import read_position, write_position
from proxy.state.redis_client import open_client
from proxy.state.redis_entries import HOUR_S, check_intent, hour_of
from proxy.state.redis_keys import RedisKeys
from proxy.state.redis_link import Word
from proxy.state.redis_pipeline import ask_all, run_all
from proxy.state.redis_replicas import Replicas
from proxy.state.scripts import load_script
from proxy.state.shared_ledger import Periods

#: Settlements that go out in one trip at most: the more they are, the more of them share a script and rows of the sums.
_TRIP: Final = 512
#: A journal of which nothing was heard for so long is gone, and its disk too, in milliseconds: no call lasts as long.
_LOST_MS: Final = 25 * 3_600_000
#: How long it is remembered how far a journal was folded, in seconds.
_POSITION_KEPT_S: Final = 400 * 86_400

_logger = logging.getLogger(__name__)


class RedisLedger:
    """See `LedgerStore`. For the thread of one ledger; `retain` for any."""

    def __init__(self, client: redis.Redis, keys: RedisKeys, journal: str, periods: Periods) -> None:
        """`journal` names the journal that is folded, as no other is named; `periods` says where a call counts that
        began at a moment (`Calendar.counted`). Asks nothing of Redis yet.
        """
        self._client = client
        self._keys = keys
        self._journal = journal
        self._periods = periods
        self._replicas = Replicas(client)
        self._confirmed = Position()  # Redis has it, and all that was entered before
        self._book, self._open, self._hear, self._forget = map(load_script, ("book", "open", "hear", "forget"))

    def of(self, journal: str) -> RedisLedger:
        """The same books, for another journal."""
        return RedisLedger(self._client, self._keys, journal, self._periods)

    def position(self) -> Position:
        """See `LedgerStore.position`."""
        (data,) = ask_all(self._client, [("GET", f"{self._keys.fleet}:journal:{self._journal}")])
        return read_position(data)

    def fold(self, opened: Sequence[Intent], bookings: Iterable[Booking], position: Position) -> Folded:
        """See `LedgerStore.fold`. What fails or is refused may have been entered in part, calls as a whole: enter all
        of it again. Cost: 40 µs a call, and a trip for every 512.
        """
        for intent in opened:
            check_intent(intent)
        folded, rest = Folded(), iter(bookings)
        tags: set[str] = set()
        while batches := self._gather(rest):
            folded = _sum(folded, self._enter(batches))
            tags.update(self._keys.team(one.team) for one in batches)
        tags.update(self._note_opened(opened))
        if tags:
            self._replicas.secure(tags)
        self._confirm(position)
        return folded

    def open_calls(self, began_before_ms: int, limit: int) -> Sequence[Intent]:
        """See `LedgerStore.open_calls`. Says as well that this journal is not lost."""
        self._hear_of("")
        found = self._open_of(self._journal, began_before_ms, limit)
        return found or self._open_of_lost(began_before_ms, limit)

    def retain(self, calls_from: Period, sums_from: date, limit: int) -> int:
        """See `LedgerStore.retain`. Calls go by hours, and by all that began in one; whoever has not folded its journal
        for a while keeps those from going that were entered since, because it may enter them once more.
        """
        teams, (seconds, _) = ask_all(self._client, [("SMEMBERS", f"{self._keys.fleet}:teams"), ("TIME",)])
        now_ms = int(seconds) * 1000
        hour, written_ms = calls_from.hour // HOUR_S, self._heard_ms(now_ms)
        args = (hour, calls_from.day, written_ms, sums_from.isoformat(), limit)
        forgotten = 0
        for team in sorted(teams):
            (count,) = run_all(self._client, self._forget, [(self._keys.team(team.decode()), args)])
            forgotten += int(count)
            if forgotten >= limit:
                break
        return forgotten

    def backup(self, target: Path) -> None:
        """See `LedgerStore.backup`. Raises StateUnusable always."""
        raise StateUnusable(f"the books are in Redis, which makes its own backups: {target} is not written.")

    def close(self) -> None:
        """See `LedgerStore.close`."""
        with suppress(redis.RedisError, OSError):
            self._client.close()

    def _gather(self, bookings: Iterator[Booking]) -> list[Batch]:
        """The next settlements, by team, in their order within each. Raises EntryRefused."""
        full: list[Batch] = []
        by_team: dict[str, Batch] = {}
        for booking in islice(bookings, _TRIP):
            team = booking.settlement.payer.team
            batch = by_team.get(team)
            if batch is None or not batch.takes(booking.settlement.call_id):
                if batch is not None:
                    full.append(batch)
                batch = by_team[team] = Batch(team, self._periods)
            batch.book(booking)
        return [*full, *by_team.values()]

    def _enter(self, batches: Sequence[Batch]) -> Folded:
        """Enter each, all of it at once; what turns out to be known is entered as far as it is news."""
        folded, teams = Folded(), sorted({one.team for one in batches})
        ask_all(self._client, [("SADD", f"{self._keys.fleet}:teams", *teams)])
        while batches:
            runs = [(self._keys.team(one.team), one.words()) for one in batches]
            again = []
            for batch, known in zip(batches, run_all(self._client, self._book, runs), strict=True):
                if not known:
                    folded = _sum(folded, batch.folded)
                    continue
                rest, ignored = batch.without([Known(*one) for one in known])
                folded = _sum(folded, Folded(ignored=ignored))
                if len(rest):
                    again.append(rest)
            batches = again
        return folded

    def _note_opened(self, opened: Sequence[Intent]) -> Sequence[str]:
        """Calls that have been under way for a while. Returns the tags of their teams."""
        by_team: dict[str, list[Word]] = {}
        try:
            for one in opened:
                words = by_team.setdefault(one.payer.team, [self._journal])
                words += (hour_of(one.began_ms), one.call_id, one.began_ms, encode_entry(one))
        except BadEntry as error:
            raise EntryRefused(str(error)) from error
        if not by_team:
            return ()
        fleet = self._keys.fleet
        noted: list[tuple[Word, ...]] = [("SADD", f"{fleet}:opened:{self._journal}", *by_team)]
        ask_all(self._client, [*noted, ("SADD", f"{fleet}:teams", *by_team)])
        runs = [(self._keys.team(team), words) for team, words in by_team.items()]
        run_all(self._client, self._open, runs)
        return [tag for tag, _ in runs]

    def _hear_of(self, position: str) -> Position:
        """Gives the one that was there before."""
        (before,) = run_all(self._client, self._hear, [(self._keys.fleet, (self._journal, position, _POSITION_KEPT_S))])
        return read_position(before or None)

    def _confirm(self, position: Position) -> None:
        if self._hear_of(write_position(position)) < self._confirmed:
            _logger.error(
                "Redis has lost what it had confirmed: calls that were booked before are missing from the books and "
                "from what is said of quotas. Restore its backup, and see that it keeps what it is told (appendonly)."
            )
        self._confirmed = position

    def _heard_ms(self, now_ms: int) -> int:
        """Since when every journal was heard of that is not lost, in Unix milliseconds: none enters again what was
        entered before.
        """
        place = f"{self._keys.fleet}:journals"
        (first,) = ask_all(self._client, [("ZRANGEBYSCORE", place, now_ms - _LOST_MS, "+inf", "LIMIT", 0, 1)])
        if not first:
            return now_ms
        (score,) = ask_all(self._client, [("ZSCORE", place, first[0])])
        return now_ms if score is None else int(score)

    def _open_of(self, journal: str, began_before_ms: int, limit: int) -> Sequence[Intent]:
        """Calls under way of one journal, the oldest first."""
        place = f"{self._keys.fleet}:opened:{journal}"
        (teams,) = ask_all(self._client, [("SMEMBERS", place)])
        tags = {team.decode(): self._keys.team(team.decode()) for team in teams}
        counts = ask_all(self._client, [("ZCARD", f"{tag}:open:{journal}") for tag in tags.values()])
        idle = [team for team, count in zip(tags, counts, strict=True) if not count]
        if idle:
            ask_all(self._client, [("SREM", place, *idle)])
        busy = [tag for team, tag in tags.items() if team not in idle]
        found: list[Intent] = []
        before = f"({began_before_ms}"
        asking = [("ZRANGEBYSCORE", f"{tag}:open:{journal}", "-inf", before, "LIMIT", 0, limit) for tag in busy]
        for tag, ids in zip(busy, ask_all(self._client, asking), strict=True):
            if ids:
                (entries,) = ask_all(self._client, [("HMGET", f"{tag}:opened", *ids)])
                found += filter(None, map(_intent, entries))
        return sorted(found, key=lambda one: one.began_ms)[:limit]

    def _open_of_lost(self, began_before_ms: int, limit: int) -> Sequence[Intent]:
        """The same of a journal of which nothing was heard for long; one without any is forgotten."""
        fleet = self._keys.fleet
        ((seconds, _),) = ask_all(self._client, [("TIME",)])
        lost_before = int(seconds) * 1000 - _LOST_MS
        (lost,) = ask_all(self._client, [("ZRANGEBYSCORE", f"{fleet}:journals", "-inf", lost_before, "LIMIT", 0, 10)])
        for name in lost:
            journal = name.decode()
            if found := self._open_of(journal, began_before_ms, limit):
                return found
            (left,) = ask_all(self._client, [("SCARD", f"{fleet}:opened:{journal}")])
            if not left:
                ask_all(self._client, [("ZREM", f"{fleet}:journals", journal)])
        return []


def open_ledger(url: str, namespace: str, journal: str, periods: Periods) -> RedisLedger:
    """The books in the Redis of this URL, for the ledger of one journal. It is asked nothing yet."""
    return RedisLedger(open_client(url), RedisKeys(namespace), journal, periods)


def _sum(one: Folded, other: Folded) -> Folded:
    return Folded(one.booked + other.booked, one.adjusted + other.adjusted, one.ignored + other.ignored)


def _intent(data: bytes | None) -> Intent | None:
    """What TAG:opened has of a call; None if it was settled meanwhile, or is none."""
    with suppress(BadEntry):
        entry = decode_entry((data or b"").partition(b"\n")[2])
        return entry if isinstance(entry, Intent) else None
    return None
