"""What the strategies of the product are for, in figures. Deterministic: the bounds are tight."""

import pytest

from benchmarks.routing import foreseen, ours, run
from benchmarks.traces import load
from routing import Group, Objective, Price
from routing.router import StrategyName
from routing.simulate import CallPolicy, Summary, hosted, simulate, span_s, standard
from routing.simulate.trial import Scene, Trial, try_group
from tests.simulations import always, exact

pytestmark = pytest.mark.timeout(240)  # whole traces, under coverage, on a machine that may be busy
PROFILES = hosted()
REQUESTS = load("conv")
FAULTS = standard(PROFILES, span_s(REQUESTS))


def summary(strategy: StrategyName, hedge_share: float = 0.0) -> Summary:
    return run(strategy, ours(PROFILES, strategy, hedge_share), REQUESTS, PROFILES, FAULTS, seed=1)


@pytest.fixture(scope="module")
def balanced() -> Summary:
    return summary("balanced")


@pytest.fixture(scope="module")
def cheapest() -> Summary:
    return summary("cheapest")


def test_balanced_keeps_its_objective_through_an_hour_of_faults(balanced: Summary) -> None:
    assert balanced.success_pct >= 99.95
    assert balanced.objective_pct >= 96
    assert balanced.worst_objective_pct >= 85
    assert balanced.ttft_p99_s <= 3.1
    assert balanced.waste_pct <= 2.5


def test_no_strategy_pays_for_what_it_does_not_promise(balanced: Summary, cheapest: Summary) -> None:
    oracle, fastest = foreseen(REQUESTS, PROFILES, FAULTS, 1), summary("fastest")
    assert oracle.cost_usd < cheapest.cost_usd < balanced.cost_usd < fastest.cost_usd
    assert cheapest.cost_usd < 1.05 * oracle.cost_usd
    assert balanced.cost_usd < 1.17 * oracle.cost_usd  # 1.11 over three seeds
    assert cheapest.objective_pct < balanced.objective_pct < fastest.objective_pct


def test_balanced_keeps_to_its_price_on_the_code_trace_too() -> None:
    requests = load("code")
    faults = standard(PROFILES, span_s(requests))
    balanced = run("balanced", ours(PROFILES, "balanced"), requests, PROFILES, faults, seed=1)
    assert balanced.success_pct >= 99.85
    assert balanced.objective_pct >= 94.5
    assert balanced.cost_usd < 1.17 * foreseen(requests, PROFILES, faults, 1).cost_usd


def test_reliable_loses_fewer_calls_to_cut_streams_than_cheapest_would_at_any_price(cheapest: Summary) -> None:
    reliable = summary("reliable")
    assert reliable.success_pct >= 99.95
    assert reliable.worst_success_pct >= 97
    assert reliable.objective_pct > cheapest.objective_pct + 3


def test_nothing_is_left_in_flight_and_two_runs_are_the_same() -> None:
    requests = REQUESTS[:2000]
    first, second = ours(PROFILES, "balanced", 0.05), ours(PROFILES, "balanced", 0.05)
    records = [simulate(one, requests, PROFILES, FAULTS, CallPolicy(), 3) for one in (first, second)]
    assert records[0] == records[1]
    assert {first.router.fleet[name].in_flight for name in first.router.fleet} == {0}
    assert sum(record.hedges for record in records[0]) > 0


def test_second_attempts_stay_within_their_share() -> None:
    hedged = run("hedged", ours(PROFILES, "balanced", 0.05), REQUESTS[:4000], PROFILES, FAULTS, seed=1)
    assert 0 < hedged.hedges < 0.06 * hedged.calls
    assert hedged.success_pct >= 99.9


#: A cheap target of whose answers 3 % fail, and a sound one that costs five times as much.
FLAKY, SOUND = exact("flaky", price=Price(0.1, 0.3)), exact("sound", price=Price(0.5, 1.5))


def promised(success: float | None, kind: str, max_attempts: int, strategy: StrategyName = "balanced") -> Trial:
    """How 6,000 calls fare, or the second half of them: by then what is to be learned is learned."""
    group = Group([FLAKY.target, SOUND.target], strategy, Objective(2.0, 0.95, success))
    scene = Scene(REQUESTS[:6000])
    policy = CallPolicy(max_attempts=max_attempts)
    return try_group("chat", group, [FLAKY, SOUND], scene, policy, [always(kind, "flaky", 0.03)])


@pytest.mark.parametrize("strategy", ["balanced", "cheapest"])
@pytest.mark.parametrize(("kind", "max_attempts"), [("cut", 4), ("error", 1)])
def test_a_promise_of_success_is_kept_where_retries_do_not_keep_it(
    kind: str, max_attempts: int, strategy: StrategyName
) -> None:
    without, kept = (promised(success, kind, max_attempts, strategy) for success in (None, 0.999))
    assert without.summary.success_pct < 99
    assert kept.summary.success_pct > 99.5  # what it took to learn included
    assert 2 * kept.shares_pct["flaky"] < without.shares_pct["flaky"]


def test_a_promise_of_success_costs_next_to_nothing_where_retries_keep_it() -> None:
    without, kept = (promised(success, "error", 4) for success in (None, 0.999))
    assert (without.summary.success_pct, kept.summary.success_pct) == (100, 100)
    assert kept.summary.cost_usd < 1.1 * without.summary.cost_usd
