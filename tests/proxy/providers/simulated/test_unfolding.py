"""Combinators taken apart."""

from __future__ import annotations

import pytest

from proxy.providers.simulated.steps import Steps, TooComplexError
from proxy.providers.simulated.unfolding import Unfolding
from proxy.providers.simulated.values import JsonObject


def unfold(schema: JsonObject, limit: int = 10_000) -> list[JsonObject]:
    return list(Unfolding(schema, Steps(limit)).alternatives(schema, lambda branches: branches))


def test_a_plain_schema_is_its_own_only_alternative() -> None:
    assert unfold({"type": "string", "minLength": 2}) == [{"type": "string", "minLength": 2}]


def test_all_of_is_merged() -> None:
    parts: list[object] = [
        {"type": ["integer", "string"], "minimum": 1, "required": ["a"]},
        {"type": "number", "minimum": 3, "maximum": 9, "required": ["b"]},
        {"maximum": 5, "multipleOf": 4},
        {"multipleOf": 6, "enum": [1, 2]},
        {"enum": [2, 3]},
    ]
    merged = {"type": ["integer"], "minimum": 3, "maximum": 5, "multipleOf": 12, "required": ["a", "b"], "enum": [2]}
    assert unfold({"allOf": parts}) == [merged]


def test_many_parts_are_merged() -> None:
    (merged,) = unfold({"allOf": [{"minimum": number} for number in range(40)]})
    assert merged == {"minimum": 39}


def test_countless_parts_have_no_alternative() -> None:
    assert unfold({"allOf": [{"minimum": 1}] * 10_000}, limit=100_000) == []


def test_properties_of_both_parts_must_satisfy_both() -> None:
    (merged,) = unfold(
        {"properties": {"a": {"minimum": 1}}, "allOf": [{"properties": {"a": {"maximum": 2}, "b": True}}]}
    )
    assert merged == {"properties": {"a": {"allOf": [{"minimum": 1}, {"maximum": 2}]}, "b": True}}


def test_a_closed_object_forbids_the_properties_of_the_other() -> None:
    (merged,) = unfold(
        {"properties": {"a": True}, "additionalProperties": False, "allOf": [{"properties": {"a": True, "b": True}}]}
    )
    assert merged["properties"] == {"a": {"allOf": [True, True]}, "b": False}


def test_any_of_and_one_of_give_every_combination() -> None:
    kinds = unfold({"anyOf": [{"a": 1}, {"a": 2}], "oneOf": [{"b": 1}, {"b": 2}, False]})
    assert kinds == [{"a": a, "b": b} for a in (1, 2) for b in (1, 2)]


def test_if_gives_then_and_else() -> None:
    assert unfold({"if": {"a": 1}, "then": {"b": 1}, "else": {"c": 1}}) == [{"a": 1, "b": 1}, {"c": 1}]


def test_references_are_followed_with_escapes() -> None:
    root: JsonObject = {"$ref": "#/$defs/a~1b%20c/0", "$defs": {"a/b c": [{"type": "null"}]}}
    assert unfold(root) == [{"type": "null"}]


@pytest.mark.parametrize("ref", ["#/$defs/none", "https://example.com/schema", 3, "#/$defs/9"])
def test_a_reference_that_leads_elsewhere_allows_everything(ref: object) -> None:
    assert unfold({"$ref": ref}) == [{}]


def test_a_reference_in_a_circle_has_no_alternative() -> None:
    assert unfold({"$ref": "#"}) == []


def test_an_exponential_schema_is_too_complex() -> None:
    bomb: JsonObject = {"allOf": [{"anyOf": [{"a": 1}, {"b": 1}]}] * 40}
    with pytest.raises(TooComplexError):
        unfold(bomb)
