"""Numbers and strings within bounds; jsonschema is the oracle."""

from __future__ import annotations

import random
import string
from collections.abc import Mapping
from datetime import UTC, datetime, time

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.providers.simulated.scalars import draw_number, draw_text
from proxy.providers.simulated.steps import Steps, TooComplexError
from proxy.providers.simulated.values import JsonObject

FORMATS = ["date-time", "date", "time", "email", "hostname", "uri", "ipv4", "ipv6", "uuid", "duration", "json-pointer"]


def assert_valid(value: object, schema: Mapping[str, object]) -> None:
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    jsonschema.Draft202012Validator(schema, format_checker=checker).validate(value)


@given(st.integers(-(10**6), 10**6), st.integers(0, 1000), st.integers())
def test_integers_keep_their_bounds(low: int, room: int, seed: int) -> None:
    schema: JsonObject = {"type": "integer", "minimum": low, "maximum": low + room}
    assert_valid(draw_number(schema, whole=True, rng=random.Random(seed)), schema)


@given(st.floats(-1e6, 1e6), st.floats(0.001, 1000), st.integers())
def test_numbers_keep_exclusive_bounds(low: float, room: float, seed: int) -> None:
    schema: JsonObject = {"type": "number", "exclusiveMinimum": low, "exclusiveMaximum": low + room}
    assert_valid(draw_number(schema, whole=False, rng=random.Random(seed)), schema)


@pytest.mark.parametrize("step", [1, 7, 1000, 0.1, 0.25, 2.5])
@pytest.mark.parametrize("bounds", [{}, {"minimum": 3}, {"maximum": -3}, {"minimum": 0, "maximum": 10_000}])
def test_numbers_are_multiples_where_asked(step: float, bounds: JsonObject) -> None:
    schema: JsonObject = {"type": "number", "multipleOf": step, **bounds}
    for seed in range(20):
        assert_valid(draw_number(schema, whole=False, rng=random.Random(seed)), schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"minimum": 1, "maximum": 0},
        {"exclusiveMinimum": 1, "exclusiveMaximum": 2},
        {"minimum": 1, "maximum": 4, "multipleOf": 5},
        {"minimum": 1e308, "maximum": -1e308},
    ],
)
def test_impossible_integers_are_none(schema: JsonObject) -> None:
    assert draw_number(schema, whole=True, rng=random.Random(1)) is None


@pytest.mark.parametrize("bound", [1e308, -1e308, 2**62, 1e-300])
def test_extreme_bounds_are_kept_or_given_up(bound: float) -> None:
    for schema in ({"minimum": bound}, {"maximum": bound}, {"minimum": bound, "multipleOf": 1e-308}):
        for whole in (True, False):
            number = draw_number(dict(schema), whole=whole, rng=random.Random(1))
            if number is not None:
                assert_valid(number, schema)


@given(st.integers(0, 60), st.integers(0, 60), st.integers())
def test_strings_keep_their_length(least: int, room: int, seed: int) -> None:
    text = draw_text({"minLength": least, "maxLength": least + room}, "", random.Random(seed), Steps(1000))
    assert least <= len(text) <= least + room


@pytest.mark.parametrize("name", FORMATS)
def test_strings_have_their_format(name: str) -> None:
    schema: JsonObject = {"type": "string", "format": name}
    for seed in range(20):
        text = draw_text(schema, "", random.Random(seed), Steps(1000))
        assert_valid(text, schema)
        assert not set(text) <= {*string.ascii_lowercase, " "}


def test_a_time_has_its_offset() -> None:
    for name, parse in (("date-time", datetime.fromisoformat), ("time", time.fromisoformat)):
        assert parse(draw_text({"format": name}, "", random.Random(1), Steps(1000))).tzinfo == UTC


def test_an_unknown_format_gives_words() -> None:
    text = draw_text({"format": "colour"}, "", random.Random(1), Steps(1000))
    assert set(text) <= {*string.ascii_lowercase, " "}


def test_a_property_named_city_holds_a_city() -> None:
    assert draw_text({}, "City", random.Random(1), Steps(1000)) in ("Lisbon", "Oslo", "Kyoto")


def test_an_unreadable_pattern_gives_words() -> None:
    assert draw_text({"pattern": "(?=x)x"}, "", random.Random(1), Steps(1000))


def test_an_endless_string_is_too_complex() -> None:
    with pytest.raises(TooComplexError):
        draw_text({"minLength": 10**12}, "", random.Random(1), Steps(1000))
