"""`python -m benchmarks.routing`: every strategy and the usual ways of other gateways over recorded traffic, with the
standard faults. Prints the tables of docs/routing.md. Deterministic: the same arguments, the same figures.
"""

from __future__ import annotations

import argparse
import sys
import timeit
from collections.abc import Sequence
from random import Random
from time import perf_counter
from typing import Final

from benchmarks.traces import load
from routing import Capacity, Facts, Group, Objective, Outcome, Price, Router, Target
from routing.router import StrategyName
from routing.simulate import (
    BASELINES,
    CallPolicy,
    Cloud,
    Fault,
    Informed,
    Profile,
    Request,
    Routes,
    Simulation,
    Summary,
    fault_table,
    foresee,
    hosted,
    self_hosted,
    simulate,
    span_s,
    standard,
    summarize,
    table,
)
from routing.simulate.driven import Driven
from routing.simulate.trial import mean

#: Ours: the name in the table, the strategy, and what second attempts may add to the cost.
OURS: Final[tuple[tuple[str, StrategyName, float], ...]] = (
    ("ours: balanced", "balanced", 0.0),
    ("ours: balanced, hedge 5%", "balanced", 0.05),
    ("ours: cheapest", "cheapest", 0.0),
    ("ours: reliable", "reliable", 0.0),
    ("ours: fastest", "fastest", 0.0),
)


def main(arguments: Sequence[str]) -> int:
    """Run and print; always 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routing", description=__doc__.splitlines()[0])
    parser.add_argument("--trace", choices=["conv", "code"], default="conv")
    parser.add_argument("--seeds", type=int, default=3, help="runs to average (default 3)")
    parser.add_argument("--self-hosted", action="store_true", help="the cheapest is a server that saturates")
    parser.add_argument("--no-faults", action="store_true")
    parser.add_argument("--ours-only", action="store_true")
    parser.add_argument("--requests", type=int, metavar="N", help="only the first N of the trace")
    options = parser.parse_args(arguments)
    requests = load(options.trace)[: options.requests]
    profiles = self_hosted() if options.self_hosted else hosted()
    faults = () if options.no_faults else standard(profiles, span_s(requests))
    seeds = range(1, options.seeds + 1)
    oracle = mean([foreseen(requests, profiles, faults, seed) for seed in seeds])
    rows = []
    for name, strategy, hedge_share in OURS:
        runs = []
        for seed in seeds:
            started = perf_counter()
            runs.append(run(name, ours(profiles, strategy, hedge_share), requests, profiles, faults, seed))
            print(f"{name}, seed {seed}: {perf_counter() - started:.1f} s", file=sys.stderr)
        rows.append(mean(runs))
    if not options.ours_only:
        for baseline in BASELINES:
            made = [
                run(
                    baseline.name,
                    baseline.routes([one.target for one in profiles]),
                    requests,
                    profiles,
                    faults,
                    seed,
                    baseline.policy,
                )
                for seed in seeds
            ]
            rows.append(mean(made))
    told = mean([informed(requests, profiles, faults, seed) for seed in seeds])
    print(table([*rows, told, oracle], oracle))
    print()
    print(fault_table(rows))
    print()
    print("plan(): " + ", ".join(f"{plan_us(count):.0f} µs for {count} targets" for count in (6, 100)))
    return 0


def plan_us(count: int) -> float:
    """CPU time of one plan over so many priced and limited targets, all of them known, in µs: the best of seven."""
    targets = [
        Target(f"p/{n}", "p", str(n), Price(0.1 + n / 100, 0.3 + n / 50), Capacity(rpm=100_000, tpm=10**9))
        for n in range(count)
    ]
    router, rng = Router({"chat": Group(targets, "balanced")}), Random(1)
    facts = Facts("chat", stream=True, input_tokens=1000, sticky=7)
    for target in targets:
        for at in range(10):
            router.began(target.name, facts, at)
            router.observe(Outcome(target.name, "ok", at, 1.0, 0.5, 1000, 200), at + 1.0, facts)
    return min(timeit.repeat(lambda: router.plan(facts, 40.0, rng), number=500, repeat=7)) / 500 * 1e6


def ours(profiles: Sequence[Profile], strategy: StrategyName, hedge_share: float = 0.0) -> Driven:
    """The product's router over these providers, fresh."""
    targets = [profile.target for profile in profiles]
    return Driven(Router({"chat": Group(targets, strategy, Objective(2.0, 0.95), hedge_share)}))


def run(
    name: str,
    routes: Routes,
    requests: Sequence[Request],
    profiles: Sequence[Profile],
    faults: Sequence[Fault],
    seed: int,
    policy: CallPolicy | None = None,
) -> Summary:
    """One run's figures."""
    return summarize(name, simulate(routes, requests, profiles, faults, policy or CallPolicy(), seed), faults)


def informed(requests: Sequence[Request], profiles: Sequence[Profile], faults: Sequence[Fault], seed: int) -> Summary:
    """The figures of our score where it is told how the targets are, and only luck is hidden from it."""
    cloud = Cloud(profiles, faults, seed)
    records = Simulation(Informed(cloud, profiles), cloud, CallPolicy(), seed).run(requests)
    return summarize("balanced, told all but luck", records, faults)


def foreseen(requests: Sequence[Request], profiles: Sequence[Profile], faults: Sequence[Fault], seed: int) -> Summary:
    """The oracle's figures."""
    return summarize("oracle", foresee(requests, profiles, Cloud(profiles, faults, seed)), faults)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
