"""What the books say of a call that is over: its attempts, and how sure each one's cost is. Pure.

An attempt is `reported` if its provider said what it used, or surely used nothing; `estimated` if an answer came and
nothing was said of it; `unmetered` if the provider was at work and nothing came: what it may charge for that nobody
knows.
"""

from __future__ import annotations

from typing import Final

from proxy.call import Attempt, CacheNote, Call, PriceTag
from proxy.chain.facts import input_tokens_of
from proxy.state import AttemptEntry, Metering, Payer, Settlement
from proxy.wire.usage import Usage

#: An estimate is off by no more than that for 95 of 100 texts (docs/accounting.md): as a share of what is estimated.
_LOW_PERCENT: Final = 75
_HIGH_PERCENT: Final = 135
#: What stands in a provider's answer goes no further than this.
_MAX_ID_CHARS: Final = 200
_NOTHING: Final = Usage(0, 0)


def settlement_of(
    call: Call, payer: Payer, began_ms: int, duration_s: float, max_tokens: tuple[int, int]
) -> Settlement:
    """The entry of a call. `began_ms`: Unix time; `max_tokens`: input and output of one attempt, at most."""
    first_ms = None if call.first_block_at is None else _milliseconds(call.first_block_at - call.received_at)
    duration_ms = _milliseconds(duration_s)
    note = call.cache if call.cache is not None and call.cache.is_hit and call.error is None else None
    return Settlement(
        call_id=call.id,
        request_id=call.request_id,
        began_ms=began_ms,
        ended_ms=began_ms + duration_ms,
        payer=payer,
        model=call.model,
        asked_model=call.request.model[:_MAX_ID_CHARS],
        status=call.failed_status or call.status,
        source=_source_of(call, note),
        is_stream=call.request.stream,
        error=_error_of(call),
        fallback=call.fallback,
        first_ms=first_ms,
        ttft_ms=first_ms if call.request.stream else None,
        duration_ms=duration_ms,
        saved_nusd=0 if call.cache is None or call.error is not None else call.cache.saved_nusd,
        attempts=tuple([entry_of(one, call, max_tokens) for one in call.attempts]),
    )


def _source_of(call: Call, note: CacheNote | None) -> str:
    if call.fallback == "static":
        return "static"
    if call.fallback == "cache" or (note is not None and note.result == "semantic"):
        return "cache:semantic"
    return "upstream" if note is None else "cache:exact"


def entry_of(attempt: Attempt, call: Call, max_tokens: tuple[int, int]) -> AttemptEntry:
    """One attempt of it."""
    usage, low, high = attempt.usage, 100, 100
    metering: Metering = "reported"
    bound_nusd: int | None = None
    if usage is None:
        usage, metering, low, is_open = _guess(attempt, call, max_tokens)
        high = _HIGH_PERCENT if metering == "estimated" else 100
        if is_open and attempt.price is not None:
            bound_nusd = attempt.price.bound_nusd(*max_tokens)
    cost_nusd = _cost(attempt.price, usage) if attempt.cost_nusd is None else attempt.cost_nusd
    return AttemptEntry(
        target=attempt.target,
        provider=attempt.provider,
        role=attempt.role,
        metering=metering,
        cost_nusd=cost_nusd,
        low_nusd=cost_nusd * low // 100,
        high_nusd=max(cost_nusd, bound_nusd) if bound_nusd is not None else cost_nusd * high // 100,
        uncached_tokens=usage.uncached_tokens,
        cached_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        audio_input_tokens=usage.audio_input_tokens,
        visible_tokens=usage.visible_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        audio_output_tokens=usage.audio_output_tokens,
        credential_id=attempt.credential_id,
        upstream_id=_text(attempt.upstream_id),
        service_tier=_text(attempt.service_tier),
        price_version="" if attempt.price is None else attempt.price.version,
        error=attempt.error,
        is_answer=attempt is call.answered,
    )


def _guess(attempt: Attempt, call: Call, max_tokens: tuple[int, int]) -> tuple[Usage, Metering, int, bool]:
    """Where nothing was reported: what was used, how that is known, how little it may cost (percent of it), and
    whether it may be as much as a call can be. A guess is never above what was reserved.
    """
    if attempt.produced_tokens is not None:
        usage = Usage(input_tokens_of(call.request), min(attempt.produced_tokens, max_tokens[1]))
        is_whole = attempt is call.answered and call.error is None
        return usage, "estimated", _LOW_PERCENT, not is_whole
    if attempt.may_cost:  # also one that was cancelled a moment ago, and was not told yet
        return Usage(input_tokens_of(call.request), 0), "unmetered", 0, True
    return _NOTHING, "reported", 100, False


def _cost(price: PriceTag | None, usage: Usage) -> int:
    return 0 if price is None or usage is _NOTHING else price.cost_nusd(usage)


def _error_of(call: Call) -> str | None:
    """With what it was refused by, where that is known: `rate_limited:team_rpm`."""
    return f"{call.error}:{call.limited_by}" if call.error is not None and call.limited_by is not None else call.error


def _text(value: object) -> str:
    """What a provider said, if it is plain text, and no more of it than an id needs."""
    return value[:_MAX_ID_CHARS] if isinstance(value, str) and value.isprintable() else ""


def _milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))
