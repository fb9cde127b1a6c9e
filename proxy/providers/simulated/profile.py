"""How fast and how reliable a simulated provider is."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from types import MappingProxyType
from typing import Final


class Fault(Enum):
    """What goes wrong with one request."""

    ERROR = "error"  #: an error status instead of an answer
    CUT = "cut"  #: the connection dies in the middle of the answer
    HANG = "hang"  #: no answer ever


@dataclass(frozen=True, slots=True)
class DemoProfile:
    """One kind of simulated provider. Rates are shares of all requests, 0 to 1. Should they add up to more
    than 1, hangs come first, then cuts, and errors are what is left.
    """

    name: str
    first_token_s: float  #: median; drawn log-normal, as measured first-token times are
    per_token_s: float  #: median; drawn log-normal
    spread: float = 0.25  #: sigma of the first token's logarithm; 0 makes it constant
    per_token_spread: float = 0.2  #: likewise for each further token
    error_rate: float = 0.0
    cut_rate: float = 0.0
    hang_rate: float = 0.0

    def __post_init__(self) -> None:
        """Raises ValueError for a negative figure."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "name" and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{field.name} of a simulated provider must be 0 or more, not {value}")

    def draw_first_token_s(self, rng: random.Random) -> float:
        """Seconds from the request to the first token."""
        return _log_normal(self.first_token_s, self.spread, rng)

    def draw_token_s(self, rng: random.Random) -> float:
        """Seconds from one token to the next."""
        return _log_normal(self.per_token_s, self.per_token_spread, rng)

    def draw_fault(self, rng: random.Random) -> Fault | None:
        """What goes wrong with the next request; None if nothing does."""
        drawn = rng.random()
        for fault, rate in ((Fault.HANG, self.hang_rate), (Fault.CUT, self.cut_rate), (Fault.ERROR, self.error_rate)):
            if drawn < rate:
                return fault
            drawn -= rate
        return None


def _log_normal(median: float, sigma: float, rng: random.Random) -> float:
    return rng.lognormvariate(math.log(median), sigma) if median > 0 else 0.0


#: The trio of the embedded default: fast and dear, slow and cheap, and one that fails a fifth of its requests.
PROFILES: Final[Mapping[str, DemoProfile]] = MappingProxyType(
    {
        "fast": DemoProfile("fast", 0.150, 0.005),
        "cheap": DemoProfile("cheap", 0.600, 0.015, spread=0.35),
        "flaky": DemoProfile("flaky", 0.250, 0.008, spread=0.5, error_rate=0.15, cut_rate=0.05),
    }
)


def profile_named(
    name: str,
    *,
    first_token_s: float | None = None,
    per_token_s: float | None = None,
    error_rate: float | None = None,
    cut_rate: float | None = None,
    hang_rate: float | None = None,
) -> DemoProfile:
    """The preset of that name, some figures replaced. Raises ValueError for an unknown name or a bad figure."""
    preset = PROFILES.get(name)
    if preset is None:
        raise ValueError(f"no simulated provider is called '{name}'; there are {', '.join(PROFILES)}")
    return DemoProfile(
        name=name,
        first_token_s=preset.first_token_s if first_token_s is None else first_token_s,
        per_token_s=preset.per_token_s if per_token_s is None else per_token_s,
        spread=preset.spread,
        per_token_spread=preset.per_token_spread,
        error_rate=preset.error_rate if error_rate is None else error_rate,
        cut_rate=preset.cut_rate if cut_rate is None else cut_rate,
        hang_rate=preset.hang_rate if hang_rate is None else hang_rate,
    )
