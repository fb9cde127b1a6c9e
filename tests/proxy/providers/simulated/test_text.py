"""Words and pieces."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.providers.simulated.text import answer_text, cut_at_stop, rest_text, split_pieces


@given(st.text(), st.text() | st.none(), st.integers())
def test_an_answer_says_that_it_is_simulated_and_by_whom(question: str, tool_result: str | None, seed: int) -> None:
    text = answer_text("demo-fast", question, tool_result, random.Random(seed))
    assert text.startswith("This is a simulated answer from demo-fast.")


@given(st.integers())
def test_an_answer_has_30_to_80_pieces(seed: int) -> None:
    text = answer_text(
        "demo-fast", "How are you today, and what is the weather like where you are?", None, random.Random(seed)
    )
    assert 30 <= len(split_pieces(text)) <= 80


def test_a_long_question_is_quoted_in_part() -> None:
    text = answer_text("m", "word " * 1000, None, random.Random(1))
    assert "word word…" in text
    assert len(text) < 400


def test_a_tool_result_is_quoted_in_place_of_the_question() -> None:
    text = answer_text("m", "my question", "18 degrees", random.Random(1))
    assert "18 degrees" in text
    assert "my question" not in text


@pytest.mark.parametrize(
    ("so_far", "goes_on"),
    [
        ("Hello. Timing and token co", "unts are made to look plausible. From here on m answered"),
        ("This is a simulated ans", "… From here on m answered"),
    ],
)
def test_an_answer_that_was_cut_is_ended_by_another_model_which_says_so(so_far: str, goes_on: str) -> None:
    assert rest_text("m", so_far).startswith(goes_on)


@given(st.text())
def test_pieces_join_to_the_text(text: str) -> None:
    pieces = split_pieces(text)
    assert "".join(pieces) == text
    assert all(pieces)


def test_pieces_are_about_as_long_as_tokens() -> None:
    assert split_pieces('Hello world: {"a": 1}') == ["Hello", " world", ":", ' {"', "a", '":', " 1", "}"]


@pytest.mark.parametrize(
    ("stops", "expected"),
    [
        ((), "one two three"),
        ((" two",), "one"),
        (("three", "two"), "one "),
        (("four",), "one two three"),
        (("one",), ""),
    ],
)
def test_the_text_ends_before_the_first_stop_sequence(stops: tuple[str, ...], expected: str) -> None:
    assert cut_at_stop("one two three", stops) == expected
