"""The units of the config: `250ms`, `20MB`, `50k`, `5%`. A bare number where a unit belongs is refused: nobody can
tell what it was meant to be. Plain numbers and flags are here too: they may come from the environment, as text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

_NUMBER: Final = r"([0-9]{1,15}(?:\.[0-9]{1,6})?)"
_DURATIONS: Final[Mapping[str, Decimal]] = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3_600),
    "d": Decimal(86_400),
    "y": Decimal(365 * 86_400),
}
_SIZES: Final[Mapping[str, Decimal]] = {
    "B": Decimal(1),
    "KB": Decimal(10**3),
    "MB": Decimal(10**6),
    "GB": Decimal(10**9),
}
_COUNTS: Final[Mapping[str, Decimal]] = {"": Decimal(1), "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9)}
_MAX_COUNT: Final = 10**15
_PLAIN_NUMBER: Final = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")


def _parser(what: str, units: Mapping[str, Decimal]) -> Callable[[Any], Decimal]:
    pattern = re.compile(rf"{_NUMBER} ?({'|'.join(units)})")

    def parse(value: Any) -> Decimal:
        found = pattern.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise ValueError(f"expected {what}{_no_unit(value)}")
        return Decimal(found.group(1)) * units[found.group(2)]

    return parse


def _no_unit(value: Any) -> str:
    is_number = type(value) in (int, float) or (isinstance(value, str) and _PLAIN_NUMBER.fullmatch(value))
    return "; a number alone has no unit" if is_number else ""


_duration = _parser("a duration such as 250ms, 2s, 5m, 1h or 30d", _DURATIONS)
_size = _parser("a size such as 64KB or 20MB (1 KB is 1,000 bytes)", _SIZES)
_amount = _parser("a duration or a size", {**_DURATIONS, **_SIZES})


def between(least: str, most: str) -> AfterValidator:
    """Bounds of a duration or a size, both included, as the file would write them."""
    low, high = float(_amount(least)), float(_amount(most))

    def check(value: float) -> float:
        if not low <= value <= high:
            raise ValueError(f"expected {least} to {most}")
        return value

    return AfterValidator(check)


def _seconds(value: Any) -> float:
    return float(_duration(value))


def seconds_of(value: object) -> float | None:
    """A time span of the file in seconds; None if it is none."""
    try:
        return _seconds(value)
    except ValueError:
        return None


def _bytes(value: Any) -> int:
    return round(_size(value))


def _count(value: Any) -> int:
    found = re.fullmatch(rf"{_NUMBER} ?([kMG]?)", str(value)) if type(value) in (int, str) else None
    count = Decimal(found.group(1)) * _COUNTS[found.group(2)] if found else None
    if count is None or count != int(count) or count > _MAX_COUNT:
        raise ValueError("expected a count such as 600, 50k or 50M")
    return int(count)


def count_of(value: object) -> int | None:
    """A count of the file; None if it is none."""
    try:
        return _count(value)
    except ValueError:
        return None


def _count_or_auto(value: Any) -> int | str:
    if value == "auto":
        return "auto"
    try:
        count = _count(value)
    except ValueError:
        count = 0
    if count < 1:
        raise ValueError("expected auto, or a count such as 8")
    return count


def _percent(value: Any) -> float:
    found = re.fullmatch(rf"{_NUMBER} ?%", value) if isinstance(value, str) else None
    if found is None or Decimal(found.group(1)) > 100:
        raise ValueError(f"expected a percentage from 0% to 100%, such as 5%{_no_unit(value)}")
    return float(Decimal(found.group(1)) / 100)


def _whole(value: Any) -> int:
    found = re.fullmatch(r"-?[0-9]{1,15}", str(value)) if type(value) in (int, str) else None
    if found is None:
        raise ValueError("expected a whole number")
    return int(found.group())


def _number(value: Any) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if type(value) not in (int, float) and not (isinstance(value, str) and _PLAIN_NUMBER.fullmatch(value)):
        raise ValueError("expected a number such as 3 or 0.25")
    number = Decimal(str(value))  # str: 0.1 is meant as one tenth, which no float is
    if not number.is_finite():
        raise ValueError("expected a number such as 3 or 0.25")
    return number.normalize()


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value not in ("true", "false"):
        raise ValueError("expected true or false")
    return bool(value == "true")


def _schema(pattern: str, example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern}$", "examples": [example]})


_COUNT_SCHEMA: Final = {"type": ["integer", "string"], "minimum": 0}
_COUNT_PATTERN: Final = rf"^{_NUMBER} ?(k|M|G)?$"

#: A time span, in seconds.
Seconds = Annotated[float, BeforeValidator(_seconds), _schema(rf"{_NUMBER} ?(ms|s|m|h|d|y)", "30s")]
#: A size, in bytes.
Bytes = Annotated[int, BeforeValidator(_bytes), _schema(rf"{_NUMBER} ?(B|KB|MB|GB)", "20MB")]
#: A number of tokens, requests or calls.
Count = Annotated[
    int,
    BeforeValidator(_count),
    WithJsonSchema({**_COUNT_SCHEMA, "pattern": _COUNT_PATTERN, "examples": ["50k"]}),
]
#: As many as are written, at least one; or as many as turn out to be best.
CountOrAuto = Annotated[
    int | str,
    BeforeValidator(_count_or_auto),
    WithJsonSchema({**_COUNT_SCHEMA, "pattern": rf"{_COUNT_PATTERN}|^auto$", "examples": ["auto", 8]}),
]
#: A share, as a fraction from 0 to 1.
Share = Annotated[float, BeforeValidator(_percent), _schema(rf"{_NUMBER} ?%", "5%")]
#: A whole number, and numbers: exact where they stand for money.
Whole = Annotated[int, BeforeValidator(_whole)]
Number = Annotated[float, BeforeValidator(_number)]
Exact = Annotated[Decimal, BeforeValidator(_number), WithJsonSchema({"type": "number", "minimum": 0})]
#: Yes or no. YAML's own other words for it (`yes`, `off`) are refused.
Flag = Annotated[bool, BeforeValidator(_flag)]
