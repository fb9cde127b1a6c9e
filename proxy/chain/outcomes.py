"""What an attempt's end says about its target, in routing's words. Pure."""

from __future__ import annotations

from typing import Final

from proxy.errors import (
    UpstreamAuthError,
    UpstreamFailure,
    UpstreamMisconfigured,
    UpstreamQuotaExhausted,
    UpstreamRejected,
    UpstreamTimeout,
)
from routing import Kind, cap_retry_after

#: After these a call that nobody answers has failed by its targets' fault.
THEIR_FAULT: Final[frozenset[Kind]] = frozenset({"failed", "timeout", "rate_limited", "refused"})
#: No provider's Retry-After keeps its target out for longer.
_MAX_RETRY_AFTER_S: Final = 60.0


def kind_of(failure: UpstreamFailure) -> Kind:
    """Whose fault a failure was: the target's, its limits', our credential's, or the request's own."""
    if failure.is_unsuited:
        return "rejected"
    if isinstance(failure, UpstreamRejected):
        return "rate_limited" if failure.cause == "rate_limited" else "rejected"
    if isinstance(failure, UpstreamTimeout):
        return "timeout"
    if isinstance(failure, UpstreamAuthError | UpstreamMisconfigured | UpstreamQuotaExhausted):
        return "refused"
    return "failed"


def retry_after_s(failure: UpstreamFailure) -> float | None:
    """How long the provider asks to be left alone, within reason."""
    asked_s = failure.retry_after_s
    return None if asked_s is None else cap_retry_after(asked_s, _MAX_RETRY_AFTER_S)[0]


def is_worth_repeating(failure: UpstreamFailure) -> bool:
    """May the same target be asked again, when no other is left? Not if it will say the same."""
    return not failure.is_lasting and kind_of(failure) in ("failed", "timeout")
