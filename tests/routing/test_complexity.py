from __future__ import annotations

from dataclasses import fields
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.complexity import WEIGHTS, Features, complexity, features
from tests.routing.prompts import PAIRS, UNSEEN_HARD, UNSEEN_SIMPLE, Label

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("a证\ud800\\$?1. \n", max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "messages", "tools", "functions", "response_format"]),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


def asking(text: object, **rest: object) -> dict[str, object]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **rest}


def scores(label: Label) -> list[float]:
    pairs = [pair for pair in PAIRS if pair.label == label]
    return [complexity(asking(text)) for pair in pairs for text in (pair.english, pair.chinese)]


# -- the labelled prompts --


def test_the_labelled_prompts_are_many_and_half_of_them_chinese() -> None:
    assert 2 * len(PAIRS) >= 60
    assert all(pair.english.isascii() and not pair.chinese.isascii() for pair in PAIRS)


def test_simple_prompts_score_below_0_3() -> None:
    simple = scores("simple")
    assert mean(simple) < 0.3
    assert sum(score < 0.3 for score in simple) >= 0.9 * len(simple)


def test_hard_prompts_score_above_0_6() -> None:
    hard = scores("hard")
    assert sum(score > 0.6 for score in hard) >= 0.85 * len(hard)


def test_hard_prompts_rank_above_simple_ones() -> None:
    comparisons = [(easy < hard) + 0.5 * (easy == hard) for easy in scores("simple") for hard in scores("hard")]
    assert mean(comparisons) >= 0.97


def test_medium_prompts_lie_between() -> None:
    assert mean(scores("simple")) + 0.1 < mean(scores("medium")) < mean(scores("hard")) - 0.1


def test_translations_score_alike() -> None:
    apart = [abs(complexity(asking(pair.english)) - complexity(asking(pair.chinese))) for pair in PAIRS]
    assert mean(apart) <= 0.15
    assert max(apart) <= 0.25


def test_unseen_prompts_are_ranked_too_though_short_hard_ones_often_look_simple() -> None:
    simple = [complexity(asking(text)) for text in UNSEEN_SIMPLE]
    hard = [complexity(asking(text)) for text in UNSEEN_HARD]
    assert sum(score < 0.3 for score in simple) >= 0.9 * len(simple)
    assert mean((easy < score) + 0.5 * (easy == score) for easy in simple for score in hard) >= 0.85
    # Pinned, so that the module's docstring stays true.
    assert (sum(score < 0.3 for score in hard), len(hard)) == (10, 16)


# -- each feature --


@pytest.mark.parametrize(
    ("feature", "request_", "at_least"),
    [
        ("length", asking("word " * 400), 0.6),
        ("length", asking("字" * 700), 0.6),
        ("code", asking("```\nint main(void) {\n  return f(1);\n}\n```"), 0.5),
        ("code", asking("def f(x):\n    y = g(x)\n    if y:\n        return y[0]\n    return None\n"), 0.3),
        ("maths", asking("\\frac{a}{b} + \\sum_i x^2 = \\int f"), 0.6),
        ("maths", asking("求这个矩阵的特征值和特征向量"), 0.5),
        ("reasoning", asking("Prove it."), 0.7),
        ("reasoning", asking("请证明。"), 0.7),
        ("reasoning", asking("Think about it step by step."), 0.5),
        ("work", asking("Design and migrate the schema"), 1.0),
        ("demands", asking("It must never stop, at least not exactly then."), 1.0),
        ("questions", asking("Is it? Was it? Why? When? Where? Who?"), 1.0),
        ("questions", asking("Answer:\n1. this\n2. that\n3. both"), 0.6),
        ("questions", asking("请回答：一、这个；二、那个；三、两者"), 0.6),
        ("questions", asking("Cover:\n- this\n- that\n- both"), 0.6),
        ("tools", asking("hi", tools=[{}] * 16), 1.0),
        ("tools", asking("hi", functions=[{}] * 16), 1.0),
        ("structure", asking("hi", response_format={"type": "json_schema"}), 1.0),
        ("structure", asking("hi", response_format={"type": "json_object"}), 0.5),
        ("images", asking([{"type": "image_url", "image_url": {"url": "x"}}]), 1.0),
        ("turns", {"messages": [{"role": "user", "content": "hi"}] * 16}, 1.0),
        ("conversation", {"messages": [{"role": "system", "content": "x" * 200_000}]}, 1.0),
    ],
)
def test_each_feature_is_seen_and_raises_the_score(feature: str, request_: dict[str, object], at_least: float) -> None:
    plain = asking("hi")
    assert getattr(features(plain), feature) == 0.0
    assert getattr(features(request_), feature) >= at_least
    assert complexity(request_) > complexity(plain)


def test_every_feature_has_its_weight() -> None:
    assert list(WEIGHTS) == [field.name for field in fields(Features)]
    assert all(0 < weight < 1 for weight in WEIGHTS.values())


@pytest.mark.parametrize(
    "text", ["f(1) and g(2)", "It was in 2019. Then 3.5 more.", "a) is", "It costs $5 here and $10 there"]
)
def test_numbers_in_prose_are_no_list_and_no_formula(text: str) -> None:
    assert features(asking(text)).questions == 0.0
    assert features(asking(text)).maths == 0.0


def test_only_text_parts_are_read() -> None:
    parts = [{"type": "text", "text": "Prove it."}, {"type": "file", "text": "Design it."}, 7, None]
    assert features(asking(parts)) == features(asking("Prove it."))


def test_the_task_is_the_last_message_of_the_user() -> None:
    messages = [
        {"role": "system", "content": "Reason step by step and prove every claim."},
        {"role": "user", "content": "Prove that pi is irrational."},
        {"role": "assistant", "content": "Here is a proof."},
        {"role": "user", "content": "Thanks!"},
        {"role": "tool", "content": "Prove it."},
    ]
    assert complexity({"messages": messages}) < 0.1
    assert complexity({"messages": messages[:3]}) > 0.5


def test_of_a_huge_text_the_head_and_the_tail_are_read() -> None:
    filler = "x" * 100_000
    assert features(asking(f"Prove it. {filler}")).reasoning > 0.5
    assert features(asking(f"{filler} Prove it.")).reasoning > 0.5
    assert features(asking(f"{filler} Prove it. {filler}")).reasoning == 0.0
    assert features(asking(filler)).length == 1.0


def test_more_words_of_reasoning_never_lower_the_score() -> None:
    texts = ["It holds.", "Explain it.", "Explain it, and compare.", "Explain it, compare, and prove it."]
    found = [features(asking(text)).reasoning for text in texts]
    assert found == sorted(set(found))


@pytest.mark.parametrize("request_", [{}, {"messages": None}, {"messages": []}, {"messages": {"role": "user"}}])
def test_without_a_message_it_is_as_simple_as_can_be(request_: dict[str, object]) -> None:
    assert complexity(request_) == 0.0


@given(st.dictionaries(st.sampled_from(["messages", "tools", "functions", "response_format"]), JSON))
def test_any_json_scores_between_0_and_1(request_: dict[str, object]) -> None:
    assert 0.0 <= complexity(request_) <= 1.0
    assert all(0.0 <= getattr(features(request_), name) <= 1.0 for name in WEIGHTS)


@given(st.lists(st.fixed_dictionaries({"role": st.sampled_from(["user", "system"]), "content": JSON}), max_size=5))
def test_any_content_scores_between_0_and_1(messages: list[object]) -> None:
    assert 0.0 <= complexity({"messages": messages}) <= 1.0
