"""Numbers and strings that keep the bounds of a plain JSON schema."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from proxy.providers.simulated.pattern import sample
from proxy.providers.simulated.steps import Steps
from proxy.providers.simulated.validity import in_bounds
from proxy.providers.simulated.values import JsonObject, count_of, number_of

_WORDS: Final = (
    *("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "harbour", "island", "juniper", "kite"),
    *("meadow", "north", "orchard", "pebble", "quarry", "river", "summit", "timber", "umber", "valley", "willow"),
)
#: What a property of this name would hold; it makes a demonstration readable.
_BY_NAME: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "city": ("Lisbon", "Oslo", "Kyoto"),
        "location": ("Lisbon", "Oslo", "Kyoto"),
        "country": ("Portugal", "Norway", "Japan"),
        "name": ("Ada", "Grace", "Linus"),
        "email": ("ada@example.com",),
        "language": ("English", "Portuguese"),
        "currency": ("EUR", "USD", "JPY"),
        "title": ("A simulated title",),
        "summary": ("A simulated summary.",),
        "description": ("A simulated description.",),
        "answer": ("A simulated answer.",),
        "query": ("simulated query",),
    }
)
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
_CHARS_PER_STEP: Final = 16
_NUMBER_TRIES: Final = 32
_LARGEST_INTEGER: Final = 2**63 - 1  # what JSON writers commonly take; beyond it a float has to do


def draw_number(flat: JsonObject, *, whole: bool, rng: random.Random) -> float | int | None:
    """A number in the bounds of `flat`; None if none was found."""
    low, high, step = _range(flat)
    for attempt in range(_NUMBER_TRIES):
        number: float | int
        if step is not None:
            number = _multiple(low, high, step, rng)
        elif whole:
            number = rng.randint(math.ceil(low), math.floor(high)) if math.ceil(low) <= math.floor(high) else low
        else:
            drawn = rng.uniform(low, high)
            number = round(drawn, 2) if attempt < _NUMBER_TRIES // 2 else drawn
        if not -_LARGEST_INTEGER <= number <= _LARGEST_INTEGER:
            number = float(number)
        if in_bounds(number, flat) and (not whole or float(number).is_integer()):
            return int(number) if whole and abs(number) <= _LARGEST_INTEGER else number
    for number in (low, high, (low + high) / 2):
        if in_bounds(number, flat) and not whole:
            return number
    return None


def _multiple(low: float | int, high: float | int, step: float | int, rng: random.Random) -> float | int:
    """A multiple of the step between the two; the lower of them if there is none."""
    first, last = low / step, high / step
    if not (abs(first) < _LARGEST_INTEGER and abs(last) < _LARGEST_INTEGER and math.ceil(first) <= math.floor(last)):
        return low
    return rng.randint(math.ceil(first), math.floor(last)) * step


def _range(flat: JsonObject) -> tuple[float | int, float | int, float | int | None]:
    """The lowest, the highest, and the step between (None: any); an open end is closed a hundred or some steps away."""
    lows = [number for key in ("minimum", "exclusiveMinimum") if (number := number_of(flat.get(key))) is not None]
    highs = [number for key in ("maximum", "exclusiveMaximum") if (number := number_of(flat.get(key))) is not None]
    step = number_of(flat.get("multipleOf"))
    if step is not None and step <= 0:
        step = None
    room = max(100, 10 * step) if step is not None else 100
    low = max(lows) if lows else min(highs) - room if highs else 1
    return low, min(highs) if highs else low + room, step


def draw_text(flat: JsonObject, name: str, rng: random.Random, steps: Steps) -> str:
    """A string of the asked-for pattern, format and length, else some words that suit the property's name."""
    least = count_of(flat.get("minLength"), 0)
    most = count_of(flat.get("maxLength"), -1)
    steps.take(least // _CHARS_PER_STEP)
    pattern = flat.get("pattern")
    if isinstance(pattern, str):
        text = sample(pattern, least, most if most >= 0 else None, rng, steps)
        if text is not None:
            return text
    formatted = _formatted(flat.get("format"), rng)
    if formatted is not None:
        return formatted
    choices = _BY_NAME.get(name.lower())
    text = rng.choice(choices) if choices else " ".join(rng.sample(_WORDS, rng.choice((1, 2))))
    if 0 <= most < len(text):
        text = "".join(rng.choices(_LETTERS, k=most))
    return text + "".join(rng.choices(_LETTERS, k=least - len(text)))


def _formatted(name: object, rng: random.Random) -> str | None:
    """A string of that format; None if it is unknown."""
    if not isinstance(name, str):
        return None
    day = f"{rng.randint(2020, 2029)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
    hour = f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:{rng.randint(0, 59):02}Z"
    word, digits = rng.choice(_WORDS), f"{rng.getrandbits(128):032x}"
    # Version 4 and the RFC 9562 variant have their own two digits.
    uuid = f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
    address = f"192.0.2.{rng.randint(1, 254)}"
    return {
        "date-time": f"{day}T{hour}",
        "date": day,
        "time": hour,
        "duration": f"PT{rng.randint(1, 59)}M",
        "email": f"{word}@example.com",
        "idn-email": f"{word}@example.com",
        "hostname": f"{word}.example.com",
        "uri": f"https://example.com/{word}",
        "url": f"https://example.com/{word}",
        "uri-reference": f"/{word}",
        "ipv4": address,
        "ipv6": f"2001:db8::{rng.randint(1, 9999)}",
        "uuid": uuid,
        "json-pointer": f"/{word}",
        "regex": "^[a-z]+$",
    }.get(name)
