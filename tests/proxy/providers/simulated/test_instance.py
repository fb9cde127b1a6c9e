"""Instances of schemas; jsonschema is the oracle."""

from __future__ import annotations

import random
from typing import Final

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.providers.simulated.instance import instance
from proxy.providers.simulated.steps import Steps, TooComplexError
from proxy.providers.simulated.values import JsonObject

MAX_STEPS: Final = 30_000
INTEGERS = st.integers(-(2**63), 2**63 - 1)  # what the JSON reader gives; beyond it there are floats
NAMES = st.sampled_from(["city", "name", "count", "tags", "when", "x", "y"])


def built(schema: object, seed: int = 1) -> object:
    return instance(schema, random.Random(seed), Steps(MAX_STEPS))


def assert_valid(schema: JsonObject, seed: int) -> object:
    value = built(schema, seed)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER).validate(
        value
    )
    return value


def string_schema(least: int, room: int) -> JsonObject:
    return {"type": "string", "minLength": least, "maxLength": least + room}


def integer_schema(low: int, room: int) -> JsonObject:
    return {"type": "integer", "minimum": low, "maximum": low + room}


def array_schema(items: JsonObject, least: int, room: int) -> JsonObject:
    return {"type": "array", "items": items, "minItems": least, "maxItems": least + room}


def object_schema(properties: JsonObject, required: int, *, closed: bool) -> JsonObject:
    schema: JsonObject = {"type": "object", "properties": properties, "required": list(properties)[:required]}
    return {**schema, "additionalProperties": False} if closed else schema


def nullable(schema: JsonObject) -> JsonObject:
    return {"anyOf": [schema, {"type": "null"}]}


def tagged(first: JsonObject, second: JsonObject) -> JsonObject:
    """A discriminated union."""
    return {
        "oneOf": [
            {"type": "object", "properties": {"kind": {"const": tag}, "value": value}, "required": ["kind", "value"]}
            for tag, value in (("one", first), ("two", second))
        ]
    }


def joined(first: JsonObject, second: JsonObject) -> JsonObject:
    return {
        "allOf": [
            {"type": "object", "properties": {"left": first}, "required": ["left"]},
            {"properties": {"right": second}, "required": ["right"]},
        ]
    }


LEAVES: st.SearchStrategy[JsonObject] = st.one_of(
    st.builds(string_schema, st.integers(0, 20), st.integers(0, 20)),
    st.builds(integer_schema, st.integers(-100, 100), st.integers(0, 100)),
    st.sampled_from(["date-time", "email", "uuid", "date", "ipv4"]).map(
        lambda name: {"type": "string", "format": name}
    ),
    st.sampled_from(["^[A-Z]{3}$", r"^\d+\.\d{2}$"]).map(lambda pattern: {"type": "string", "pattern": pattern}),
    st.lists(INTEGERS | st.text(max_size=3) | st.none(), min_size=1, max_size=4).map(lambda values: {"enum": values}),
    st.sampled_from(["string", "integer", "number", "boolean", "null", ["string", "null"], ["null", "integer"]]).map(
        lambda kind: {"type": kind}
    ),
    INTEGERS.map(lambda value: {"const": value}),
    st.just({}),
)
SCHEMAS: st.SearchStrategy[JsonObject] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(array_schema, inner, st.integers(0, 3), st.integers(0, 3)),
        st.builds(object_schema, st.dictionaries(NAMES, inner, max_size=4), st.integers(0, 4), closed=st.booleans()),
        st.builds(nullable, inner),
        st.builds(tagged, inner, inner),
        st.builds(joined, inner, inner),
        inner.map(lambda schema: {"type": "object", "additionalProperties": schema, "minProperties": 2}),
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(SCHEMAS, st.integers())
def test_an_instance_is_valid(schema: JsonObject, seed: int) -> None:
    assert_valid(schema, seed)


@settings(max_examples=50, deadline=None)
@given(SCHEMAS, st.integers())
def test_the_same_seed_gives_the_same_instance(schema: JsonObject, seed: int) -> None:
    assert built(schema, seed) == built(schema, seed)


@settings(max_examples=50, deadline=None)
@given(SCHEMAS, st.integers())
def test_a_schema_behind_a_reference_is_kept(schema: JsonObject, seed: int) -> None:
    assert_valid(
        {"$defs": {"it": schema}, "type": "object", "properties": {"a": {"$ref": "#/$defs/it"}}, "required": ["a"]},
        seed,
    )


