"""Targets and fleets for the routing tests, and a hand that plays outcomes on them."""

from __future__ import annotations

from random import Random

from routing import Facts, Fleet, Kind, Outcome, Price, Router, Target

CHEAP, MIDDLE, DEAR = Price(0.1, 0.3), Price(0.3, 0.6), Price(1.0, 1.2)


def a_target(name: str, price: Price | None = None, **more: object) -> Target:
    return Target(f"p/{name}", "p", name, price=price, **more)  # type: ignore[arg-type]


def joined(*targets: Target) -> Fleet:
    fleet = Fleet()
    fleet.join(targets)
    return fleet


def names(candidates: object) -> list[str]:
    """The models of a plan's candidates, in order."""
    return [candidate.target.model for candidate in candidates]  # type: ignore[attr-defined]


class Play:
    """Sends attempts through a router and ends them at once."""

    def __init__(self, router: Router, model: str = "chat") -> None:
        self.router = router
        self.model = model
        self.rng = Random(7)

    def facts(self, **more: object) -> Facts:
        return Facts(self.model, stream=True, input_tokens=1000, **more)  # type: ignore[arg-type]

    def outcome(self, name: str, kind: Kind, now: float, ttft_s: float | None = None, **more: object) -> None:
        facts = self.facts()
        self.router.began(f"p/{name}", facts, now)
        duration_s = (ttft_s or 0.1) + 1.0
        outcome = Outcome(f"p/{name}", kind, now, duration_s, ttft_s, 1000, 200, **more)  # type: ignore[arg-type]
        self.router.observe(outcome, now + duration_s, facts)

    def teach(self, name: str, ttft_s: float, count: int = 30, at: float = 0.0) -> None:
        """That many good answers, one a second."""
        for number in range(count):
            self.outcome(name, "ok", at + number, ttft_s * self.rng.uniform(0.8, 1.25))

    def first(self, now: float, **more: object) -> str:
        return self.router.plan(self.facts(**more), now, self.rng).candidates[0].target.model
