from proxy.cache.semantic import lexicon_zh as zh


def test_opposites_have_two_sides() -> None:
    for line in zh.ANTONYMS.split(";"):
        one, other = (set(side.split()) for side in line.split("|"))
        assert one
        assert other
        assert not one & other, line


def test_what_is_no_negation_has_a_sign_of_one() -> None:
    assert all(set(word) & set(zh.NEGATIONS) or word == "是否" for word in zh.NO_NEGATIONS.split())


def test_numerals_are_complete() -> None:
    assert [zh.DIGITS[sign] for sign in "〇零一二两三九"] == [0, 0, 1, 2, 2, 3, 9]
    assert list(zh.SCALES.values()) == sorted(zh.SCALES.values())


def test_longer_question_words_come_before_those_they_contain() -> None:
    words = [word for word, _ in zh.ASKS]
    for at, word in enumerate(words):
        assert not any(
            word in later and word != later and zh.ASKS[at][1] != zh.ASKS[words.index(later)][1] for later in words[at:]
        )
