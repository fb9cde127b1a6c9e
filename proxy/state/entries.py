"""What the books record of a call: that it was begun, and how it ended. Never a prompt, an answer or a key.

An intent is entered before a provider is asked, a settlement when the call is over. Both are known by the call's own
id, which the server made. Money is in whole nano-dollars, instants are Unix milliseconds. A field may be added if it
has a default; none is renamed or removed, because journals of an earlier version are read too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
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


@dataclass(frozen=True, slots=True)
class Intent:
    """A call was let in, and may cost this much at most."""

    call_id: str
    request_id: str  #: what the client knows the call by
    began_ms: int
    payer: Payer
    model: str  #: as configured
    is_stream: bool = False
    max_cost_nusd: int = 0  #: upper bound, for all its attempts
    max_input_tokens: int = 0  #: the same
    max_output_tokens: int = 0  #: the same


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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

_INTENT: Final = b"I"
_SETTLEMENT: Final = b"S"
_KNOWN: Final[Mapping[type, frozenset[str]]] = {
    cls: frozenset(one.name for one in fields(cls)) for cls in (Payer, Intent, AttemptEntry, Settlement)
}


def encode_entry(entry: Entry) -> bytes:
    """An entry as bytes: a letter for its kind, then JSON. Raises BadEntry if a number or a text can't be written so.

    Cost: 6 µs.
    """
    try:
        data = orjson.dumps(entry, option=orjson.OPT_STRICT_INTEGER)
    except (TypeError, ValueError) as error:
        raise BadEntry(f"call {entry.call_id}: {error}") from error
    return (_INTENT if isinstance(entry, Intent) else _SETTLEMENT) + data


def decode_entry(data: bytes) -> Entry:
    """The entry that `encode_entry` wrote, here or in another version. Raises BadEntry if it is none. Cost: 12 µs."""
    try:
        members = orjson.loads(memoryview(data)[1:])
        members["payer"] = _make(Payer, members["payer"])
        if data[:1] == _INTENT:
            return _make(Intent, members)
        if data[:1] == _SETTLEMENT:
            members["attempts"] = tuple([_make(AttemptEntry, one) for one in members["attempts"]])
            return _make(Settlement, members)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadEntry(f"not an entry: {type(error).__name__}") from error
    raise BadEntry("an entry of a kind that this version does not know")


def _make(cls: type[_T], members: dict[str, Any]) -> _T:
    try:
        return cls(**members)
    except TypeError:  # a later version has more to say
        known = _KNOWN[cls]
        return cls(**{name: value for name, value in members.items() if name in known})
