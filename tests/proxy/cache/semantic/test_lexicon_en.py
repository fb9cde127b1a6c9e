from proxy.cache.semantic import lexicon_en as en


def test_no_word_has_two_meanings() -> None:
    words = [word for line in en.SYNONYMS.split(";") for word in line.split()]
    assert sorted({word for word in words if words.count(word) > 1}) == []


def test_opposites_have_two_sides_and_are_no_synonyms() -> None:
    groups = [set(line.split()) for line in en.SYNONYMS.split(";")]
    for line in en.ANTONYMS.split(";"):
        one, other = (set(side.split()) for side in line.split("|"))
        assert one
        assert other
        assert not any(group & one and group & other for group in groups), line


def test_phrases_are_of_several_words_and_numbers_are_complete() -> None:
    assert all(" " in phrase or "-" in phrase for phrase in en.PHRASES)
    assert [en.NUMBER_WORDS[word] for word in ("zero", "nineteen", "twenty", "ninety", "dozen")] == [0, 19, 20, 90, 12]


def test_the_calendar_is_complete() -> None:
    assert [en.MONTHS[name] for name in ("january", "oct", "november", "nov", "december")] == [1, 10, 11, 11, 12]
    assert sorted(set(en.MONTHS.values())) == list(range(1, 13))
    assert sorted(set(en.WEEKDAYS.values())) == list(range(1, 8))
