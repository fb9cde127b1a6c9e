"""An instance of a JSON schema: something a model under structured output might have said."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from proxy.providers.simulated.scalars import draw_number, draw_text
from proxy.providers.simulated.steps import Steps, TooComplexError
from proxy.providers.simulated.unfolding import Unfolding
from proxy.providers.simulated.validity import Validity
from proxy.providers.simulated.values import JsonObject, canonical, count_of, list_of, object_of

#: Depths tried in turn, so that a recursive schema ends as soon as it can and a deep one still gets its answer.
_DEPTHS: Final = (4, 6, 10, 20)
#: Below this depth nothing optional is added any more, and null is preferred.
_GENEROUS_DEPTH: Final = 3
_UNIQUE_TRIES: Final = 64
_BYTES_PER_STEP: Final = 64
_KEYWORDS_OF_KIND: Final = (
    ("object", ("properties", "required", "additionalProperties", "minProperties")),
    ("array", ("items", "prefixItems", "minItems", "contains")),
    ("number", ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")),
)


def instance(schema: object, rng: random.Random, steps: Steps) -> object:
    """A value that satisfies the schema; without one, the best try. Raises TooComplexError if there is none."""
    best: _Made | None = None
    for depth in _DEPTHS:
        made = _Builder(schema, rng, steps, depth).build(schema, 0, "")
        if made is not None and made.holds:
            return made.value
        best = best or made
    if best is None:
        raise TooComplexError("no value satisfies it, or only one nested more deeply than a simulated provider goes")
    return best.value


@dataclass(frozen=True, slots=True)
class _Made:
    value: object
    holds: bool  #: was it checked against its schema, and did it pass?


class _Builder:
    """Generate and test, down to a depth. None stands for: not within this depth."""

    def __init__(self, root: object, rng: random.Random, steps: Steps, max_depth: int) -> None:
        self._unfolding = Unfolding(root, steps)
        self._validity = Validity(self._unfolding, steps)
        self._rng = rng
        self._steps = steps
        self._max_depth = max_depth

    def build(self, schema: object, depth: int, name: str) -> _Made | None:
        """The first candidate that holds, else the first; `name` is the property's, as a hint."""
        if depth > self._max_depth:
            return None
        first: _Made | None = None

        def order(branches: list[object]) -> list[object]:
            return self._ordered(branches, depth)

        for flat in self._unfolding.alternatives(schema, order):
            for value in self._candidates(flat, depth, name):
                if self._validity.holds(value, schema):
                    return _Made(value, True)
                first = first or _Made(value, False)
        return first

    def _ordered(self, branches: list[object], depth: int) -> list[object]:
        """By chance, but null last, and first once it is time to come to an end."""
        shuffled = self._rng.sample(branches, len(branches))
        is_late = depth >= _GENEROUS_DEPTH
        return sorted(shuffled, key=lambda branch: (object_of(branch).get("type") == "null") != is_late)

    def _candidates(self, flat: JsonObject, depth: int, name: str) -> Iterator[object]:
        if "const" in flat or "enum" in flat:
            given = [flat["const"]] if "const" in flat else list_of(flat["enum"])
            for value in self._rng.sample(given, len(given)):
                self._steps.take(len(canonical(value)) // _BYTES_PER_STEP)
                yield value
            return
        for kind in self._kinds(flat, depth):
            yield from self._of_kind(kind, flat, depth, name)

    def _kinds(self, flat: JsonObject, depth: int) -> list[object]:
        kinds = flat.get("type")
        if isinstance(kinds, list):
            return sorted(kinds, key=lambda kind: (kind == "null") != (depth >= _GENEROUS_DEPTH))
        if kinds is not None:
            return [kinds]
        for kind, keywords in _KEYWORDS_OF_KIND:
            if any(keyword in flat for keyword in keywords):
                return [kind, "string"]
        return ["string", "object", "integer"]

    def _of_kind(self, kind: object, flat: JsonObject, depth: int, name: str) -> Iterator[object]:
        """Zero, one or two candidates."""
        if kind == "null":
            yield None
        elif kind == "boolean":
            first = self._rng.random() < 0.5
            yield from (first, not first)
        elif kind in ("integer", "number"):
            number = draw_number(flat, whole=kind == "integer", rng=self._rng)
            if number is not None:
                yield number
        elif kind == "string":
            yield draw_text(flat, name, self._rng, self._steps)
        elif kind == "array":
            for generous in (True, False):
                items = self._items(flat, depth, name, generous=generous)
                if items is not None:
                    yield items
        elif kind == "object":
            for generous in (True, False):
                members = self._members(flat, depth, generous=generous)
                if members is not None:
                    yield members

    def _items(self, flat: JsonObject, depth: int, name: str, *, generous: bool) -> list[object] | None:
        least = count_of(flat.get("minItems"), 0)
        prefix, rest = list_of(flat.get("prefixItems")), flat.get("items", True)
        wanted = max(len(prefix), self._rng.randint(1, 3)) if generous and depth < _GENEROUS_DEPTH else 0
        wanted = max(least, min(count_of(flat.get("maxItems"), wanted), wanted))
        unique = flat.get("uniqueItems") is True
        items: list[object] = []
        seen: set[bytes] = set()
        contained = count_of(flat.get("minContains"), 1) if "contains" in flat else 0
        while len(items) < max(wanted, contained + len(prefix) if contained else 0):
            at = len(items)
            schema = prefix[at] if at < len(prefix) else rest
            if contained and len(prefix) <= at < len(prefix) + contained:
                schema = {"allOf": [schema, flat["contains"]]}
            made = self._item(schema, depth + 1, name, seen if unique else set())
            if made is None or not (made.holds or at < least):
                return items if at >= least else None
            items.append(made.value)
            seen.add(canonical(made.value))
        return items

    def _item(self, schema: object, depth: int, name: str, taken: set[bytes]) -> _Made | None:
        """An item that is not yet taken; a taken one, not holding, if there seems to be no other."""
        for _ in range(_UNIQUE_TRIES):
            made = self.build(schema, depth, name)
            if made is None or canonical(made.value) not in taken:
                return made
        return _Made(made.value, False) if made is not None else None

    def _members(self, flat: JsonObject, depth: int, *, generous: bool) -> JsonObject | None:
        properties = object_of(flat.get("properties"))
        others = flat.get("additionalProperties", True)
        required = _required(flat)
        least = count_of(flat.get("minProperties"), 0)
        room = count_of(flat.get("maxProperties"), len(properties) + len(required)) - len(required)
        if not (generous and depth < _GENEROUS_DEPTH):
            room = min(room, max(0, least - len(required)))
        members: JsonObject = {}
        for name in [*properties, *(name for name in required if name not in properties)]:
            if name not in required and room <= 0:
                continue
            self._steps.take(len(name) // _BYTES_PER_STEP)
            made = self.build(properties.get(name, others), depth + 1, name)
            if name in required:
                if made is None:
                    return None
                members[name] = made.value
            elif made is not None and made.holds:
                members[name] = made.value
                room -= 1
        return members if self._fill(members, least, others, depth) else None

    def _fill(self, members: JsonObject, least: int, others: object, depth: int) -> bool:
        """Add made-up members up to the least number; False if that can't be done."""
        number = 0
        while len(members) < least:
            number += 1
            made = self.build(others, depth + 1, "")
            if made is None:
                return False
            members.setdefault(f"item_{number}", made.value)
        return True


def _required(flat: JsonObject) -> dict[str, None]:
    """The required names and what those require in turn, in order."""
    dependent = object_of(flat.get("dependentRequired"))
    required: dict[str, None] = {}
    waiting = list_of(flat.get("required"))[::-1]
    while waiting:
        name = waiting.pop()
        if isinstance(name, str) and name not in required:
            required[name] = None
            waiting.extend(list_of(dependent.get(name)))
    return required
