"""What the books record of a call: that it was begun, and how it ended. Never a prompt, an answer or a key.

An intent is entered before a provider is asked, a settlement when the call is over. Both are known by the call's own
id, which the server made. Money is in whole nano-dollars, instants are Unix milliseconds. A field may be added behind
the others if it has a default; none is renamed, moved or removed, because journals of an earlier version are read too.
Entries are values, not to be changed; they are not frozen, because making them would take three times as long.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, Final, Literal, TypeVar

import orjson

#: Why an attempt was made.
Role = Literal["first", "retry", "hedge", "rescue", "fallback"]
#: How an attempt's tokens are known: by the provider's report; by our own count; not at all, though they may be billed.
Metering = Literal["reported", "estimated", "unmetered"]

#: `error` of a call of which nothing was heard after its intent.
ORPHANED: Final = "orphaned"

#: Not a number that an entry may hold: counters, sums and other programs read these as doubles.
MAX_INTEGER: Final = 2**53


class BadEntry(ValueError):
    """An entry that can't be written down, or a record that is none of ours."""


@dataclass(frozen=True, slots=True)
class Payer:
    """Who a call is booked to."""

    team: str
    key_name: str
    cost_center: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)  #: declared keys only


@dataclass(slots=True)
class Intent:
    """A call was let in, and may cost this much at most."""

    call_id: str
    request_id: str  #: what the client knows the call by
    began_ms: int
    payer: Payer
    model: str  #: as configured
    is_stream: bool = False
    max_cost_nusd: int = 0  #: upper bound, for one attempt
    max_input_tokens: int = 0  #: the same
    max_output_tokens: int = 0  #: the same


@dataclass(slots=True)
class AttemptEntry:
    """One try at one target. Each token is in one part only (`proxy/wire/usage.py`)."""

    target: str
    provider: str
    role: Role
    metering: Metering
    cost_nusd: int = 0  #: what is booked
    low_nusd: int = 0  #: what it costs at least; as `cost_nusd` where that is sure
    high_nusd: int = 0  #: what it costs at most
    uncached_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    audio_input_tokens: int = 0
    visible_tokens: int = 0
    reasoning_tokens: int = 0
    audio_output_tokens: int = 0
    credential_id: str = ""  #: which of the provider's credentials; never the credential
    upstream_id: str = ""  #: the provider's own id of its answer
    service_tier: str = ""
    price_version: str = ""
    error: str | None = None
    is_answer: bool = False  #: did the client get this one's answer?

    @property
    def tokens(self) -> int:
        """All tokens, in and out."""
        return (
            self.uncached_tokens
            + self.cached_tokens
            + self.cache_write_tokens
            + self.audio_input_tokens
            + self.visible_tokens
            + self.reasoning_tokens
            + self.audio_output_tokens
        )


@dataclass(slots=True)
class Settlement:
    """A call is over."""

    call_id: str
    request_id: str
    began_ms: int
    ended_ms: int
    payer: Payer
    model: str  #: as configured
    asked_model: str  #: as the client wrote it
    status: int  #: HTTP status
    source: str  #: `upstream`, `static`, `cache:exact`, `cache:semantic`
    is_stream: bool = False
    error: str | None = None
    fallback: str | None = None
    first_ms: int | None = None  #: after this long the first byte of the answer was ready
    ttft_ms: int | None = None  #: the same for a stream's first token
    duration_ms: int = 0
    saved_nusd: int = 0  #: what an answer from the cache would have cost, less what it did
    attempts: tuple[AttemptEntry, ...] = ()

    @property
    def is_orphan(self) -> bool:
        """Is this what we assume of a call, because its end was never recorded?"""
        return self.error == ORPHANED

    @property
    def answered(self) -> int | None:
        """Which attempt's answer the client got, or else the last one; None if there was none."""
        for at, attempt in enumerate(self.attempts):
            if attempt.is_answer:
                return at
        return len(self.attempts) - 1 if self.attempts else None


def orphan_of(intent: Intent, now_ms: int) -> Settlement:
    """What is booked for a call that will not be settled: all that it may have cost."""
    cost = intent.max_cost_nusd
    attempt = AttemptEntry(
        target="",
        provider="",
        role="first",
        metering="unmetered",
        cost_nusd=cost,
        high_nusd=cost,
        uncached_tokens=intent.max_input_tokens,
        visible_tokens=intent.max_output_tokens,
        error=ORPHANED,
    )
    return Settlement(
        call_id=intent.call_id,
        request_id=intent.request_id,
        began_ms=intent.began_ms,
        ended_ms=max(now_ms, intent.began_ms),
        payer=intent.payer,
        model=intent.model,
        asked_model=intent.model,
        status=0,
        source="upstream",
        is_stream=intent.is_stream,
        error=ORPHANED,
        attempts=(attempt,),
    )


