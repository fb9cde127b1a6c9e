import pytest

from benchmarks.semantic.made import LANGUAGES, Language, Part, families, make, spell


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("part", ["train", "test"])
def test_the_same_seed_makes_the_same_pairs_and_half_have_one_answer(language: Language, part: Part) -> None:
    pairs = make(language, part, 500)
    assert pairs == make(language, part, 500)
    assert pairs != make(language, part, 500, seed=2)
    assert len({(pair.a, pair.b) for pair in pairs}) == 500
    assert 0.4 < sum(pair.is_same for pair in pairs) / 500 < 0.6
    assert not any("{" in text for pair in pairs for text in (pair.a, pair.b))


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_tested_was_not_trained_on(language: Language) -> None:
    trained, tested = make(language, "train", 400), make(language, "test", 400)
    assert not {pair.group for pair in trained} & {pair.group for pair in tested}
    assert not {text for pair in trained for text in (pair.a, pair.b)} & {
        text for pair in tested for text in (pair.a, pair.b)
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_pairs_are_what_they_say(language: Language) -> None:
    for pair in make(language, "train", 800):
        assert pair.a != pair.b
        assert pair.is_same == (pair.kind in ("paraphrase", "near_repeat"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_two_meanings_are_said_alike(language: Language) -> None:
    known, _ = families(language)
    assert {family.part for family in known} == {"train", "test"}
    assert len({family.name for family in known}) == len(known)
    templates = [template for family in known for meaning in family.meanings for template in meaning]
    assert len(set(templates)) == len(templates)


def test_numbers_are_spelled() -> None:
    assert [spell(number, "en") for number in (0, 12, 20, 45)] == ["zero", "twelve", "twenty", "forty-five"]
    assert [spell(number, "zh") for number in (2, 10, 12, 20, 45)] == ["两", "十", "十二", "二十", "四十五"]
