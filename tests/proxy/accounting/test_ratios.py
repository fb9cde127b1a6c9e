import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.token_ratios import FAMILIES, errors, fit, load_samples
from proxy.accounting.families import Family
from proxy.accounting.ratios import CLASSES, RATIOS, estimate_tokens, profile, upper_bound_tokens

#: Scripts in which a family's ratio is known to be poor: several vocabularies under one ratio.
POOR = {("llama", "indic"), ("qwen", "indic"), ("qwen", "cyrillic"), ("deepseek", "cyrillic"), ("qwen", "latin")}


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        ("abc", {"lower": 3}),
        ("A1 b\n", {"upper": 1, "digit": 1, "space": 1, "lower": 1, "break": 1}),
        ("_-<\x00", {"punctuation": 4}),
        ("éß", {"accented": 2}),
        ("Ω", {"greek": 1}),
        ("Яж", {"cyrillic": 2}),
        ("אب", {"semitic": 2}),
        ("हท", {"indic": 2}),
        ("の。", {"kana": 2}),
        ("中文", {"han": 2}),
        ("한", {"hangul": 1}),
        ("€！", {"symbol": 2}),
        ("🚀", {"emoji": 1}),
        ("\ud800", {"hangul": 1}),
    ],
)
def test_characters_fall_into_their_classes(text: str, counted: dict[str, int]) -> None:
    found = dict(zip(CLASSES, profile(text), strict=False))
    assert {name: count for name, count in found.items() if count} == counted


@given(st.text())
def test_every_character_is_in_one_class(text: str) -> None:
    assert sum(profile(text)[: len(CLASSES)]) == len(text)


def test_an_indent_counts_as_pairs_of_spaces() -> None:
    assert profile("    x y")[-1] == 2


@given(st.text(alphabet=st.characters(categories=None) | st.sampled_from(" \n😀中")), st.sampled_from(FAMILIES))
def test_a_text_has_a_token_at_least_and_any_unicode_is_taken(text: str, family: Family) -> None:
    assert estimate_tokens(text, family) >= bool(text)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_long_text_is_worth_its_parts(family: Family) -> None:
    assert estimate_tokens("ab é中\n" * 200_000, family) == pytest.approx(
        200_000 * sum(count * ratio for count, ratio in zip(profile("ab é中\n"), RATIOS[family], strict=True)), abs=1
    )


def test_nothing_is_no_token() -> None:
    assert estimate_tokens("", "other") == 0


def test_the_bound_is_a_token_a_byte() -> None:
    assert upper_bound_tokens(1_000) == 1_000


@pytest.mark.parametrize("family", FAMILIES)
def test_ratios_are_those_that_the_samples_give(family: Family) -> None:
    assert fit(load_samples()[::2], family) == pytest.approx(RATIOS[family], abs=0.011)


@pytest.mark.parametrize("family", FAMILIES)
def test_estimates_of_texts_they_were_not_fitted_to_are_as_good_as_documented(family: Family) -> None:
    found = errors(load_samples()[1::2], family, RATIOS[family])
    for script, error in found.items():
        if (family, script) not in POOR:
            assert error.median < 0.2, script
    assert found["english"].median < 0.1
    assert found["code"].median < 0.1
    assert found["cjk"].median < 0.1
