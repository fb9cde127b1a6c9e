"""Routers to compare with: the usual ways to pick a target, each as plain as its original.

None of them is meant for service. `Shell` in `shell.py` gives them cool-downs and retries.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from math import exp
from random import Random
from typing import Final, Protocol

from routing.types import Facts, Outcome, Target


class Picker(Protocol):
    """One way to pick; hears of every attempt."""

    name: str

    def pick(self, targets: Sequence[Target], facts: Facts, now: float, rng: Random) -> Target | None:
        """One of the targets (at least one is given); None: all are at their limits, as far as it knows."""
        ...

    def began(self, target: str, facts: Facts, now: float) -> None:
        """An attempt is being sent."""
        ...

    def observe(self, outcome: Outcome, now: float) -> None:
        """An attempt ended."""
        ...


class _Deaf:
    """What a picker that learns nothing does with what it hears."""

    def began(self, target: str, facts: Facts, now: float) -> None:
        """Nothing."""

    def observe(self, outcome: Outcome, now: float) -> None:
        """Nothing."""


class RoundRobin(_Deaf):
    """Each in turn."""

    name = "round robin"

    def __init__(self) -> None:
        self._turn = -1

    def pick(self, targets: Sequence[Target], facts: Facts, now: float, rng: Random) -> Target:
        """The next one."""
        self._turn += 1
        return targets[self._turn % len(targets)]


class Weighted(_Deaf):
    """By chance, in proportion to the targets' weights."""

    name = "weighted"

    def pick(self, targets: Sequence[Target], facts: Facts, now: float, rng: Random) -> Target:
        """One by chance."""
        return rng.choices(targets, [target.weight for target in targets])[0]


class Uniform(_Deaf):
    """By chance, all alike."""

    name = "random"

    def pick(self, targets: Sequence[Target], facts: Facts, now: float, rng: Random) -> Target:
        """One by chance."""
        return rng.choice(targets)


class InversePriceSquared(_Deaf):
    """By chance, in proportion to 1/price²; targets that failed within 30 s only if all did. After OpenRouter's
    older, published rule.
    """

    name = "1/price²"
    _MEMORY_S: Final = 30.0

    def __init__(self) -> None:
        self._failed_at: dict[str, float] = {}

    def pick(self, targets: Sequence[Target], facts: Facts, now: float, rng: Random) -> Target:
        """One by chance."""
        sound = [one for one in targets if now - self._failed_at.get(one.name, -self._MEMORY_S) >= self._MEMORY_S]
        able = sound or targets
        return rng.choices(able, [1 / _call_price(target) ** 2 for target in able])[0]

    def observe(self, outcome: Outcome, now: float) -> None:
        """Remember failures."""
        if outcome.kind in ("failed", "timeout"):
            self._failed_at[outcome.target] = now


class LeastBusy(_Deaf):
    """The fewest attempts in flight; the first of equals."""

    name = "least busy"

    def __init__(self) -> None:
        self._in_flight: defaultdict[str, int] = defaultdict(int)

    def pick(self, targets: Sequence[Target], facts: Facts, now: float, rng: Random) -> Target:
        """The idlest."""
        return min(targets, key=lambda target: self._in_flight[target.name])

    def began(self, target: str, facts: Facts, now: float) -> None:
        """One more."""
        self._in_flight[target] += 1

    def observe(self, outcome: Outcome, now: float) -> None:
        """One less."""
        self._in_flight[outcome.target] -= 1


class LowestLatency(_Deaf):
    """The lowest mean of the last ten TTFTs; unknown counts as 0, a time-out as 1,000 s, other failures not at all.
    After LiteLLM's `lowest_latency.py` for streams, with its buffer of 0: the winner takes all.
    """

    name = "lowest latency"
    _SAMPLES: Final = 10
    _MEMORY_S: Final = 3600.0
    _TIMEOUT_S: Final = 1000.0

    def __init__(self) -> None:
        self._seen: dict[str, deque[float]] = {}
        self._until: dict[str, float] = {}

    def pick(self, targets: Sequence[Target], facts: Facts, now: float, rng: Random) -> Target:
        """The fastest; by chance among equals."""
        means = [(self._mean_s(target.name, now), rng.random(), target) for target in targets]
        return min(means, key=lambda one: one[:2])[2]

    def observe(self, outcome: Outcome, now: float) -> None:
        """Add a sample."""
        if outcome.kind == "ok" and outcome.ttft_s is not None:
            sample_s = outcome.ttft_s
        elif outcome.kind == "timeout":
            sample_s = self._TIMEOUT_S
        else:
            return
        self._seen.setdefault(outcome.target, deque(maxlen=self._SAMPLES)).append(sample_s)
        self._until[outcome.target] = now + self._MEMORY_S

    def _mean_s(self, target: str, now: float) -> float:
        seen = self._seen.get(target)
        return sum(seen) / len(seen) if seen and now < self._until[target] else 0.0


