"""What goes wrong at the simulated providers, when, and the standard set of eight.

A fault is decided when an attempt is sent: attempts already under way go on undisturbed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from routing.simulate.profiles import Profile

#: `error`: an attempt fails with probability `rate`; `slow`: TTFT x `factor`; `drift`: TTFT x a factor that grows
#: evenly from 1 to `factor`; `hang`: no answer ever comes; `storm`: 429 in a share `rate` of the seconds, the same for
#: all its victims, with headers that lie or are missing; `cut`: a stream breaks after content with probability `rate`.
FaultKind = Literal["error", "slow", "drift", "hang", "storm", "cut"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with some targets for a while."""

    name: str
    kind: FaultKind
    targets: frozenset[str]
    starts_at: float
    duration_s: float
    rate: float = 1.0  #: 0..1
    factor: float = 1.0  #: of the time to first token, ≥ 1
    fails_in_s: tuple[float, float] = (0.03, 0.03)  #: an error comes after a time evenly drawn from this range

    @property
    def ends_at(self) -> float:
        """The first moment at which all is well again."""
        return self.starts_at + self.duration_s

    def is_on(self, at: float) -> bool:
        """Whether an attempt sent now meets it."""
        return self.starts_at <= at < self.ends_at

    def slowdown(self, at: float) -> float:
        """What the time to first token is multiplied by while the fault is on."""
        if self.kind == "slow":
            return self.factor
        if self.kind == "drift":
            return 1 + (self.factor - 1) * (at - self.starts_at) / self.duration_s
        return 1.0


@dataclass(frozen=True, slots=True)
class _Plot:
    """A fault that has no time and no victims yet."""

    name: str
    kind: FaultKind
    duration_s: float
    rate: float = 1.0
    factor: float = 1.0
    fails_in_s: tuple[float, float] = (0.03, 0.03)


_PLOTS: Final = (
    _Plot("outage", "error", 180),
    _Plot("gray", "error", 300, rate=0.1, fails_in_s=(0.1, 0.6)),
    _Plot("brown-out", "slow", 300, factor=5.0),
    _Plot("hang", "hang", 150),
    _Plot("storm", "storm", 250, rate=0.5),
    _Plot("drift", "drift", 700, factor=5.0),
    _Plot("fast-fail", "error", 100, fails_in_s=(0.02, 0.06)),
    _Plot("cuts", "cut", 150, rate=0.15),
)
#: The share of the trace in which something is wrong, if the trace is an hour or shorter.
_BUSY: Final = 0.61


def standard(profiles: Sequence[Profile], span_s: float) -> tuple[Fault, ...]:
    """The eight standard faults, one after the other with even gaps, over a trace of `span_s` seconds.

    The durations are those above if they fill no more than 61 % of the trace; in a shorter one all shrink alike.
    Victims are found by price and speed, so any set of six or so profiles will do; at least two are needed.
    """
    if len(profiles) < 2 or span_s <= 0:
        raise ValueError("the standard faults need two profiles and a trace of some length")
    victims = _victims(profiles)
    total_s = sum(plot.duration_s for plot in _PLOTS)
    shrink = min(1.0, span_s * _BUSY / total_s)
    gap_s = (span_s - total_s * shrink) / (len(_PLOTS) + 1)
    faults, at = [], gap_s
    for plot in _PLOTS:
        duration_s = plot.duration_s * shrink
        faults.append(
            Fault(plot.name, plot.kind, victims[plot.name], at, duration_s, plot.rate, plot.factor, plot.fails_in_s)
        )
        at += duration_s + gap_s
    return tuple(faults)


def _victims(profiles: Sequence[Profile]) -> dict[str, frozenset[str]]:
    """Which targets each fault strikes: mostly the cheap ones, which a thrifty router leans on."""
    by_price = [profile.name for profile in sorted(profiles, key=lambda one: one.cost_usd(1000, 200))]
    by_speed = [profile.name for profile in sorted(profiles, key=lambda one: one.typical_ttft_s(1000))]
    third = by_price[min(2, len(by_price) - 1)]
    return {
        "outage": frozenset(by_price[:2]),
        "gray": frozenset(by_price[:1]),
        "brown-out": frozenset(by_price[1:3]),
        "hang": frozenset(by_speed[:1]),
        "storm": frozenset((*by_price[:3], by_speed[0])),
        "drift": frozenset((third,)),
        "fast-fail": frozenset(by_speed[min(2, len(by_speed) - 1) :][:1]),
        "cuts": frozenset((third,)),
    }
