"""A settlement as it lies in Redis: a JSON array of what its place does not say already, deflated against a dictionary
of what most calls have in common. A call takes 90 to 150 bytes so, where the journal's form takes 400.

Released dictionaries are never edited: to have another one, append it, with a number of its own.
"""

from __future__ import annotations

import zlib
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from operator import attrgetter
from typing import Any, Final, NamedTuple

import orjson

from proxy.state.base import Booking, EntryRefused, Period
from proxy.state.entries import AttemptEntry, Intent, Payer, Settlement

HOUR_S: Final = 3600
HOUR_MS: Final = 3_600_000
#: What Redis puts before each: which entry of its team's into the books it came with, the most significant byte first.
STAMP_BYTES: Final = 6

_WINDOW: Final = -11  # raw, 2 KB: no call is larger, and a larger one takes longer to set up
_LEVEL: Final = 6
_MEMORY: Final = 4
_DICTIONARIES: Final = {
    1: b'"azure/gpt-4o","azure","anthropic/claude","anthropic","deepseek/deepseek-chat","deepseek","gemini/gemini-",'
    b'"gemini","qwen/qwen-plus","qwen","mistral","upstream_timeout","upstream_error","upstream_rate_limited",'
    b'"insufficient_quota","rate_limited","client_disconnected","orphaned","static","cache:semantic","cache:exact",'
    b'"embeddings","fallback","rescue","hedge","retry","estimated","unmetered","","","","",null,false],'
    b'{"env":"prod"},null,"default",null,200,"upstream",false,null,null,null,null,1000,0,[]]'
    b',"chat",null,200,"upstream",true,null,null,300,300,1000,0,[["openai/gpt-4o-mini","openai","first","reported",'
    b'0,0,0,1000,0,0,0,200,0,0,"","chatcmpl-","default","genai-prices-config:openai/gpt-",null,true]]][0,null,0',
}
_NEWEST: Final = 1

_ATTEMPT: Final = tuple(one.name for one in fields(AttemptEntry))
_attempt_values: Final = attrgetter(*_ATTEMPT)
_settlement_values: Final = attrgetter(
    *("call_id", "request_id", "began_ms", "ended_ms", "model", "asked_model", "status", "source", "is_stream"),
    *("error", "fallback", "first_ms", "ttft_ms", "duration_ms", "saved_nusd"),
)
_payer_values: Final = attrgetter("team", "key_name", "cost_center")
_intent_values: Final = attrgetter(
    *("call_id", "request_id", "began_ms", "model", "is_stream", "max_cost_nusd", "max_input_tokens"),
    "max_output_tokens",
)


def _shapes(*kinds: type | tuple[type, ...]) -> frozenset[tuple[type, ...]]:
    """Every row of types that these allow."""
    rows: list[tuple[type, ...]] = [()]
    for kind in kinds:
        rows = [(*row, one) for row in rows for one in (kind if isinstance(kind, tuple) else (kind,))]
    return frozenset(rows)


_TEXT_OR_NONE: Final = (str, type(None))
_INT_OR_NONE: Final = (int, type(None))
_SETTLEMENT_SHAPES: Final = _shapes(
    *(str, str, int, int, str, str, int, str, bool),
    *(_TEXT_OR_NONE, _TEXT_OR_NONE, _INT_OR_NONE, _INT_OR_NONE, int, int),
)
_ATTEMPT_SHAPES: Final = _shapes(str, str, str, str, *(int,) * 10, str, str, str, str, _TEXT_OR_NONE, bool)
_INTENT_SHAPES: Final = _shapes(str, str, int, str, bool, int, int, int)
_PAYER_SHAPES: Final = _shapes(str, str, str)


class Kept(NamedTuple):
    """A settlement as it was read, still as it was written: what adds up many of them need not know it all."""

    stamp: int
    period: Period
    values: list[Any]  #: see `encode_kept`

    @property
    def is_orphan(self) -> bool:
        """See `Settlement.is_orphan`."""
        return bool(self.values[_ERROR] == "orphaned")

    @property
    def past_ms(self) -> int:
        """When it began, in milliseconds past its hour."""
        return int(self.values[_PAST_MS])

    @property
    def attempts(self) -> list[list[Any]]:
        """The members of each attempt, in the order of AttemptEntry."""
        attempts: list[list[Any]] = self.values[_ATTEMPTS]
        return attempts

    @property
    def saved_nusd(self) -> int:
        """See `Settlement.saved_nusd`."""
        return int(self.values[_SAVED])


#: Places in the array.
_PAST_MS: Final = 2
_ERROR: Final = 12
_SAVED: Final = 17
_ATTEMPTS: Final = 18
#: Where an attempt has its amounts, in the order of AMOUNTS.
AMOUNTS_AT: Final = slice(_ATTEMPT.index("cost_nusd"), _ATTEMPT.index("audio_output_tokens") + 1)


def place_in_attempt(name: str) -> int:
    """Where an attempt's values have a member."""
    return _ATTEMPT.index(name)


def hour_of(at_ms: int) -> int:
    """The hour of an instant, counted from 1970: what the hashes of calls are named by, and by their begin."""
    return at_ms // HOUR_MS


