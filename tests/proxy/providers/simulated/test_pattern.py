"""Strings from regular expressions; Python's own engine is the oracle."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.providers.simulated.pattern import sample
from proxy.providers.simulated.steps import Steps, TooComplexError

PATTERNS = [
    r"^[A-Z]{3}-\d{4}$",
    r"^(?:foo|bar|(?P<x>baz)+)?$",
    r"^\+?[1-9]\d{1,14}$",
    r"^[^\s@]+@[^\s@]+\.[a-z]{2,}$",
    r"^[\w.-]+$",
    r"^a{2,}b*?c+$",
    r"^[]x]$",
    r"^[a-]{2}$",
    r"^\u0041\x42\.$",
    r"^#(?:[0-9a-fA-F]{3}){1,2}$",
    r"\bword\b",
    r"^$",
    r"",
    r"^.{5}$",
    r"^\D\S\W$",
    r"^[^a-z]\n\t$",
    r"^{x}$",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_pattern_accepts_its_sample(pattern: str) -> None:
    for seed in range(20):
        text = sample(pattern, 0, None, random.Random(seed), Steps(10_000))
        assert text is not None
        assert re.search(pattern, text)


@pytest.mark.parametrize(
    "pattern",
    [r"(?=a)b", r"(?<!a)b", r"(a)\1", r"(", r")", r"[a", r"*", r"a**", r"[z-a]", r"(?i)a", "\\", r"\ud800", "(" * 100],
)
def test_patterns_beyond_the_reader_have_no_sample(pattern: str) -> None:
    assert sample(pattern, 0, None, random.Random(1), Steps(10_000)) is None


@given(st.integers(0, 40), st.integers(0, 10), st.integers())
def test_the_sample_has_the_length_asked_for(least: int, room: int, seed: int) -> None:
    text = sample("^[a-z]*$", least, least + room, random.Random(seed), Steps(10_000))
    assert text is not None
    assert least <= len(text) <= least + room


@given(st.text(alphabet="ab1(){}[]|*+?.^$\\-,d:<P=!", max_size=12), st.integers())
def test_any_pattern_gives_a_sample_it_accepts_or_none(pattern: str, seed: int) -> None:
    text = sample(pattern, 0, None, random.Random(seed), Steps(100_000))
    assert text is None or isinstance(text, str)


def test_a_repetition_bomb_is_too_complex() -> None:
    with pytest.raises(TooComplexError):
        sample("(((a{1000}){1000}){1000}){1000}", 0, None, random.Random(1), Steps(10_000))
    with pytest.raises(TooComplexError):
        sample("a{999999999999}", 0, None, random.Random(1), Steps(10_000))
