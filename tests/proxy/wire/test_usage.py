"""Token counts as providers report them."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.wire.usage import Usage, merge_reports, read_usage

#: What each provider sends, and the parts of it.
SAMPLES: dict[str, tuple[dict[str, Any], Usage]] = {
    "openai": (
        {
            "prompt_tokens": 2006,
            "completion_tokens": 300,
            "total_tokens": 2306,
            "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 192,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 8,
                "rejected_prediction_tokens": 2,
            },
        },
        Usage(86, 108, cached_tokens=1920, reasoning_tokens=192),
    ),
    "openai, cache writes": (
        {
            "prompt_tokens": 2600,
            "completion_tokens": 10,
            "total_tokens": 2610,
            "prompt_tokens_details": {"cached_tokens": 2000, "cache_write_tokens": 400},
        },
        Usage(200, 10, cached_tokens=2000, cache_write_tokens=400),
    ),
    "openai, audio": (
        {
            "prompt_tokens": 61,
            "completion_tokens": 250,
            "total_tokens": 311,
            "prompt_tokens_details": {"audio_tokens": 47, "text_tokens": 14, "cached_tokens": 0, "image_tokens": 0},
            "completion_tokens_details": {"audio_tokens": 200, "text_tokens": 50, "reasoning_tokens": 0},
        },
        Usage(14, 50, audio_input_tokens=47, audio_output_tokens=200),
    ),
    "openai, responses": (
        {
            "input_tokens": 328,
            "input_tokens_details": {"cached_tokens": 256, "cache_write_tokens": 0},
            "output_tokens": 52,
            "output_tokens_details": {"reasoning_tokens": 40},
            "total_tokens": 380,
        },
        Usage(72, 12, cached_tokens=256, reasoning_tokens=40),
    ),
    "azure": (
        {
            "completion_tokens": 9,
            "completion_tokens_details": None,
            "prompt_tokens": 20,
            "prompt_tokens_details": None,
            "total_tokens": 29,
        },
        Usage(20, 9),
    ),
    "anthropic": (
        {
            "input_tokens": 12,
            "cache_creation_input_tokens": 256,
            "cache_read_input_tokens": 1024,
            "cache_creation": {"ephemeral_5m_input_tokens": 256, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 90,
            "output_tokens_details": {"thinking_tokens": 60},
            "service_tier": "standard",
        },
        Usage(12, 30, cached_tokens=1024, cache_write_tokens=256, reasoning_tokens=60),
    ),
    "anthropic, no cache": (
        {"input_tokens": 12, "cache_creation_input_tokens": None, "cache_read_input_tokens": None, "output_tokens": 3},
        Usage(12, 3),
    ),
    "anthropic, through litellm": (
        {
            "prompt_tokens": 1292,
            "completion_tokens": 90,
            "total_tokens": 1382,
            "cache_creation_input_tokens": 256,
            "cache_read_input_tokens": 1024,
            "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": None},
        },
        Usage(12, 90, cached_tokens=1024, cache_write_tokens=256),
    ),
    "anthropic, through portkey": (
        {
            "prompt_tokens": 12,
            "completion_tokens": 90,
            "total_tokens": 1382,
            "cache_creation_input_tokens": 256,
            "cache_read_input_tokens": 1024,
            "prompt_tokens_details": {"cached_tokens": 1024},
        },
        Usage(12, 90, cached_tokens=1024, cache_write_tokens=256),
    ),
    "deepseek": (
        {
            "prompt_tokens": 90,
            "completion_tokens": 30,
            "total_tokens": 120,
            "prompt_cache_hit_tokens": 64,
            "prompt_cache_miss_tokens": 26,
            "completion_tokens_details": {"reasoning_tokens": 25},
        },
        Usage(26, 5, cached_tokens=64, reasoning_tokens=25),
    ),
    "qwen": (
        {
            "prompt_tokens": 3019,
            "completion_tokens": 104,
            "total_tokens": 3123,
            "prompt_tokens_details": {"cached_tokens": 2048},
        },
        Usage(971, 104, cached_tokens=2048),
    ),
    "qwen, explicit cache": (
        {
            "prompt_tokens": 1605,
            "completion_tokens": 20,
            "total_tokens": 1625,
            "prompt_tokens_details": {"cached_tokens": 0, "cache_creation_input_tokens": 1500, "cache_type": "x"},
        },
        Usage(105, 20, cache_write_tokens=1500),
    ),
    "moonshot": (
        {"prompt_tokens": 2989, "completion_tokens": 8, "total_tokens": 2997, "cached_tokens": 1792},
        Usage(1197, 8, cached_tokens=1792),
    ),
    "groq": (
        {"queue_time": 0.07, "prompt_tokens": 23, "prompt_time": 0.006, "completion_tokens": 19, "total_tokens": 42},
        Usage(23, 19),
    ),
    "xai": (
        {
            "prompt_tokens": 10120,
            "completion_tokens": 1499,
            "total_tokens": 14428,
            "prompt_tokens_details": {"cached_tokens": 128},
            "completion_tokens_details": {"reasoning_tokens": 2809},
        },
        Usage(9992, 1499, cached_tokens=128, reasoning_tokens=2809),
    ),
    "gemini": (
        {"prompt_tokens": 20, "completion_tokens": 198, "total_tokens": 623},
        Usage(20, 198, reasoning_tokens=405),
    ),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_each_providers_usage_is_read_in_parts(name: str) -> None:
    reported, parts = SAMPLES[name]
    assert read_usage(reported) == parts


@pytest.mark.parametrize("names", [("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens")])
def test_explicit_zero_is_a_count(names: tuple[str, str]) -> None:
    assert read_usage(dict.fromkeys(names, 0)) == Usage(0, 0)


def test_an_explicit_zero_is_not_looked_for_under_another_name() -> None:
    reported = {
        "prompt_tokens": 9,
        "completion_tokens": 1,
        "prompt_cache_hit_tokens": 8,
        "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "cache_creation_input_tokens": 4,
    }
    assert read_usage(reported) == Usage(9, 1)


def test_details_take_no_more_than_is_left() -> None:
    reported = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 6, "cache_write_tokens": 3, "audio_tokens": 7},
        "completion_tokens_details": {"audio_tokens": 4, "reasoning_tokens": 9},
    }
    parts = Usage(
        0,
        0,
        cached_tokens=6,
        cache_write_tokens=3,
        audio_input_tokens=1,
        audio_output_tokens=4,
        reasoning_tokens=1,
    )
    assert read_usage(reported) == parts


def test_what_the_total_lacks_is_not_taken_away() -> None:
    assert read_usage({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 1}) == Usage(10, 5)


def test_reasoning_beside_the_answer_is_no_cache_beside_the_prompt() -> None:
    reported = {
        "prompt_tokens": 200,
        "completion_tokens": 5,
        "total_tokens": 333,
        "prompt_tokens_details": {"cached_tokens": 128},
        "completion_tokens_details": {"reasoning_tokens": 128},
    }
    assert read_usage(reported) == Usage(72, 5, cached_tokens=128, reasoning_tokens=128)


@pytest.mark.parametrize(
    "details", [None, [], "6", {"cached_tokens": -1}, {"cached_tokens": None}, {"cached_tokens": "x"}]
)
def test_unreadable_details_count_as_none(details: object) -> None:
    reported = {
        "prompt_tokens": 3,
        "completion_tokens": 1,
        "prompt_tokens_details": details,
        "completion_tokens_details": details,
    }
    assert read_usage(reported) == Usage(3, 1)


@pytest.mark.parametrize(
    "reported",
    [
        None,
        [],
        "usage",
        {},
        {"prompt_tokens": 3},
        {"completion_tokens": 3},
        {"output_tokens": 3},
        {"total_tokens": 3},
        {"prompt_tokens": 3, "output_tokens": 3},
        {"prompt_tokens": -1, "completion_tokens": 3},
        {"prompt_tokens": 1.0, "completion_tokens": 3},
        {"prompt_tokens": True, "completion_tokens": 3},
        {"prompt_tokens": "1", "completion_tokens": 3},
        {"prompt_tokens": None, "completion_tokens": 3},
        {"prompt_tokens": 2**63, "completion_tokens": 3},
    ],
)
def test_garbage_is_no_usage(reported: object) -> None:
    assert read_usage(reported) is None


def test_usages_add_up_part_by_part() -> None:
    assert Usage(1, 2, 3, 4, 5, 6, 7) + Usage(10, 20, 30, 40, 50, 60, 70) == Usage(11, 22, 33, 44, 55, 66, 77)


# -- reports of a stream --


def test_a_later_report_replaces_what_it_counts_and_keeps_the_rest() -> None:
    earlier = {
        "prompt_tokens": 9,
        "completion_tokens": 1,
        "total_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 1},
    }
    later = {
        "prompt_tokens": 9,
        "completion_tokens": 4,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": None},
    }
    assert merge_reports(earlier, later) == {
        "prompt_tokens": 9,
        "completion_tokens": 4,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 1},
    }
    assert earlier["total_tokens"] == 10


def test_halves_of_a_report_make_a_whole() -> None:
    start = {"input_tokens": 12, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 0, "output_tokens": 1}
    assert read_usage(merge_reports(start, {"output_tokens": 40})) == Usage(12, 40, cached_tokens=100)
    assert read_usage(merge_reports({"prompt_tokens": 3}, {"completion_tokens": 2})) == Usage(3, 2)


@pytest.mark.parametrize("garbage", [None, "4", -1, [], 1.5, True])
def test_what_is_no_count_replaces_none(garbage: object) -> None:
    whole = {"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}}
    assert merge_reports(whole, dict.fromkeys(whole, garbage)) == whole


# -- properties --

counts = st.one_of(st.integers(0, 50), st.integers(0, 50), st.integers(-3, 2**70), st.none(), st.booleans(), st.text())
some_details = st.one_of(
    st.none(),
    st.just([]),
    st.dictionaries(
        st.sampled_from(
            [
                "cached_tokens",
                "cache_write_tokens",
                "cache_creation_input_tokens",
                "audio_tokens",
                "image_tokens",
                "text_tokens",
                "reasoning_tokens",
                "thinking_tokens",
                "rejected_prediction_tokens",
            ]
        ),
        counts,
    ),
)
_TOTALS = ("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "total_tokens")
_CACHE = (
    "prompt_cache_hit_tokens",
    "prompt_cache_miss_tokens",
    "cached_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
)
_DETAILS = ("prompt_tokens_details", "completion_tokens_details", "input_tokens_details", "output_tokens_details")
some_reports = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys((*_TOTALS, *_CACHE), counts) | dict.fromkeys(_DETAILS, some_details),
)


def whole(value: object) -> int | None:
    """The count, if it is one."""
    return value if type(value) is int and 0 <= value <= 1_000_000_000 else None


@settings(max_examples=500)
@given(some_reports)
@example(dict.fromkeys((*_TOTALS, *_CACHE), 7))
def test_parts_are_counts_and_sum_to_the_totals(reported: dict[str, Any]) -> None:
    usage = read_usage(reported)
    sent, made = whole(reported.get("prompt_tokens")), whole(reported.get("completion_tokens"))
    if sent is None or made is None:
        sent, made = whole(reported.get("input_tokens")), whole(reported.get("output_tokens"))
    assert (usage is None) == (sent is None or made is None)
    if usage is None or sent is None or made is None:
        return
    assert all(type(part) is int and part >= 0 for part in astuple(usage))
    assert sum(astuple(usage)) == usage.input_tokens + usage.output_tokens
    assert usage.input_tokens >= sent
    assert usage.output_tokens >= made
    total = whole(reported.get("total_tokens")) or 0
    is_inclusive = not any(whole(reported.get(name)) for name in _CACHE)
    if total <= sent + made and is_inclusive:
        assert (usage.input_tokens, usage.output_tokens) == (sent, made)
    if total > sent + made and is_inclusive:
        assert usage.input_tokens + usage.output_tokens == total


@given(some_reports, some_reports)
def test_usage_once_read_stays_readable(earlier: dict[str, Any], later: dict[str, Any]) -> None:
    merged = read_usage(merge_reports(earlier, later))
    assert merged is not None or (read_usage(earlier) is None and read_usage(later) is None)


@given(some_reports)
def test_the_same_report_again_changes_nothing(reported: dict[str, Any]) -> None:
    assert read_usage(merge_reports(reported, reported)) == read_usage(reported)
