"""The product's own Router, as the simulator drives it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from random import Random

from routing.router import Router
from routing.types import Candidate, Facts, Outcome, Plan


class Driven:
    """A Router whose attempts are told apart by target and time, as the simulator tells them."""

    def __init__(self, router: Router) -> None:
        self.router = router
        self._running: defaultdict[tuple[str, float], list[tuple[Facts, int]]] = defaultdict(list)

    def plan(self, facts: Facts, now: float, rng: Random) -> Plan:
        """See `Routes.plan`."""
        return self.router.plan(facts, now, rng)

    def patience_s(self, target: str, facts: Facts, now: float) -> float:
        """See `Routes.patience_s`."""
        return self.router.patience_s(target, facts, now)

    def began(self, target: str, facts: Facts, now: float) -> None:
        """See `Routes.began`."""
        self._running[target, now].append((facts, self.router.began(target, facts, now)))

    def first_token(self, target: str, sent_at: float, now: float) -> None:
        """See `Routes.first_token`."""
        self.router.first_token(target, self._running[target, sent_at][-1][0], sent_at, now)

    def observe(self, outcome: Outcome, now: float) -> None:
        """See `Routes.observe`."""
        key = outcome.target, outcome.started_at
        running = self._running[key]
        facts, tokens = running.pop()
        if not running:
            del self._running[key]
        self.router.observe(replace(outcome, reserved_tokens=tokens), now, facts)

    def gave_up(self, facts: Facts, now: float) -> None:
        """See `Routes.gave_up`."""
        self.router.gave_up(facts.model)

    def may_retry(self, facts: Facts, now: float) -> bool:
        """See `Routes.may_retry`."""
        return self.router.may_retry(facts, now)

    def hedge(
        self, facts: Facts, first: Candidate, sent_at: float, now: float, rng: Random
    ) -> tuple[Candidate | None, float | None]:
        """See `Routes.hedge`."""
        return self.router.hedge(facts, first, sent_at, now, rng)
