"""Reading foreign JSON without trusting its shape."""

from __future__ import annotations

from typing import Final

import orjson

from proxy.providers.simulated.steps import TooComplexError

JsonObject = dict[str, object]
_ENTRIES_PER_STEP: Final = 8


def object_of(value: object) -> JsonObject:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def list_of(value: object) -> list[object]:
    """The value if it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else []


def number_of(value: object) -> float | int | None:
    """The value if it is a JSON number; true and false are none."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def count_of(value: object, default: int) -> int:
    """The value as a whole number of at least 0, as minItems and its like hold; else the default."""
    number = number_of(value)
    return int(number) if number is not None and number >= 0 else default


def weight_of(schema: JsonObject) -> int:
    """Steps that one look at a schema costs: at least one, more for long lists of keywords, branches or members."""
    entries = sum(len(value) for value in schema.values() if isinstance(value, dict | list))
    return 1 + (len(schema) + entries) // _ENTRIES_PER_STEP


def canonical(value: object) -> bytes:
    """Equal values give equal bytes, whatever the order of their keys; true and 1 differ.

    Raises TooComplexError beyond 254 levels, where the writer gives up.
    """
    return _written(value, orjson.OPT_SORT_KEYS)


def compact(value: object) -> str:
    """The value as JSON text. Raises TooComplexError beyond 254 levels."""
    return _written(value, None).decode()


def _written(value: object, option: int | None) -> bytes:
    try:
        return orjson.dumps(value, option=option)
    except orjson.JSONEncodeError as error:
        raise TooComplexError("it is nested too deeply for a simulated provider") from error