def utc_day(hour: int) -> str:
    """The day of such an hour in UTC, as 2026-11-21. Raises what a calendar says to a number that is no instant."""
    return datetime.fromtimestamp(hour * HOUR_S, UTC).date().isoformat()


def check_intent(intent: Intent) -> None:
    """Could it be booked as an orphan? Raises EntryRefused."""
    shapes = tuple(map(type, _intent_values(intent))), tuple(map(type, _payer_values(intent.payer)))
    if shapes[0] not in _INTENT_SHAPES or shapes[1] not in _PAYER_SHAPES:
        raise EntryRefused(f"call {intent.call_id}: a member is of another type than it should be")


def encode_kept(booking: Booking) -> bytes:
    """A settlement and when it is booked, as bytes; without team, call id and hour of its begin, which its place says.

    Raises EntryRefused if a member is of another type than it should be, or beyond what an entry may hold. Cost: 12 µs.
    """
    settlement, period = booking
    values = _settlement_values(settlement)
    payer = _payer_values(settlement.payer)
    attempts = [_attempt_values(one) for one in settlement.attempts]
    if tuple(map(type, values)) not in _SETTLEMENT_SHAPES or tuple(map(type, payer)) not in _PAYER_SHAPES:
        raise EntryRefused(f"call {settlement.call_id}: a member is of another type than it should be")
    for one in attempts:
        if tuple(map(type, one)) not in _ATTEMPT_SHAPES:
            raise EntryRefused(
                f"call {settlement.call_id}: a member of an attempt is of another type than it should be"
            )
    for tag in settlement.payer.tags.values():
        if type(tag) is not str:
            raise EntryRefused(f"call {settlement.call_id}: a tag is no text")
    call_id, request_id, began_ms, ended_ms, model, asked_model, *others = values
    try:
        array = [
            _when(began_ms, period),
            None if request_id == call_id else request_id,
            began_ms % HOUR_MS,
            ended_ms - began_ms,
            *payer[1:],
            settlement.payer.tags or None,
            model,
            None if asked_model == model else asked_model,
            *others,
            attempts,
        ]
        data = orjson.dumps(array, option=orjson.OPT_STRICT_INTEGER)
    except (AttributeError, OSError, OverflowError, TypeError, ValueError) as error:
        raise EntryRefused(f"call {settlement.call_id}: {type(error).__name__}: {error}") from error
    deflating = zlib.compressobj(
        _LEVEL, zlib.DEFLATED, _WINDOW, _MEMORY, zlib.Z_DEFAULT_STRATEGY, _DICTIONARIES[_NEWEST]
    )
    return b"%c%b%b" % (_NEWEST, deflating.compress(data), deflating.flush())


def _when(began_ms: int, period: Period) -> int | list[Any]:
    """0 if it is booked in its hour and on that day of UTC; 1 or -1 if its day is another one in the books' time zone;
    the period itself if it is booked at another time.
    """
    hour = hour_of(began_ms)
    day = utc_day(hour)
    if period.hour == hour * HOUR_S:
        for days in (0, 1, -1):
            if _shifted(day, days) == period.day:
                return days
    return list(period)


def _shifted(day: str, days: int) -> str:
    return (date.fromisoformat(day) + timedelta(days=days)).isoformat() if days else day


def read_kept(data: bytes, hour: int) -> Kept:
    """What Redis has of a call that began in this hour. Raises ValueError if it is none. Cost: 4 µs."""
    body = memoryview(data)[STAMP_BYTES:]
    try:
        inflating = zlib.decompressobj(_WINDOW, _DICTIONARIES[body[0]])
        values = orjson.loads(inflating.decompress(body[1:]))
        when = values[0]
        period = Period(hour * HOUR_S, _shifted(utc_day(hour), when)) if isinstance(when, int) else Period(*when)
        return Kept(int.from_bytes(data[:STAMP_BYTES]), period, values)
    except (IndexError, KeyError, TypeError, ValueError, zlib.error) as error:
        raise ValueError(f"no settlement, or one of a later version: {type(error).__name__}") from error


def settlement_of(kept: Kept, team: str, call_id: str, hour: int) -> Settlement:
    """The settlement as it was entered; members that a later version appended are left out. Cost: 4 µs."""
    _, request_id, past_ms, took_ms, key_name, cost_center, tags, model, asked_model, *others = kept.values
    status, source, is_stream, error, fallback, first_ms, ttft_ms, duration_ms, saved_nusd, attempts = others[:10]
    began_ms = hour * HOUR_MS + past_ms
    return Settlement(
        call_id=call_id,
        request_id=request_id or call_id,
        began_ms=began_ms,
        ended_ms=began_ms + took_ms,
        payer=Payer(team, key_name, cost_center, tags or {}),
        model=model,
        asked_model=asked_model or model,
        status=status,
        source=source,
        is_stream=is_stream,
        error=error,
        fallback=fallback,
        first_ms=first_ms,
        ttft_ms=ttft_ms,
        duration_ms=duration_ms,
        saved_nusd=saved_nusd,
        attempts=tuple([AttemptEntry(*one[: len(_ATTEMPT)]) for one in attempts]),
    )
