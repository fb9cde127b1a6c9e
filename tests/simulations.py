"""Parts for tests of the simulator: providers without luck, and a router that does as it was told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import inf
from random import Random

from routing.simulate import CallPolicy, CallRecord, Fault, Profile, Request, simulate
from routing.types import Candidate, Capacity, Facts, Outcome, Plan, Price, Target


def exact(
    name: str,
    ttft_s: float = 0.5,
    tokens_per_s: float = 10.0,
    price: Price | None = None,
    rpm: int | None = None,
    tpm: int | None = None,
) -> Profile:
    """A provider that always takes exactly `ttft_s`, whatever the prompt, and streams evenly."""
    target = Target(name, name, "m", price or Price(1.0, 2.0), Capacity(rpm=rpm, tpm=tpm))
    return Profile(target, ttft_s, 0.0, tokens_per_s, ttft_sigma=0.0, speed_sigma=0.0)


def always(kind: str, target: str, rate: float = 1.0, factor: float = 1.0) -> Fault:
    """A fault that is on all the time."""
    return Fault(kind, kind, frozenset({target}), 0.0, 1e6, rate, factor)  # type: ignore[arg-type]


class ScriptedRoutes:
    """Asks the targets in the order of the script, one for each attempt of a call; remembers all that it hears."""

    def __init__(
        self,
        profiles: Sequence[Profile],
        script: Sequence[str],
        *,
        hedge: tuple[float, str] | None = None,
        retries: int = 100,
    ) -> None:
        """`hedge`: at which age of the first attempt to race which target; `retries`: so many are allowed in all."""
        self._targets = {profile.name: profile.target for profile in profiles}
        self._script = script
        self._hedge = hedge
        self.retries = retries
        self.planned: list[tuple[float, tuple[str, ...]]] = []
        self.hedge_asked_at: list[float] = []
        self.patience: dict[str, float] = {}  # by target; what it may be kept waiting for
        self.first_tokens: list[tuple[str, float, float]] = []
        self.outcomes: list[tuple[float, Outcome]] = []
        self.in_flight: Counter[str] = Counter()
        self.facts: list[Facts] = []
        self.given_up: list[float] = []

    def plan(self, facts: Facts, now: float, rng: Random) -> Plan:
        self.planned.append((now, facts.tried))
        turn = len(facts.tried)
        names = [name for name in self._script[turn:] if name in self._targets]
        return Plan("scripted", tuple(Candidate(self._targets[name], "told so") for name in names))

    def patience_s(self, target: str, facts: Facts, now: float) -> float:
        return self.patience.get(target, inf)

    def began(self, target: str, facts: Facts, now: float) -> None:
        self.in_flight[target] += 1
        self.facts.append(facts)

    def first_token(self, target: str, sent_at: float, now: float) -> None:
        self.first_tokens.append((target, sent_at, now))

    def observe(self, outcome: Outcome, now: float) -> None:
        self.in_flight[outcome.target] -= 1
        self.outcomes.append((now, outcome))

    def gave_up(self, facts: Facts, now: float) -> None:
        self.given_up.append(now)

    def may_retry(self, facts: Facts, now: float) -> bool:
        self.retries -= 1
        return self.retries >= 0

    def hedge(
        self, facts: Facts, first: Candidate, sent_at: float, now: float, rng: Random
    ) -> tuple[Candidate | None, float | None]:
        self.hedge_asked_at.append(now)
        if self._hedge is None or len(facts.tried) > 1:
            return None, None
        age_s, name = self._hedge
        if now - sent_at < age_s:
            return None, age_s - (now - sent_at)
        return Candidate(self._targets[name], "raced"), None

    @property
    def kinds(self) -> list[tuple[str, str]]:
        """Target and kind of each outcome, in order."""
        return [(outcome.target, outcome.kind) for _, outcome in self.outcomes]


def one_call(
    routes: ScriptedRoutes,
    profiles: Sequence[Profile],
    faults: Sequence[Fault] = (),
    policy: CallPolicy | None = None,
    request: Request | None = None,
) -> CallRecord:
    """What becomes of a single call, by default of 1,000 tokens that asks for 20."""
    (record,) = simulate(routes, [request or Request(0, 0.0, 1000, 20)], profiles, faults, policy)
    return record
