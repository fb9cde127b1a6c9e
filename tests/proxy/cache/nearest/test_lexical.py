from __future__ import annotations

from math import log
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.cache.nearest import lexical
from proxy.cache.nearest.lexical import Lexical, terms_of


def index_of(texts: list[str]) -> Lexical:
    index = Lexical()
    for text in texts:
        index.append(terms_of(text))
    return index


def bm25(texts: list[str], question: str) -> list[float]:
    """By the book, with every word counted once."""
    held = [set(terms_of(text)) for text in texts]
    average = sum(map(len, held)) / len(held)
    scores = [0.0] * len(texts)
    for term in terms_of(question):
        having = sum(term in terms for terms in held)
        if having:
            weight = log(1 + (len(texts) - having + 0.5) / (having + 0.5))
            for slot, terms in enumerate(held):
                if term in terms:
                    scores[slot] += weight * 2.2 / (1 + 1.2 * (0.25 + 0.75 * len(terms) / average))
    return scores


def remove(index: Lexical, texts: list[str], slot: int) -> None:
    index.remove(slot, texts[slot], texts[-1])
    last = texts.pop()
    if slot < len(texts):
        texts[slot] = last


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Cancel my PLAN", "plan my cancel"),
        ("ＡＢＣ １２３", "abc 123"),
        ("snake_case", "snake case"),
        ("don't", "don t"),
        ("straße", "STRASSE"),
        ("a a a", "a"),
    ],
)
def test_texts_of_the_same_words_have_the_same_terms(one: str, other: str) -> None:
    assert terms_of(one) == terms_of(other)


def test_chinese_is_taken_by_pairs_and_stands_apart_from_what_it_touches() -> None:
    assert len(terms_of("取消订阅")) == 3
    assert terms_of("iPhone手机") == sorted(terms_of("iphone") + terms_of("手机"))
    assert terms_of("我") != []
    assert terms_of("取消订阅") != terms_of("订阅取消")


@pytest.mark.parametrize("text", ["", "  ", "?!…", "_", "\ud800"])
def test_a_text_without_words_has_no_terms_and_is_found_by_none(text: str) -> None:
    assert terms_of(text) == []
    index = index_of([text, "a word"])
    assert index.nearest(text, 8) == []
    assert index.nearest("word", 8) == [1]


def test_only_the_first_two_thousand_characters_count() -> None:
    assert terms_of("a " * 1000 + "b") == terms_of("a")


def test_only_the_first_256_words_count() -> None:
    words = [f"w{number}" for number in range(300)]
    assert terms_of(" ".join(words)) == terms_of(" ".join(words[:256]))
    assert len(terms_of(" ".join(words))) == 256


def test_the_rare_word_decides() -> None:
    texts = [f"how do I cancel order {number}" for number in range(500)]
    assert index_of(texts).nearest("please cancel order 321 now", 8)[0] == 321


def test_nothing_is_found_where_no_word_is_shared() -> None:
    assert index_of(["one two", "three"]).nearest("four", 8) == []
    assert Lexical().nearest("four", 8) == []


_TEXTS = st.lists(st.text(alphabet="abc 取消订阅", max_size=8), min_size=1, max_size=30)


@settings(max_examples=150, deadline=None)
@given(_TEXTS, st.text(alphabet="abc 取消订阅", max_size=8))
def test_scores_are_those_of_the_book(texts: list[str], question: str) -> None:
    scores = bm25(texts, question)
    found = index_of(texts).nearest(question, 8)
    best = sorted((score for score in scores if score > 0), reverse=True)[:8]
    assert [scores[slot] for slot in found] == pytest.approx(best, rel=1e-4)


@settings(max_examples=100, deadline=None)
@given(_TEXTS, st.randoms(use_true_random=False))
def test_what_is_left_after_removals_is_as_if_it_had_been_alone(texts: list[str], random: Random) -> None:
    index = index_of(texts)
    for _ in range(random.randrange(len(texts))):
        remove(index, texts, random.randrange(len(texts)))
    fresh = index_of(texts)
    assert index._postings == fresh._postings
    assert index._lengths == fresh._lengths
    assert index.used_bytes == fresh.used_bytes
    for text in texts:
        assert index.nearest(text, 8) == fresh.nearest(text, 8)


def test_removing_all_leaves_nothing() -> None:
    texts = ["one two", "two three", "three"]
    index = index_of(texts)
    while texts:
        remove(index, texts, 0)
    assert index.used_bytes == 0
    assert index._postings == {}


def test_common_words_are_not_gone_through_but_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexical, "_MAX_POSTINGS", 30)
    texts = ["the cat sat", "the cat ran"] * 10 + ["the dog sat"] * 60
    index = index_of(texts)
    # `cat` is gone through (20 texts), `sat` (70) only counts: texts with both come first.
    assert index.nearest("cat sat", 8) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert index.nearest("the sat", 8) == []


def test_texts_may_be_added_after_a_search() -> None:
    index = index_of(["one"])
    assert index.nearest("one", 8) == [0]
    index.append(terms_of("one two"))
    assert index.nearest("one two", 8) == [1, 0]
