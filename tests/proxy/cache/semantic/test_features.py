import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cache.semantic.features import NAMES, features
from tests.proxy.cache.semantic.texts import difference


def named(asked: str, stored: str) -> dict[str, float]:
    return dict(zip(NAMES, features(difference(asked, stored), 0.9), strict=True))


def test_the_same_text_differs_in_nothing() -> None:
    found = named("How do I cancel my order?", "How do I cancel my order?")
    assert found["overlap"] == pytest.approx(1)
    assert (found["unmatched_most"], found["gram_overlap"], found["frame"], found["order"]) == (0, 1, 1, 1)


def test_what_only_one_side_says_counts_by_how_rare_it_is() -> None:
    common = named("How do I cancel my order?", "How do I cancel my order in time?")
    rare = named("How do I cancel my order?", "How do I cancel my zzyzx order?")
    assert rare["rarest_most"] > common["rarest_most"] > 0 == common["unmatched_least"]
    assert rare["unknown_words"] == 1


def test_another_kind_of_question_is_seen() -> None:
    assert named("Why is it late?", "When is it late?")["why_differs"]
    assert named("How much is the bus?", "How long is the bus?")["other_measure"]
    assert not named("How much is the bus?", "How much is the bus now?")["other_measure"]


@given(st.text(max_size=80), st.text(max_size=80))
def test_it_does_not_matter_which_text_comes_first(one: str, other: str) -> None:
    forth, back = named(one, other), named(other, one)
    assert {k: v for k, v in forth.items() if k != "order"} == pytest.approx(
        {k: v for k, v in back.items() if k != "order"}
    )
