import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from proxy.config.schema_units import Bytes, Count, Seconds, Share

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
        (SHARE, "5%", 0.05),
        (SHARE, "99.9%", 0.999),
        (SHARE, "100%", 1.0),
    ],
)
def test_units_are_understood(adapter: TypeAdapter[float], text: object, value: float) -> None:
    assert adapter.validate_python(text) == pytest.approx(value)


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


@given(st.text(max_size=12))
def test_no_text_is_taken_for_a_negative_or_infinite_duration(text: str) -> None:
    try:
        value = SECONDS.validate_python(text)
    except ValidationError:
        return
    assert 0 <= value < float("inf")
