"""JSON schemas without $ref, allOf, anyOf, oneOf and if: every way to satisfy those, each as one plain schema."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import unquote

from proxy.providers.simulated.steps import Steps
from proxy.providers.simulated.values import JsonObject, canonical, list_of, number_of, object_of, weight_of

_COMBINATORS: Final = frozenset({"$ref", "allOf", "anyOf", "oneOf", "if", "then", "else", "$defs", "definitions"})
_COUNTED: Final = ("Length", "Items", "Properties", "Contains")
_LOWER_BOUNDS: Final = frozenset({"minimum", "exclusiveMinimum", *(f"min{what}" for what in _COUNTED)})
_UPPER_BOUNDS: Final = frozenset({"maximum", "exclusiveMaximum", *(f"max{what}" for what in _COUNTED)})
_SUBSCHEMAS: Final = frozenset({"items", "additionalProperties", "contains", "propertyNames"})
#: References followed and parts merged, inside or after one another; more are a circle. Two stack frames each.
_MAX_HOPS: Final = 48

#: Puts the branches of an anyOf or oneOf into the order in which they are tried.
Order = Callable[[list[object]], list[object]]


class Unfolding:
    """One schema document and what its references point to."""

    def __init__(self, root: object, steps: Steps) -> None:
        self._root = root
        self._steps = steps

    def resolve(self, ref: object) -> object:
        """What a reference inside this document points to; True, which allows everything, if it leads elsewhere."""
        if not isinstance(ref, str) or not ref.startswith("#"):
            return True
        node = self._root
        for part in unquote(ref[1:]).split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(node, dict) and key in node:
                node = node[key]
            elif isinstance(node, list) and key.isdecimal() and int(key) < len(node):
                node = node[int(key)]
            else:
                return True
        return node

    def alternatives(self, schema: object, order: Order, hops: int = 0) -> Iterator[JsonObject]:
        """Plain schemas; what satisfies one of them satisfies the schema, but for `not` and the exclusiveness of oneOf.

        Lazy: their number can grow exponentially. None at all for False and for references in a circle.
        """
        node = object_of(schema)
        self._steps.take(weight_of(node))
        if schema is False or hops > _MAX_HOPS:
            return
        plain = {key: value for key, value in node.items() if key not in _COMBINATORS}
        groups: list[list[object]] = []
        if "$ref" in node:
            groups.append([self.resolve(node["$ref"])])
        groups.extend([part] for part in list_of(node.get("allOf")))
        groups.extend(order(branches) for key in ("anyOf", "oneOf") if (branches := list_of(node.get(key))))
        if "if" in node:
            groups.append([{"allOf": [node["if"], node.get("then", True)]}, node.get("else", True)])
        if hops + len(groups) <= _MAX_HOPS:
            yield from self._joined(plain, groups, order, hops)

    def _joined(self, plain: JsonObject, groups: list[list[object]], order: Order, hops: int) -> Iterator[JsonObject]:
        """The plain schema merged with one member of each group, in every combination."""
        if not groups:
            yield plain
            return
        for member in groups[0]:
            for flat in self.alternatives(member, order, hops + 1):
                self._steps.take(weight_of(plain) + weight_of(flat))
                yield from self._joined(_merged(plain, flat), groups[1:], order, hops + 1)


def _merged(left: JsonObject, right: JsonObject) -> JsonObject:
    """One plain schema for what satisfies both."""
    merged = dict(left)
    for key, value in right.items():
        merged[key] = _merged_keyword(key, left[key], value) if key in left else value
    properties = object_of(merged.get("properties"))
    for side in (left, right):
        if side.get("additionalProperties") is False and "patternProperties" not in side:
            known = object_of(side.get("properties"))
            properties = {name: schema if name in known else False for name, schema in properties.items()}
            merged["properties"] = properties
    return merged


def _merged_keyword(key: str, left: object, right: object) -> object:
    low, high = number_of(left), number_of(right)
    if low is not None and high is not None:
        if key in _LOWER_BOUNDS:
            return max(low, high)
        if key in _UPPER_BOUNDS:
            return min(low, high)
        if key == "multipleOf" and isinstance(low, int) and isinstance(high, int):
            return math.lcm(low, high)
    if key == "type":
        return _common_types(left, right)
    if key == "required":
        return [*list_of(left), *list_of(right)]
    if key == "enum":
        allowed = {canonical(value) for value in list_of(left)}
        return [value for value in list_of(right) if canonical(value) in allowed]
    if key == "properties":
        ours, theirs = object_of(left), object_of(right)
        both = {name: {"allOf": [ours[name], theirs[name]]} for name in ours if name in theirs}
        return {**ours, **theirs, **both}
    return {"allOf": [left, right]} if key in _SUBSCHEMAS else right


def _common_types(left: object, right: object) -> list[object]:
    ours = list_of(left) if isinstance(left, list) else [left]
    theirs = list_of(right) if isinstance(right, list) else [right]
    common = [kind for kind in ours if kind in theirs]
    if "integer" not in common and {"integer", "number"} <= {*map(str, ours), *map(str, theirs)}:
        common.append("integer")
    return common
