"""The units of the config: `250ms`, `20MB`, `50k`, `5%`. A bare number where a unit belongs is refused: nobody can
tell what it was meant to be.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, WithJsonSchema

_NUMBER: Final = r"(\d{1,15}(?:\.\d{1,6})?)"
_DURATIONS: Final[Mapping[str, float]] = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "y": 365 * 86_400}
_SIZES: Final[Mapping[str, float]] = {"B": 1, "KB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000}
_COUNTS: Final[Mapping[str, float]] = {"": 1, "k": 1_000, "M": 1_000_000, "G": 1_000_000_000}


def _parser(what: str, units: Mapping[str, float], example: str) -> Callable[[Any], float]:
    names = "|".join(sorted((unit for unit in units if unit), key=len, reverse=True))
    pattern = re.compile(rf"{_NUMBER} ?({names}){'?' if '' in units else ''}")

    def parse(value: Any) -> float:
        if "" in units and type(value) is int and value >= 0:
            return float(value)
        found = pattern.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise ValueError(f"expected {what} such as {example}")
        return float(found.group(1)) * units[found.group(2) or ""]

    return parse


def _whole(parse: Callable[[Any], float]) -> Callable[[Any], int]:
    return lambda value: round(parse(value))


def _percent(value: Any) -> float:
    found = re.fullmatch(rf"{_NUMBER} ?%", value) if isinstance(value, str) else None
    if found is None or not 0 <= float(found.group(1)) <= 100:
        raise ValueError("expected a percentage from 0% to 100%, such as 5%")
    return float(found.group(1)) / 100


def _schema(pattern: str, example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern}$", "examples": [example]})


_duration = _parser("a duration", _DURATIONS, "250ms, 2s, 5m, 1h or 30d")
_size = _parser("a size", _SIZES, "64KB or 20MB (1 KB is 1,000 bytes)")
_count = _parser("a count", _COUNTS, "600, 50k or 50M")

#: A time span, in seconds.
Seconds = Annotated[float, BeforeValidator(_duration), _schema(rf"{_NUMBER} ?(ms|s|m|h|d|y)", "30s")]
#: A size, in bytes.
Bytes = Annotated[int, BeforeValidator(_whole(_size)), _schema(rf"{_NUMBER} ?(B|KB|MB|GB)", "20MB")]
#: A number of tokens, requests or calls.
Count = Annotated[
    int,
    BeforeValidator(_whole(_count)),
    WithJsonSchema(
        {"type": ["integer", "string"], "pattern": rf"^{_NUMBER} ?(k|M|G)?$", "minimum": 0, "examples": ["50k"]}
    ),
]
#: A share, as a fraction from 0 to 1.
Share = Annotated[float, BeforeValidator(_percent), _schema(rf"{_NUMBER} ?%", "5%")]
