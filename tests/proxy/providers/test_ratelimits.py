from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.providers.ratelimits import read_rate_limits
from routing.types import RateLimits

#: 2026-01-02T03:04:05Z
WALL_NOW = 1_767_323_045.0
OPENAI = {
    "X-RateLimit-Limit-Requests": "500",
    "X-RateLimit-Remaining-Requests": "499",
    "X-RateLimit-Reset-Requests": "120ms",
    "X-RateLimit-Limit-Tokens": "30000",
    "X-RateLimit-Remaining-Tokens": "29000",
    "X-RateLimit-Reset-Tokens": "6m0s",
}
ANTHROPIC = {
    "anthropic-ratelimit-requests-limit": "50",
    "anthropic-ratelimit-requests-remaining": "49",
    "anthropic-ratelimit-requests-reset": "2026-01-02T03:04:06Z",
    "anthropic-ratelimit-tokens-limit": "40000",
    "anthropic-ratelimit-tokens-remaining": "39000",
    "anthropic-ratelimit-tokens-reset": "2026-01-02T04:05:05.5+01:00",
}


def read(headers: dict[str, str]) -> RateLimits | None:
    return read_rate_limits(httpx.Headers(headers), 7.0, WALL_NOW)


def reset_of(text: str) -> float | None:
    limits = read({**OPENAI, "X-RateLimit-Reset-Tokens": text})
    assert limits is not None
    return limits.reset_tokens_s


def test_openai_headers_are_read() -> None:
    assert read(OPENAI) == RateLimits(7.0, 500, 499, 30_000, 29_000, 0.12, 360.0)


def test_anthropic_headers_are_read_with_resets_counted_from_now() -> None:
    assert read(ANTHROPIC) == RateLimits(7.0, 50, 49, 40_000, 39_000, 1.0, 60.5)


def test_input_tokens_stand_in_where_no_total_is_said() -> None:
    headers = {name.replace("-tokens-", "-input-tokens-"): value for name, value in ANTHROPIC.items()}
    limits = read(headers)
    assert limits is not None
    assert (limits.limit_tokens, limits.remaining_tokens, limits.reset_tokens_s) == (40_000, 39_000, 60.5)
    both = read({**headers, **ANTHROPIC, "anthropic-ratelimit-tokens-remaining": "5"})
    assert both is not None
    assert both.remaining_tokens == 5


def test_a_reset_in_the_past_is_now() -> None:
    limits = read({**ANTHROPIC, "anthropic-ratelimit-tokens-reset": "2026-01-02T03:00:00Z"})
    assert limits is not None
    assert limits.reset_tokens_s == 0.0


@pytest.mark.parametrize("text", ["", "soon", "2026-01-02T03:04:06", "2026-13-02T03:04:06Z", "9999-12-31T23:59:59Z"])
def test_an_unreadable_time_is_unknown(text: str) -> None:
    limits = read({**ANTHROPIC, "anthropic-ratelimit-tokens-reset": text})
    assert limits is not None
    assert limits.reset_tokens_s is None
    assert limits.reset_requests_s == 1.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("20ms", 0.02),
        ("1h2m3s", 3723.0),
        ("1m12.5s", 72.5),
        ("2m", 120.0),
        ("1d", 86_400.0),
        ("1s20ms", 1.02),
        ("0s", 0.0),
        ("12", 12.0),
        ("0.25", 0.25),
    ],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert reset_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "soon", "-1", "-1s", "nan", "inf", "1e400", "1s1m", "1 s", "1767323045", "s", "1.2.3s", "9" * 400]
)
def test_an_unreadable_duration_is_unknown(text: str) -> None:
    assert reset_of(text) is None


@pytest.mark.parametrize("text", ["-1", "", "many", "1e3", "1_000", "1.5", "٣", "9" * 5000, "5, 5"])
def test_an_unreadable_count_is_unknown(text: str) -> None:
    limits = read_rate_limits({"x-ratelimit-remaining-requests": "9", "x-ratelimit-remaining-tokens": text}, 7.0, 0.0)
    assert limits == RateLimits(7.0, remaining_requests=9)


@pytest.mark.parametrize("limit", ["-1", "0"])
def test_what_remains_of_an_unknown_limit_is_unknown(limit: str) -> None:
    limits = read({**OPENAI, "X-RateLimit-Limit-Tokens": limit, "X-RateLimit-Remaining-Tokens": "0"})
    assert limits == RateLimits(7.0, 500, 499, reset_requests_s=0.12)


def test_nothing_left_is_zero_and_not_unknown() -> None:
    limits = read({**OPENAI, "X-RateLimit-Remaining-Requests": "0"})
    assert limits is not None
    assert limits.remaining_requests == 0


def test_requests_alone_are_enough() -> None:
    limits = read({name: value for name, value in OPENAI.items() if name.endswith("Requests")})
    assert limits == RateLimits(7.0, 500, 499, reset_requests_s=0.12)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "application/json", "x-ratelimit": "5"},
        dict.fromkeys(OPENAI, "-1"),
        dict.fromkeys(OPENAI, "?"),
        dict.fromkeys(ANTHROPIC, ""),
    ],
)
def test_without_a_usable_figure_there_are_no_limits(headers: dict[str, str]) -> None:
    assert read(headers) is None


@given(
    st.dictionaries(
        st.sampled_from([name.lower() for name in (*OPENAI, *ANTHROPIC)]),
        st.text("0123456789.-+:TZhdms e٣", max_size=24),
    ),
    st.floats(0, 4e9),
)
def test_any_text_is_read_without_a_fault(headers: dict[str, str], wall_now: float) -> None:
    limits = read_rate_limits(headers, 7.0, wall_now)
    if limits is not None:
        counts = (limits.limit_requests, limits.remaining_requests, limits.limit_tokens, limits.remaining_tokens)
        assert all(count is None or count >= 0 for count in counts)
        assert all(s is None or 0 <= s <= 31 * 86_400 for s in (limits.reset_requests_s, limits.reset_tokens_s))
