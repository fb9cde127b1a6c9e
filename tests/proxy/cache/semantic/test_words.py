import pytest

from proxy.cache.semantic.words import RAREST, stem
from tests.proxy.cache.semantic.texts import WORDS


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cancel", "cancels"),
        ("policy", "policies"),
        ("stop", "stopped"),
        ("run", "running"),
        ("price", "prices"),
        ("box", "boxes"),
        ("child", "child's"),
        ("charge", "charging"),
    ],
)
def test_forms_of_a_word_have_one_stem(one: str, other: str) -> None:
    assert stem(one) == stem(other)


def test_short_words_and_chinese_ones_stay_as_they_are() -> None:
    assert [stem(word) for word in ("bus", "is", "退款", "class")] == ["bus", "is", "退款", "class"]


def test_common_words_are_less_rare_than_others_and_unknown_ones_are_the_rarest() -> None:
    assert 0 <= WORDS.rarity("time") < WORDS.rarity("mortgag") < RAREST == WORDS.rarity("zzyzx")


def test_chinese_is_split_into_the_longest_known_words() -> None:
    assert WORDS.split_chinese("取消会员") == ["取消", "会员"]
    assert "".join(WORDS.split_chinese("龘靐取消齉")) == "龘靐取消齉"
    assert WORDS.split_chinese("") == []


@pytest.mark.parametrize("word", ["eeeee", "eeees", "eeeeed", "eeeeing", "eeeee's"])
def test_a_cry_has_a_stem_too(word: str) -> None:
    assert stem(word)