TREE: JsonObject = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "value": {"type": "integer"},
                "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["value", "next", "children"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/node",
}
EXPRESSION: JsonObject = {
    "$defs": {
        "leaf": {"type": "object", "properties": {"number": {"type": "number"}}, "required": ["number"]},
        "sum": {
            "type": "object",
            "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}},
            "required": ["left", "right"],
        },
    },
    "anyOf": [{"$ref": "#/$defs/sum"}, {"$ref": "#/$defs/leaf"}],
}


@pytest.mark.parametrize("schema", [TREE, EXPRESSION], ids=["tree", "expression"])
def test_recursive_schemas_come_to_an_end(schema: JsonObject) -> None:
    for seed in range(30):
        assert_valid(schema, seed)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"enum": ["a", "b", "c"]}, "minItems": 3, "uniqueItems": True},
        {"type": "array", "items": {"type": "integer"}, "contains": {"minimum": 5000}, "minContains": 2},
        {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False, "minItems": 2},
        {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False},
        {"type": "integer", "enum": ["a", 1, None]},
        {"oneOf": [{"type": "integer"}, {"type": "number"}]},
        {"type": "integer", "not": {"minimum": 0}, "minimum": -5, "maximum": 0},
        {"type": "object", "properties": {"a": {"type": "string"}, "b": False}},
        {"type": "object", "properties": {"a": {}, "b": {}, "c": {}}, "required": ["c"], "maxProperties": 2},
        {"type": "object", "properties": {"a": {}}, "dependentRequired": {"a": ["b"]}, "required": ["a"]},
        {"type": "object", "properties": {"a": {}}, "dependentRequired": {"a": ["b"]}},
        {"type": "object", "required": ["undeclared"], "additionalProperties": {"type": "integer"}},
        {"properties": {"a": {"type": "integer"}}, "required": ["a"]},
        {"if": {"properties": {"a": {"const": 1}}}, "then": {"required": ["b"]}, "type": "object", "required": ["a"]},
        {"type": "number", "minimum": 0.001, "maximum": 0.002},
        {"type": "string", "pattern": "^[a-z]+$", "minLength": 30},
        {"anyOf": [{"type": "string", "maxLength": 1}, False]},
        {"type": "boolean", "const": False},
        {"type": "boolean", "not": {"const": True}},
    ],
)
def test_conflicting_keywords_are_reconciled(schema: JsonObject) -> None:
    for seed in range(10):
        assert_valid(schema, seed)


def test_a_deep_schema_is_reached() -> None:
    schema: JsonObject = {"type": "integer"}
    for _ in range(15):
        schema = {"type": "object", "properties": {"x": schema}, "required": ["x"]}
    assert_valid(schema, 1)


def test_null_is_not_the_first_choice() -> None:
    schema: JsonObject = {"type": "object", "properties": {"city": {"anyOf": [{"type": "null"}, {"type": "string"}]}}}
    assert all(isinstance(assert_valid(schema, seed), dict) for seed in range(5))
    assert all(built({"type": ["null", "integer"]}, seed) is not None for seed in range(20))


def test_an_unsatisfiable_schema_gets_the_best_try() -> None:
    assert isinstance(built({"type": "string", "minLength": 3, "maxLength": 1}), str)


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"$ref": "#"},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"type": "array", "minItems": 10**9},
        {"type": "object", "minProperties": 10**9},
        {"type": "array", "minItems": 1000, "items": {"const": "x" * 100_000}},
        {"type": "array", "minItems": 1000, "items": {"required": ["x" * 100_000]}},
        {"anyOf": [{"$ref": "#"}, {"$ref": "#"}, {"allOf": [True] * 10_000}]},
        {"allOf": [{"anyOf": [{"minimum": 1}, {"maximum": 1}]}] * 30, "type": "string", "minLength": 2, "maxLength": 1},
        {
            "$defs": {
                str(level): {
                    "type": "object",
                    "properties": {name: {"$ref": f"#/$defs/{level + 1}"} for name in "abcdefghij"},
                    "required": list("abcdefghij"),
                }
                for level in range(8)
            },
            "$ref": "#/$defs/0",
        },
    ],
    ids=["false", "circle", "endless", "long", "wide", "heavy", "named", "circles", "combinations", "laughs"],
)
def test_bombs_and_endless_schemas_are_too_complex(schema: object) -> None:
    with pytest.raises(TooComplexError):
        built(schema)
