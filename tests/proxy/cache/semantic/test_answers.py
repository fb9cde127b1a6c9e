import orjson
import pytest

from proxy.cache.semantic.answers import DIFFERENT, SAME, same_answer
from tests.proxy.cache.semantic.texts import WORDS

LONG = "You can return a laptop at any store of ours. Bring the receipt, the box and the charger, and we pay you back."


@pytest.mark.parametrize(
    ("fresh", "cached"),
    [
        ("Paris.", "**paris**"),
        ('```json\n{"a": 1, "b": [2]}\n```', '{"b": [2], "a": 1}'),
        ("The capital is Paris", "Paris is the capital"),
        ("42", "42."),
    ],
)
def test_what_says_the_same_is_the_same(fresh: str, cached: str) -> None:
    assert same_answer(fresh, cached, None, WORDS) is True


@pytest.mark.parametrize(
    ("fresh", "cached", "cosine"),
    [
        ("Paris", "Rome", 0.9),
        ("Yes, you can.", "No, you can't.", 0.95),
        ("可以，七天内都行。", "不可以，过了七天。", 0.95),
        ('{"a": 1}', '{"a": 2}', 0.99),
        ("It costs $5.", "It costs $7.", 0.99),
        (
            LONG,
            LONG.replace("return", "exchange").replace("laptop", "lawn mower") + " All else is up to you.",
            DIFFERENT - 0.1,
        ),
        (LONG + " You have 14 days.", LONG + " You have 30 days.", 0.99),
        (
            "Turn it on in the settings, under privacy and security.",
            "Turn it off in the settings, under privacy and security.",
            0.98,
        ),
    ],
)
def test_what_contradicts_is_different(fresh: str, cached: str, cosine: float) -> None:
    assert same_answer(fresh, cached, cosine, WORDS) is False


def test_wording_is_left_to_the_cosine_and_in_between_nothing_is_said() -> None:
    other = "Any of our stores takes a laptop back: with receipt, box and charger you get the money."
    assert same_answer(LONG, other, SAME, WORDS) is True
    assert same_answer(LONG, other, (SAME + DIFFERENT) / 2, WORDS) is None
    assert same_answer(LONG, other, None, WORDS) is None


def test_a_short_answer_that_says_more_is_not_judged() -> None:
    assert same_answer("Paris", "Paris, France", 0.9, WORDS) is None
    assert same_answer("", "Paris", 0.9, WORDS) is None


def test_what_only_looks_like_json_is_read_as_text() -> None:
    assert same_answer("{paris}", "{rome}", 0.9, WORDS) is False
    assert same_answer("[Paris]", '["Paris"]', 0.9, WORDS) is not None


def test_the_beginnings_of_long_answers_can_tell_that_they_differ_and_not_that_they_are_the_same() -> None:
    long = " ".join([LONG] * 100)
    assert same_answer(long, long, 0.9, WORDS) is True
    assert same_answer(long, f"{long} But not on Sundays.", 0.9, WORDS) is None
    assert same_answer(long, f"It costs 5 dollars. {long}", DIFFERENT - 0.01, WORDS) is False
    listed = orjson.dumps([LONG] * 100).decode()
    assert same_answer(listed, listed.replace('","', '", "'), None, WORDS) is True
    assert same_answer(listed, listed[:-1] + ",1]", None, WORDS) is False


def test_documents_that_are_nested_too_deep_are_no_fault() -> None:
    one, other = ("[" * 1020 + digit + "]" * 1020 for digit in "12")
    assert same_answer(one, other, 0.6, WORDS) is not True
