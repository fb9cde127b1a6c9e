"""Token counts as providers report them."""

from __future__ import annotations

import pytest

from proxy.wire.usage import Usage, read_usage


def test_openai_usage_is_read_with_its_cached_tokens() -> None:
    reported = {
        "prompt_tokens": 10,
        "completion_tokens": 4,
        "total_tokens": 14,
        "prompt_tokens_details": {"cached_tokens": 6},
    }
    assert read_usage(reported) == Usage(10, 4, 6)


def test_explicit_zero_is_a_count() -> None:
    assert read_usage({"prompt_tokens": 0, "completion_tokens": 0}) == Usage(0, 0, 0)


def test_deepseek_names_its_cache_hits_otherwise() -> None:
    assert read_usage({"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 8}) == Usage(9, 1, 8)


def test_standard_name_wins_over_deepseeks_even_when_zero() -> None:
    reported = {
        "prompt_tokens": 9,
        "completion_tokens": 1,
        "prompt_cache_hit_tokens": 8,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    assert read_usage(reported) == Usage(9, 1, 0)


def test_cached_tokens_never_exceed_the_input() -> None:
    assert read_usage({"prompt_tokens": 3, "completion_tokens": 1, "prompt_cache_hit_tokens": 8}) == Usage(3, 1, 3)


@pytest.mark.parametrize(
    "details", [None, [], "6", {"cached_tokens": -1}, {"cached_tokens": None}, {"cached_tokens": "x"}]
)
def test_unreadable_details_count_as_no_cache(details: object) -> None:
    reported = {"prompt_tokens": 3, "completion_tokens": 1, "prompt_tokens_details": details}
    assert read_usage(reported) == Usage(3, 1, 0)


@pytest.mark.parametrize(
    "reported",
    [
        None,
        [],
        "usage",
        {},
        {"prompt_tokens": 3},
        {"completion_tokens": 3},
        {"prompt_tokens": -1, "completion_tokens": 3},
        {"prompt_tokens": 1.0, "completion_tokens": 3},
        {"prompt_tokens": True, "completion_tokens": 3},
        {"prompt_tokens": "1", "completion_tokens": 3},
        {"prompt_tokens": None, "completion_tokens": 3},
    ],
)
def test_garbage_is_no_usage(reported: object) -> None:
    assert read_usage(reported) is None
