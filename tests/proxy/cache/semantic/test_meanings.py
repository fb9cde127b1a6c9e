from proxy.cache.semantic.meanings import KINDS_EN, KINDS_ZH, MEANINGS, POLES_EN, POLES_ZH, QUALIFIER_STEMS, STOP_STEMS
from proxy.cache.semantic.words import stem


def test_synonyms_have_the_meaning_of_the_first() -> None:
    assert MEANINGS[stem("purchase")] == MEANINGS["buy"]
    assert MEANINGS["维修"] == MEANINGS["修理"]


def test_opposites_are_on_two_sides_of_one_pair() -> None:
    (mine,), (theirs,) = POLES_EN[stem("upload")], POLES_EN[stem("download")]
    assert (mine[0], {mine[1], theirs[1]}) == (theirs[0], {0, 1})


def test_longer_chinese_words_come_first() -> None:
    sizes = [len(word) for word, _ in POLES_ZH]
    assert sizes == sorted(sizes, reverse=True)


def test_things_of_one_kind_share_its_number_and_languages_have_none_in_common() -> None:
    assert set(KINDS_EN["tea"]) & set(KINDS_EN[stem("coffee")])
    assert set(KINDS_ZH["早餐"]) & set(KINDS_ZH["晚餐"])
    assert not {kind for kinds in KINDS_EN.values() for kind in kinds} & {
        k for kinds in KINDS_ZH.values() for k in kinds
    }


def test_stop_words_do_not_narrow_a_question_down() -> None:
    assert frozenset() == QUALIFIER_STEMS & STOP_STEMS
