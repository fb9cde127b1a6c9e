from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cache.semantic.guards import Veto, _is_reversed, is_slip, vetoes
from tests.proxy.cache.semantic.texts import difference

FRAME = (
    "Please translate the following sentence into formal English for a business letter to a supplier of ours and keep "
    "the tone polite throughout and do mind the spelling: "
)


@pytest.mark.parametrize(
    ("asked", "stored", "veto"),
    [
        ("Is a 5% tip enough?", "Is a 15% tip enough?", "numbers"),
        ("三天能退吗", "七天能退吗", "numbers"),
        ("Is it open on Monday?", "Is it open on Sunday?", "numbers"),
        ("Can I get a refund within 14 days?", "Can I get a refund?", "numbers"),
        ("Cancel my subscription", "Don't cancel my subscription", "negation"),
        ("请取消订单", "请不要取消订单", "negation"),
        ("Which are covered?", "Which are never covered?", "negation"),
        ("How do I turn on sync?", "How do I turn off sync?", "antonym"),
        ("怎么打开通知", "怎么关闭通知", "antonym"),
        ("Is the API stable?", "Is the API unstable?", "antonym"),
        ("Is tea good for me?", "Is coffee good for me?", "alternative"),
        ("早餐几点开始", "晚餐几点开始", "alternative"),
        ("Where can I park in Leeds?", "Where can I park in York?", "names"),
        ("Python 怎么排序", "Java 怎么排序", "names"),
        ("北京天气怎么样", "上海天气怎么样", "names"),
        ('What does "annul" mean?', 'What does "amend" mean?', "quoted"),
        ("What does `a.sort()` do?", "What does `b.sort()` do?", "code"),
        ("Summarise https://a.example/x", "Summarise https://a.example/y", "url"),
        ("How long from Rome to Oslo?", "How long from Oslo to Rome?", "direction"),
        ("北京到上海要多久", "上海到北京要多久", "direction"),
        ("厦门比南京大吗", "和厦门比，南京更大吗", "direction"),
        ("Who may vote?", "Which students may vote?", "qualifier"),
        ("What is the rate limit?", "What is the maximum rate limit?", "qualifier"),
        (FRAME + "We ship 40 crates.", FRAME + "Nobody came.", "template"),
    ],
)
def test_a_trap_is_noticed_both_ways(asked: str, stored: str, veto: Veto) -> None:
    assert veto in vetoes(difference(asked, stored))
    assert vetoes(difference(stored, asked)) == vetoes(difference(asked, stored))


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("How do I cancel my order?", "how can i cancel my order please"),
        ("Is a 5% tip enough?", "Is a five percent tip enough?"),
        ("Are dogs not allowed?", "Are dogs banned?"),
        ("How do I fly from Rome to Oslo?", "To Oslo from Rome, how do I fly?"),
        ("How do I report a missed collection?", "How do I report a missed colection?"),
        ("Do you have a vegetarian menu?", "Do you have a vegitarian menu?"),
        ("Can British people vote?", "Can UK people vote?"),
        ("怎么取消会员", "如何取消会员呢"),
        ("三天能退吗", "3天能退吗？"),
        ("", ""),
        ("What is NATO?", "What is the North Atlantic Treaty Organisation?"),
    ],
)
def test_a_rewording_is_not_objected_to(asked: str, stored: str) -> None:
    assert vetoes(difference(asked, stored)) == ()


def test_a_slip_is_one_letter_and_two_names_are_two_names() -> None:
    assert is_slip("colection", "collection")
    assert is_slip("chlid", "child")
    assert not is_slip("cat", "car")
    assert not is_slip("hydralazine", "hydroxyzine")
    assert not is_slip("bold", "cold")
    # neither is in the table of words, so they are taken for names
    assert difference("Is zorvaxin safe?", "Is zorvaxan safe?").mine


@given(st.text(max_size=80), st.text(max_size=80))
def test_guards_do_not_care_which_text_comes_first(one: str, other: str) -> None:
    assert vetoes(difference(one, other)) == vetoes(difference(other, one))


@given(st.text(max_size=80))
def test_nothing_objects_to_the_same_text(text: str) -> None:
    assert vetoes(difference(text, text)) == ()


def test_two_texts_without_a_word_in_common_are_soon_compared() -> None:
    """Each word is looked for once among the other's, not held against each of them."""

    class Counted(frozenset[str]):
        looks = 0

        def __contains__(self, word: object) -> bool:
            Counted.looks += 1
            return super().__contains__(word)

        def __iter__(self) -> Any:
            raise AssertionError("it goes through all of them")

    assert _is_reversed("lock", Counted({"unlock"}))
    assert not _is_reversed("lock", Counted({"clock", "gridlock"}))
    assert Counted.looks < 30
