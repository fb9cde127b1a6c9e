import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.semantic.made import spell
from proxy.cache.semantic.numbers import agree, quantities, read_chinese


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("5 % off", "five percent off"),
        ("5% off", "百分之五"),
        ("5 per cent", "5%"),
        ("1,000 users", "1000 users"),
        ("within 3 days", "三天内"),
        ("two weeks", "14 days"),
        ("24 hours", "1 day"),
        ("one year", "12 months"),
        ("at 7pm", "at 19:00"),
        ("下午三点半", "15:30"),
        ("2024-03-05", "5 march 2024"),
        ("2024年3月5日", "2024/3/5"),
        ("£400,000", "400k pounds"),
        ("23kg", "23 kilos"),
        ("一百零五元", "105块钱"),
        ("三万五", "35000"),
        ("twenty-five users", "25 users"),
        ("two hundred and five", "205"),
        ("周三", "星期三"),
        ("on monday", "on mondays"),
        ("两个半小时", "150分钟"),
        ("3 million", "3,000,000"),
        ("二〇二四年", "2024"),
        ("十二月", "12月"),
        ("百分之5.5", "5.5%"),
        ("one dozen eggs", "12 eggs"),
        ("three dozen eggs", "36 eggs"),
        ("两千人", "2000人"),
        ("ten percent", "10 per cent"),
    ],
)
def test_two_ways_to_write_a_quantity_are_equal(one: str, other: str) -> None:
    assert quantities(one)
    assert quantities(one) == quantities(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("5 %", "5 days"),
        ("2 hours", "2 days"),
        ("$5", "£5"),
        ("9:15", "9:45"),
        ("7am", "7pm"),
        ("in may", "in june"),
        ("三天", "四天"),
        ("on monday", "on tuesday"),
        ("version 3.12", "version 3.13"),
        ("1.5", "15"),
        ("after 2 years", "after 20 years"),
    ],
)
def test_other_quantities_do_not_agree(one: str, other: str) -> None:
    assert not agree(quantities(one), quantities(other))


@pytest.mark.parametrize(
    "text",
    [
        "一点也不贵",
        "the sun is out",
        "which one is it",
        "what may i do",
        "一下",
        "三星手机",
        "有点贵",
        "a second opinion",
        "first class",
    ],
)
def test_words_that_only_look_like_numbers_are_none(text: str) -> None:
    assert quantities(text) == frozenset()


def test_a_unit_that_only_one_side_names_is_taken_as_meant() -> None:
    assert agree(quantities("5 percent"), quantities("5")) is False or quantities("5 percent") != quantities("5")
    assert agree(frozenset({("5", "%")}), frozenset({("5", "")}))
    assert not agree(frozenset({("5", "%")}), frozenset({("5", "usd")}))
    assert not agree(frozenset({("5", "")}), frozenset())


@given(st.integers(0, 99))
def test_numbers_in_words_are_read(number: int) -> None:
    assert quantities(f"{spell(number, 'en')} users") == quantities(f"{number} users") or number == 1
    assert read_chinese(spell(number, "zh").replace("两", "二")) == number


@given(st.text(max_size=60))
def test_any_text_can_be_read(text: str) -> None:
    found = quantities(text.lower())
    assert agree(found, found)


@pytest.mark.parametrize("text", ["三点5十分开会", "8点三5", "零点万4", "3点5百"])
def test_digits_of_two_scripts_in_one_time_are_no_fault(text: str) -> None:
    assert quantities(text)
