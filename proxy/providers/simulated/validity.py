"""Does a value satisfy a JSON schema? For values made here: it settles oneOf, not and conflicting keywords.

Not a validator for anything from outside: `pattern` and `format` are taken on trust. (A caller's regular expression
could backtrack for hours; Python's engine has no time limit.)
"""

from __future__ import annotations

from typing import Final

from proxy.providers.simulated.steps import Steps, TooComplexError
from proxy.providers.simulated.unfolding import Unfolding
from proxy.providers.simulated.values import JsonObject, canonical, count_of, list_of, number_of, object_of, weight_of

_MAX_DEPTH: Final = 64


class Validity:
    """The schemas of one document."""

    def __init__(self, unfolding: Unfolding, steps: Steps) -> None:
        self._unfolding = unfolding
        self._steps = steps

    def holds(self, value: object, schema: object, depth: int = 0) -> bool:
        """Does the value satisfy the schema? Raises TooComplexError for circles and bombs."""
        self._steps.take(weight_of(object_of(schema)))
        if depth > _MAX_DEPTH:
            raise TooComplexError("it is nested too deeply for a simulated provider")
        if not isinstance(schema, dict):
            return schema is not False
        return (
            _holds_itself(value, schema)
            and self._holds_combined(value, schema, depth + 1)
            and (not isinstance(value, list) or self._holds_items(value, schema, depth + 1))
            and (not isinstance(value, dict) or self._holds_members(value, schema, depth + 1))
        )

    def _holds_combined(self, value: object, schema: JsonObject, depth: int) -> bool:
        if "$ref" in schema and not self.holds(value, self._unfolding.resolve(schema["$ref"]), depth):
            return False
        if not all(self.holds(value, part, depth) for part in list_of(schema.get("allOf"))):
            return False
        any_of, one_of = list_of(schema.get("anyOf")), list_of(schema.get("oneOf"))
        if any_of and not any(self.holds(value, branch, depth) for branch in any_of):
            return False
        if one_of and sum(self.holds(value, branch, depth) for branch in one_of) != 1:
            return False
        if "not" in schema and self.holds(value, schema["not"], depth):
            return False
        if "if" not in schema:
            return True
        consequence = "then" if self.holds(value, schema["if"], depth) else "else"
        return self.holds(value, schema.get(consequence, True), depth)

    def _holds_items(self, value: list[object], schema: JsonObject, depth: int) -> bool:
        if not count_of(schema.get("minItems"), 0) <= len(value) <= count_of(schema.get("maxItems"), len(value)):
            return False
        if schema.get("uniqueItems") is True and len({canonical(item) for item in value}) < len(value):
            return False
        first = list_of(schema.get("prefixItems"))
        rest = schema.get("items", True)
        if not all(self.holds(item, first[at] if at < len(first) else rest, depth) for at, item in enumerate(value)):
            return False
        if "contains" not in schema:
            return True
        found = sum(self.holds(item, schema["contains"], depth) for item in value)
        return count_of(schema.get("minContains"), 1) <= found <= count_of(schema.get("maxContains"), found)

    def _holds_members(self, value: JsonObject, schema: JsonObject, depth: int) -> bool:
        most = count_of(schema.get("maxProperties"), len(value))
        if not count_of(schema.get("minProperties"), 0) <= len(value) <= most:
            return False
        if not all(name in value for name in list_of(schema.get("required"))):
            return False
        for trigger, names in object_of(schema.get("dependentRequired")).items():
            if trigger in value and not all(name in value for name in list_of(names)):
                return False
        properties = object_of(schema.get("properties"))
        others = True if "patternProperties" in schema else schema.get("additionalProperties", True)
        return all(self.holds(member, properties.get(name, others), depth) for name, member in value.items())


def _holds_itself(value: object, schema: JsonObject) -> bool:
    """The keywords that need no other schema."""
    if "type" in schema:
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if not any(_is_kind(value, kind) for kind in kinds):
            return False
    if "enum" in schema and canonical(value) not in {canonical(allowed) for allowed in list_of(schema["enum"])}:
        return False
    if "const" in schema and canonical(value) != canonical(schema["const"]):
        return False
    if isinstance(value, str):
        return count_of(schema.get("minLength"), 0) <= len(value) <= count_of(schema.get("maxLength"), len(value))
    number = number_of(value)
    return number is None or in_bounds(number, schema)


def _is_kind(value: object, kind: object) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if isinstance(value, int):
        return kind in ("integer", "number")
    if isinstance(value, float):
        return kind == "number" or (kind == "integer" and value.is_integer())
    names = {type(None): "null", str: "string", list: "array", dict: "object"}
    return names.get(type(value)) == kind


def in_bounds(number: float | int, schema: JsonObject) -> bool:
    """Does the number keep minimum, maximum, their exclusive forms (also draft 4's booleans) and multipleOf?"""
    low, high = number_of(schema.get("minimum")), number_of(schema.get("maximum"))
    above, below = number_of(schema.get("exclusiveMinimum")), number_of(schema.get("exclusiveMaximum"))
    step = number_of(schema.get("multipleOf"))
    return not (
        (low is not None and (number < low or (number == low and schema.get("exclusiveMinimum") is True)))
        or (high is not None and (number > high or (number == high and schema.get("exclusiveMaximum") is True)))
        or (above is not None and number <= above)
        or (below is not None and number >= below)
        or (step is not None and step > 0 and not _is_multiple(number, step))
    )


def _is_multiple(number: float | int, step: float | int) -> bool:
    if isinstance(number, int) and isinstance(step, int):
        return number % step == 0
    return (number / step).is_integer()