class LowestCost:
    """The lowest sum of the two unit prices, whatever the sizes; a target is skipped while its successes of this
    calendar minute have used up its rpm or tpm, so what is in flight does not count. After LiteLLM's `lowest_cost.py`.
    """

    name = "lowest cost"

    def __init__(self, *, knows_limits: bool = True) -> None:
        self._knows_limits = knows_limits
        self._minute = -1
        self._requests: defaultdict[str, int] = defaultdict(int)
        self._tokens: defaultdict[str, int] = defaultdict(int)

    def pick(self, targets: Sequence[Target], facts: Facts, now: float, rng: Random) -> Target | None:
        """The cheapest that still has room."""
        self._turn_minute(now)
        room = [target for target in targets if not self._knows_limits or self._has_room(target, facts)]
        return min(room, key=unit_price) if room else None

    def began(self, target: str, facts: Facts, now: float) -> None:
        """Nothing: that is its flaw."""

    def observe(self, outcome: Outcome, now: float) -> None:
        """Count what succeeded."""
        self._turn_minute(now)
        if outcome.kind == "ok":
            self._requests[outcome.target] += 1
            self._tokens[outcome.target] += outcome.input_tokens + outcome.output_tokens

    def _has_room(self, target: Target, facts: Facts) -> bool:
        rpm, tpm = target.capacity.rpm, target.capacity.tpm
        has_requests = rpm is None or self._requests[target.name] + 1 <= rpm
        return has_requests and (tpm is None or self._tokens[target.name] + facts.input_tokens <= tpm)

    def _turn_minute(self, now: float) -> None:
        if int(now // 60) != self._minute:
            self._minute = int(now // 60)
            self._requests.clear()
            self._tokens.clear()


class PeakEwma:
    """Two by chance, then the lower of peak-sensitive moving average x (in flight + 1). After Finagle's
    `PeakEwma.scala` and `P2CPick.scala`: a sample above the average replaces it, one below moves it by
    1 - exp(-dt/tau), and the average fades towards 0 while no sample comes.
    """

    _TAU_S: Final = 10.0
    _PENALTY_S: Final = 1e6  #: for a target that is asked and has never answered

    def __init__(self, *, on_ttft: bool) -> None:
        """`on_ttft`: average the time to first token; else the whole duration, of failures too, as for plain HTTP."""
        self.name = "P2C peak EWMA, TTFT" if on_ttft else "P2C peak EWMA, duration"
        self._on_ttft = on_ttft
        self._average_s: dict[str, float] = {}
        self._seen_at: dict[str, float] = {}
        self._in_flight: defaultdict[str, int] = defaultdict(int)

    def pick(self, targets: Sequence[Target], facts: Facts, now: float, rng: Random) -> Target:
        """The less loaded of two."""
        if len(targets) == 1:
            return targets[0]
        one, other = rng.sample(targets, 2)
        return one if self._load(one.name, now) <= self._load(other.name, now) else other

    def began(self, target: str, facts: Facts, now: float) -> None:
        """One more in flight."""
        self._in_flight[target] += 1

    def observe(self, outcome: Outcome, now: float) -> None:
        """One less in flight, and a sample; what nobody is to blame for gives none."""
        self._in_flight[outcome.target] -= 1
        sample_s = outcome.duration_s
        if self._on_ttft:
            if outcome.ttft_s is None and outcome.kind != "timeout":
                return
            sample_s = outcome.duration_s if outcome.ttft_s is None else outcome.ttft_s
        elif outcome.kind == "gone":
            return
        average_s = self._average(outcome.target, now)
        fresh = exp(-(now - self._seen_at.get(outcome.target, now)) / self._TAU_S)
        is_peak = sample_s > average_s
        self._average_s[outcome.target] = sample_s if is_peak else average_s + sample_s * (1 - fresh)
        self._seen_at[outcome.target] = now

    def _average(self, target: str, now: float) -> float:
        """The average as it has faded until now."""
        known_s = self._average_s.get(target, 0.0)
        return known_s * exp(-(now - self._seen_at[target]) / self._TAU_S) if known_s else 0.0

    def _load(self, target: str, now: float) -> float:
        in_flight = self._in_flight[target]
        average_s = self._average(target, now)
        if average_s == 0 and in_flight:
            return self._PENALTY_S + in_flight
        return average_s * (in_flight + 1)


def _call_price(target: Target) -> float:
    """Of a call with 1,000 tokens in and 200 out."""
    return 10.0 if target.price is None else target.price.input + 0.2 * target.price.output


def unit_price(target: Target) -> float:
    """Input and output price of a million tokens, added up; 10 where no price is known, as LiteLLM assumes."""
    return 10.0 if target.price is None else target.price.input + target.price.output
