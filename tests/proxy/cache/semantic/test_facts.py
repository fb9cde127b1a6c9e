import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cache.semantic.facts import normalise
from tests.proxy.cache.semantic.texts import facts


def test_the_same_words_in_another_guise_are_the_same_facts() -> None:
    one, other = facts("What’s the price of  “Blue” tea?"), facts('what\'s the price of "Blue" tea')
    assert (one.content, one.quoted, one.text) == (other.content, other.quoted, other.text)
    assert normalise("ＡＢＣ　１２") == "ABC 12"


def test_synonyms_and_phrases_have_one_meaning() -> None:
    assert facts("buy a laptop").content.keys() == facts("purchase a laptop").content.keys()
    assert facts("turn off sync").content.keys() == facts("disable sync").content.keys()
    assert facts("取消会员").content.keys() == facts("退订会员").content.keys()


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Don't cancel it", 1),
        ("I can't go without it", 2),
        ("Cancel it", 0),
        ("不要取消", 1),
        ("能不能取消", 0),
        ("特别好，不过没有", 1),
        ("是不是要取消", 0),
        ("cannot and won't", 2),
    ],
)
def test_negations_are_counted(text: str, count: int) -> None:
    assert facts(text).negations == count


def test_names_are_capitalised_words_within_a_sentence_and_what_has_digits() -> None:
    assert facts("Does Vodafone sell the iPhone15 in March?").names == {"vodafone", "iphone15"}
    assert facts("How do I do? Where is Rome").names == {"rome"}
    assert facts("WHAT IS GOING ON HERE").names == frozenset()
    assert facts("北京的 Python 课程").names == {"北京", "python"}


def test_spans_are_found() -> None:
    found = facts('Why does `foo_bar` in "My File" fail at https://Example.com/a?')
    assert found.code == {"foo_bar"}
    assert found.quoted == {"my file"}
    assert found.urls == {"https://example.com/a"}
    assert facts("what does os.path(x) do").code == {"os.path(x)"}
    assert facts("《三体》讲什么").quoted == {"三体"}


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("How much is it?", "how much"),
        ("Please tell me when it opens", "when"),
        ("Can I go?", "may"),
        ("为什么这么贵", "why"),
        ("多少钱", "how much"),
        ("Open the door", ""),
        ("能不能退", "may"),
    ],
)
def test_what_is_asked_for_is_known(text: str, asks: str) -> None:
    assert facts(text).asks == asks


def test_chinese_is_told_from_english() -> None:
    assert facts("怎么取消 Netflix 会员").is_chinese
    assert not facts("What does 你好 mean in English?").is_chinese


@given(st.text(max_size=200))
def test_any_text_has_facts(text: str) -> None:
    assert facts(text) == facts(text)
