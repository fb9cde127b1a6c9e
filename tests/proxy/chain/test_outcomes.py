import pytest

from proxy.chain.outcomes import is_worth_repeating, kind_of, retry_after_s
from proxy.errors import (
    Cause,
    UpstreamAuthError,
    UpstreamError,
    UpstreamFailure,
    UpstreamMisconfigured,
    UpstreamQuotaExhausted,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from routing import Kind


def rejected(status: int, cause: Cause | None) -> UpstreamRejected:
    return UpstreamRejected(status, "no", type="t", code=None, param=None, cause=cause)


@pytest.mark.parametrize(
    ("failure", "kind", "again"),
    [
        (UpstreamError("x"), "failed", True),
        (UpstreamUnavailable("x"), "failed", True),
        (UpstreamTimeout("x"), "timeout", True),
        (UpstreamAuthError("x"), "refused", False),
        (UpstreamMisconfigured("x"), "refused", False),
        (UpstreamQuotaExhausted("x"), "refused", False),
        (rejected(429, "rate_limited"), "rate_limited", False),
        (rejected(400, None), "rejected", False),
        (rejected(400, "context_length"), "rejected", False),
    ],
)
def test_each_failure_is_somebodys_fault(failure: UpstreamFailure, kind: Kind, again: bool) -> None:
    assert kind_of(failure) == kind
    assert is_worth_repeating(failure) is again


def test_what_would_say_the_same_again_is_not_asked_again() -> None:
    failure = UpstreamError("no chat completion")
    failure.is_lasting = True
    assert kind_of(failure) == "failed"
    assert not is_worth_repeating(failure)


@pytest.mark.parametrize(("asked_s", "kept_s"), [(None, None), (3.0, 3.0), (86_400.0, 60.0)])
def test_an_absurd_retry_after_is_capped(asked_s: float | None, kept_s: float | None) -> None:
    failure = UpstreamUnavailable("x")
    failure.retry_after_s = asked_s
    assert retry_after_s(failure) == kept_s


def test_a_target_that_was_asked_for_what_it_has_not_is_not_at_fault() -> None:
    failure = UpstreamMisconfigured("no embeddings")
    failure.is_unsuited = True
    assert kind_of(failure) == "rejected"
    assert not is_worth_repeating(failure)
