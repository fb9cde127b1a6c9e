from collections import Counter

from benchmarks.semantic.labelled import chinese, english, grouped
from proxy.cache.semantic.words import Words

WORDS = Words.load()


def test_the_pairs_that_come_with_the_repository_are_whole() -> None:
    assert Counter(pair.is_same for pair in english(WORDS)) == {True: 150, False: 148}
    assert len(chinese()) == 1500


def test_pairs_that_share_a_question_are_of_one_group() -> None:
    by_text: dict[str, set[str]] = {}
    for pair in [*english(WORDS), *chinese()]:
        for text in (pair.a, pair.b):
            by_text.setdefault(text, set()).add(pair.group)
    assert all(len(groups) == 1 for groups in by_text.values())


def test_questions_that_are_nearly_alike_join_their_pairs() -> None:
    texts = [
        ("What is the blue light?", "Why blue?"),
        ("What is the blue light here?", "Who?"),
        ("How old is Rome?", "Rome's age"),
    ]
    first, second, third = grouped(texts, WORDS)
    assert first == second != third
