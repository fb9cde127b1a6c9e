import pytest

from proxy.cache.nearest import Candidate, Found
from proxy.cache.semantic.judge import Judge, load_judge


@pytest.fixture(scope="module")
def judge() -> Judge:
    return load_judge()


def found(*texts: str, cosine: float = 0.9) -> Found:
    return Found(None, tuple(Candidate(text.encode(), text, cosine - at / 100, False) for at, text in enumerate(texts)))


def test_nothing_near_is_no_match(judge: Judge) -> None:
    assert judge.match("How do I reset my password?", found()) is None


def test_the_most_likely_is_the_match_not_the_nearest(judge: Judge) -> None:
    match = judge.match(
        "How do I reset my password?", found("How do I reset my router?", "How can I reset my password?")
    )
    assert match is not None
    assert match.text == "How can I reset my password?"
    assert match.probability > 0.5
    assert match.vetoes == ()


def test_where_guards_object_to_all_the_nearest_says_why(judge: Judge) -> None:
    match = judge.match("How do I cook 3 eggs?", found("How do I cook 5 eggs?"))
    assert match is not None
    assert (match.probability, match.vetoes) == (0.0, ("numbers",))


def test_what_is_near_by_words_is_judged_too(judge: Judge) -> None:
    texts = [f"How do I reset my {thing}?" for thing in "abcdefghijkl"]
    candidates = [Candidate(text.encode(), text, 0.6, False) for text in texts]
    candidates.append(Candidate(b"x", "How can I reset my password?", 0.5, True))
    match = judge.match("How do I reset my password?", Found(None, tuple(candidates)))
    assert match is not None
    assert match.entry_id == b"x"


def test_what_is_about_something_else_is_no_match(judge: Judge) -> None:
    assert judge.match("Hello there my friend", found("How do I request a refund for a purchase?", cosine=0.1)) is None


def test_answers_are_compared(judge: Judge) -> None:
    assert judge.same("It is Paris.", "It is Paris", 0.99) is True
    assert judge.same("Paris", "Rome", 0.6) is False


def test_the_promise_of_less_errors_asks_for_more(judge: Judge) -> None:
    assert judge.threshold(0.02) >= judge.threshold(0.1)


def test_of_long_texts_fewer_are_remembered(judge: Judge) -> None:
    for number in range(200):
        judge.match(f"What is {number}?", found(f"{number} " + "quite another matter " * 90))
    assert sum(map(len, judge._facts)) == judge._known_chars <= 100_000
    assert judge._facts
