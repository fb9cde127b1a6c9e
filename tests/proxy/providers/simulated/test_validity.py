"""Valid or not; jsonschema is the oracle."""

from __future__ import annotations

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.providers.simulated.steps import Steps, TooComplexError
from proxy.providers.simulated.unfolding import Unfolding
from proxy.providers.simulated.validity import Validity
from proxy.providers.simulated.values import JsonObject

SCHEMAS: list[JsonObject] = [
    {"type": "integer"},
    {"type": "number"},
    {"type": ["string", "null"]},
    {"type": "boolean"},
    {"enum": [1, "a", None, [1], {"a": 1}]},
    {"const": {"a": 1}},
    {"const": True},
    {"minLength": 1, "maxLength": 2},
    {"minimum": 1, "exclusiveMaximum": 3},
    {"exclusiveMinimum": 1, "maximum": 3},
    {"multipleOf": 2},
    {"multipleOf": 0.5},
    {"minItems": 1, "maxItems": 2, "uniqueItems": True},
    {"prefixItems": [{"type": "integer"}], "items": {"type": "string"}},
    {"prefixItems": [True], "items": False},
    {"contains": {"type": "integer"}, "maxContains": 1},
    {"contains": {"type": "integer"}, "minContains": 2},
    {"properties": {"a": {"type": "integer"}}, "additionalProperties": False},
    {"required": ["a"], "minProperties": 1, "maxProperties": 1},
    {"dependentRequired": {"a": ["b"]}},
    {"additionalProperties": {"type": "string"}},
    {"allOf": [{"type": "integer"}, {"minimum": 2}]},
    {"anyOf": [{"type": "integer"}, {"minLength": 2}]},
    {"oneOf": [{"type": "integer"}, {"minimum": 2}]},
    {"not": {"type": "integer"}},
    {"if": {"type": "integer"}, "then": {"minimum": 2}, "else": {"type": "string"}},
    {"if": {"type": "integer"}, "then": {"minimum": 2}},
    {"$ref": "#/$defs/a", "$defs": {"a": {"type": "integer"}}},
    {"$defs": {"a": {"properties": {"a": {"$ref": "#/$defs/a"}}, "required": ["b"]}}, "$ref": "#/$defs/a"},
]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 4)
    | st.sampled_from([0.5, 1.5, 2.0])
    | st.sampled_from(["", "a", "ab", "abc"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=5,
)


def holds(value: object, schema: object) -> bool:
    steps = Steps(100_000)
    return Validity(Unfolding(schema, steps), steps).holds(value, schema)


@given(st.sampled_from(SCHEMAS), VALUES)
def test_it_agrees_with_a_full_validator(schema: JsonObject, value: object) -> None:
    assert holds(value, schema) == jsonschema.Draft202012Validator(schema).is_valid(value)


def test_true_and_false_allow_everything_and_nothing() -> None:
    assert holds(1, True)
    assert not holds(1, False)


def test_draft_4_booleans_make_bounds_exclusive() -> None:
    assert not holds(1, {"minimum": 1, "exclusiveMinimum": True})
    assert not holds(3, {"maximum": 3, "exclusiveMaximum": True})
    assert holds(2, {"minimum": 1, "exclusiveMinimum": True, "maximum": 3, "exclusiveMaximum": True})


def test_patterns_are_taken_on_trust() -> None:
    assert holds("b", {"pattern": "^a$"})


def test_a_circle_is_too_complex() -> None:
    with pytest.raises(TooComplexError):
        holds(1, {"$ref": "#"})
