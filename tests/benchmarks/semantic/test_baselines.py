import pytest

from benchmarks.semantic.baselines import bm25, hybrid
from tests.proxy.cache.semantic.texts import WORDS, facts


def test_a_text_scores_whole_for_itself_and_less_for_others() -> None:
    asked = facts("How do I cancel my order?")
    assert bm25(asked, asked, WORDS) == pytest.approx(1)
    near, far = (bm25(asked, facts(text), WORDS) for text in ("How do I cancel my subscription?", "Where is Rome?"))
    assert 0 == far < near < 1
    assert bm25(facts(""), asked, WORDS) == 0


def test_the_mixture_is_seven_parts_to_three() -> None:
    assert hybrid(1, 0.5) == pytest.approx(0.85)
    assert hybrid(1, 2) == pytest.approx(1)
