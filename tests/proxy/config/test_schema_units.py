from decimal import Decimal
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from proxy.config.schema_units import (
    Bytes,
    Count,
    CountOrAuto,
    Exact,
    Flag,
    Number,
    Seconds,
    Share,
    Whole,
    between,
    count_of,
    seconds_of,
)

Pairs = tuple[tuple[object, object], ...]

SECONDS, BYTES, COUNT, SHARE = TypeAdapter(Seconds), TypeAdapter(Bytes), TypeAdapter(Count), TypeAdapter(Share)


@pytest.mark.parametrize(
    ("adapter", "text", "value"),
    [
        (SECONDS, "250ms", 0.25),
        (SECONDS, "2s", 2),
        (SECONDS, "1.5 s", 1.5),
        (SECONDS, "5m", 300),
        (SECONDS, "1h", 3600),
        (SECONDS, "30d", 2_592_000),
        (SECONDS, "3y", 94_608_000),
        (BYTES, "64KB", 64_000),
        (BYTES, "20MB", 20_000_000),
        (COUNT, 600, 600),
        (COUNT, "600", 600),
        (COUNT, "50k", 50_000),
        (COUNT, "2.5M", 2_500_000),
        (COUNT, "2.3M", 2_300_000),
        (COUNT, 0, 0),
        (SECONDS, "0s", 0),
        (SHARE, "5%", 0.05),
        (SHARE, "99.9%", 0.999),
        (SHARE, "100%", 1.0),
    ],
)
def test_units_are_understood(adapter: TypeAdapter[float], text: object, value: float) -> None:
    assert adapter.validate_python(text) == value


@pytest.mark.parametrize(
    ("adapter", "text", "hint"),
    [
        (SECONDS, 30, "250ms"),
        (SECONDS, "30", "250ms"),
        (SECONDS, "-5s", "250ms"),
        (SECONDS, "5 minutes", "250ms"),
        (SECONDS, True, "250ms"),
        (SECONDS, None, "250ms"),
        (BYTES, "20 MiB", "20MB"),
        (BYTES, 1000, "20MB"),
        (COUNT, -1, "50k"),
        (COUNT, True, "50k"),
        (COUNT, "50K", "50k"),
        (COUNT, 1.5, "50k"),
        (COUNT, "0.3", "50k"),
        (COUNT, "999999999G", "50k"),
        (SECONDS, "٣s", "250ms"),
        (SECONDS, "1e3s", "250ms"),
        (SECONDS, "5s ", "250ms"),
        (SECONDS, "5s\n", "250ms"),
        (SECONDS, 30, "a number alone has no unit"),
        (SECONDS, "0.5", "a number alone has no unit"),
        (SHARE, 5, "a number alone has no unit"),
        (SHARE, "100.1%", "5%"),
        (SHARE, 0.05, "5%"),
        (SHARE, "101%", "5%"),
        (SHARE, "-1%", "5%"),
    ],
)
def test_what_has_no_unit_or_a_wrong_one_is_refused_with_an_example(
    adapter: TypeAdapter[float], text: object, hint: str
) -> None:
    with pytest.raises(ValidationError, match=hint):
        adapter.validate_python(text)


@pytest.mark.parametrize(
    ("adapter", "values"),
    [
        (TypeAdapter(Flag), ((True, True), (False, False), ("true", True), ("false", False))),
        (TypeAdapter(Whole), ((3, 3), ("3", 3), (-3, -3))),
        (TypeAdapter(Number), ((3, 3.0), (0.25, 0.25), ("0.25", 0.25), (-1, -1.0))),
        (TypeAdapter(CountOrAuto), (("auto", "auto"), (8, 8), ("1k", 1000))),
    ],
)
def test_plain_values_may_be_text_from_the_environment(adapter: TypeAdapter[object], values: Pairs) -> None:
    for given_value, value in values:
        assert adapter.validate_python(given_value) == value


@pytest.mark.parametrize(
    ("adapter", "values"),
    [
        (TypeAdapter(Flag), ("yes", "no", "on", "off", "True", 1, 0, None, [])),
        (TypeAdapter(Whole), (True, 1.0, "1.0", "1e3", "1_000", "", " 1", None, "9" * 16)),
        (TypeAdapter(Number), (True, "nan", float("nan"), "inf", float("inf"), "1e3", "1_000", "", None, [])),
        (TypeAdapter(Exact), (False, float("-inf"), "NaN", "0x1", {})),
        (TypeAdapter(CountOrAuto), ("Auto", 0, -1, True, None, "0")),
    ],
)
def test_other_values_are_refused(adapter: TypeAdapter[object], values: tuple[object, ...]) -> None:
    for value in values:
        with pytest.raises(ValidationError, match="expected"):
            adapter.validate_python(value)


def test_bounds_are_stated_with_their_units() -> None:
    bounded: TypeAdapter[float] = TypeAdapter(Annotated[Seconds, between("100ms", "1h")])
    assert [bounded.validate_python(text) for text in ("100ms", "1h")] == [0.1, 3600]
    for text in ("99ms", "61m"):
        with pytest.raises(ValidationError, match="expected 100ms to 1h"):
            bounded.validate_python(text)


@given(st.decimals(0, 100, places=3))
def test_a_share_is_its_hundredth(percent: Decimal) -> None:
    assert SHARE.validate_python(f"{percent}%") == float(percent / 100)


@given(st.text(max_size=12))
def test_no_text_is_taken_for_a_negative_or_infinite_duration(text: str) -> None:
    try:
        value = SECONDS.validate_python(text)
    except ValidationError:
        return
    assert 0 <= value < float("inf")


@pytest.mark.parametrize(("value", "seconds"), [("250ms", 0.25), ("5m", 300), (5, None), ("soon", None), ([], None)])
def test_a_time_span_that_was_not_checked_yet_is_read_if_it_is_one(value: object, seconds: float | None) -> None:
    assert seconds_of(value) == seconds


@pytest.mark.parametrize(("value", "count"), [("50k", 50_000), (5, 5), ("many", None), (None, None), ([], None)])
def test_a_count_that_was_not_checked_yet_is_read_if_it_is_one(value: object, count: int | None) -> None:
    assert count_of(value) == count