Entry = Intent | Settlement
_T = TypeVar("_T")

_INTENT: Final = b"i"
_SETTLEMENT: Final = b"s"
#: The same in journals of version 0.1, whose entries are JSON objects.
_INTENT_OBJECT: Final = b"I"
_SETTLEMENT_OBJECT: Final = b"S"


def _names(cls: type) -> tuple[str, ...]:
    return tuple(one.name for one in fields(cls))


_PAYER: Final = _names(Payer)
_ATTEMPT: Final = _names(AttemptEntry)
_OF_INTENT: Final = _names(Intent)[1:]  # behind the call's id
_OF_SETTLEMENT: Final = _names(Settlement)[1:]
_payer_values: Final = attrgetter(*_PAYER)
_attempt_values: Final = attrgetter(*_ATTEMPT)
_intent_values: Final = attrgetter(*_OF_INTENT)
_settlement_values: Final = attrgetter(*_OF_SETTLEMENT)
_PAYER_OF_INTENT: Final = _OF_INTENT.index("payer")
_PAYER_OF_SETTLEMENT: Final = _OF_SETTLEMENT.index("payer")
_ATTEMPTS: Final = _OF_SETTLEMENT.index("attempts")


def encode_entry(entry: Entry) -> bytes:
    """An entry as bytes: a letter for its kind, the call's id as JSON, a line feed, and the values of its other fields
    in their order as a JSON array, those of its payer and its attempts as arrays within.

    Raises BadEntry if a number or a text can't be written so. Cost: 1.5 µs.
    """
    try:
        payer = _payer_values(entry.payer)
        if isinstance(entry, Intent):
            kind, values = _INTENT, list(_intent_values(entry))
            values[_PAYER_OF_INTENT] = payer
        else:
            kind, values = _SETTLEMENT, list(_settlement_values(entry))
            values[_PAYER_OF_SETTLEMENT] = payer
            values[_ATTEMPTS] = [_attempt_values(one) for one in entry.attempts]
        data = orjson.dumps(values, option=orjson.OPT_STRICT_INTEGER)
        return b"%b%b\n%b" % (kind, orjson.dumps(entry.call_id), data)
    except (AttributeError, TypeError, ValueError) as error:
        raise BadEntry(f"call {entry.call_id}: {error}") from error


def peek_entry(data: bytes) -> tuple[bytes, bool]:
    """Which call an entry is of (the same bytes for the same call), and is it a settlement? Raises BadEntry if it is
    no entry, but reads no more than its beginning. Cost: 0.3 µs.
    """
    kind, (key, feed, _) = data[:1], data[1:].partition(b"\n")
    if feed and kind in (_INTENT, _SETTLEMENT):
        return key, kind == _SETTLEMENT
    entry = decode_entry(data)
    return orjson.dumps(entry.call_id), isinstance(entry, Settlement)


def decode_entry(data: bytes) -> Entry:
    """The entry that `encode_entry` wrote, here or in another version. Raises BadEntry if it is none. Cost: 5 µs."""
    kind = data[:1]
    try:
        if kind in (_INTENT, _SETTLEMENT):
            call_id, _, values = data[1:].partition(b"\n")
            return _of_array(kind, orjson.loads(call_id), orjson.loads(values))
        if kind in (_INTENT_OBJECT, _SETTLEMENT_OBJECT):
            return _of_object(kind, orjson.loads(data[1:]))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise BadEntry(f"not an entry: {type(error).__name__}") from error
    raise BadEntry("an entry of a kind that this version does not know")


def _of_array(kind: bytes, call_id: str, values: list[Any]) -> Entry:
    """An earlier version has less to say, and a later one more."""
    if kind == _INTENT:
        values[_PAYER_OF_INTENT] = Payer(*values[_PAYER_OF_INTENT][: len(_PAYER)])
        return Intent(call_id, *values[: len(_OF_INTENT)])
    values[_PAYER_OF_SETTLEMENT] = Payer(*values[_PAYER_OF_SETTLEMENT][: len(_PAYER)])
    values[_ATTEMPTS] = tuple([AttemptEntry(*one[: len(_ATTEMPT)]) for one in values[_ATTEMPTS]])
    return Settlement(call_id, *values[: len(_OF_SETTLEMENT)])


def _of_object(kind: bytes, members: dict[str, Any]) -> Entry:
    members["payer"] = _known(Payer, members["payer"])
    if kind == _INTENT_OBJECT:
        return _known(Intent, members)
    members["attempts"] = tuple([_known(AttemptEntry, one) for one in members["attempts"]])
    return _known(Settlement, members)


def _known(cls: type[_T], members: dict[str, Any]) -> _T:
    names = _names(cls)
    return cls(**{name: value for name, value in members.items() if name in names})
