import pytest

from routing import Group
from routing.simulate import CallPolicy, Fault, Request, Summary
from routing.simulate.report import Phase
from routing.simulate.trial import Change, Scene, Tolerance, compare, mean, objections, try_group, try_oracle
from routing.types import Price
from tests.simulations import always, exact

CHEAP, DEAR = exact("cheap", 0.5, price=Price(1.0, 1.0)), exact("dear", 0.2, price=Price(5.0, 5.0))
PROFILES = [CHEAP, DEAR]
REQUESTS = [Request(index, index * 0.5, 1000, 20) for index in range(120)]
OUTAGE = Fault("outage", "error", frozenset({"cheap"}), 20.0, 20.0)
GROUP = Group([CHEAP.target, DEAR.target], "cheapest")


def a_summary(
    success_pct: float = 99.0,
    objective_pct: float = 95.0,
    cost_usd: float = 2.0,
    phase: Phase | None = None,
) -> Summary:
    return Summary(
        name="m",
        calls=10,
        success_pct=success_pct,
        objective_pct=objective_pct,
        ttft_p50_s=0.5,
        ttft_p95_s=1.0,
        ttft_p99_s=2.0,
        cost_usd=cost_usd,
        waste_pct=0.0,
        worst_success_pct=90.0,
        worst_objective_pct=90.0,
        rate_limited=3,
        hedges=0,
        attempts=11,
        phases=(phase or Phase("x", 5, success_pct, 80.0, 1.0),),
    )


def test_a_router_is_tried_and_its_calls_are_shared_out() -> None:
    trial = try_group("chat", GROUP, PROFILES, Scene(REQUESTS), CallPolicy())
    assert (trial.summary.calls, trial.summary.success_pct, trial.summary.phases) == (120, 100, ())
    assert sum(trial.shares_pct.values()) == pytest.approx(100)
    assert trial.shares_pct["cheap"] > 90


def test_each_fault_is_a_phase_and_what_always_fails_is_none() -> None:
    scene = Scene(REQUESTS, (OUTAGE,))
    trial = try_group("chat", GROUP, PROFILES, scene, CallPolicy(), [always("error", "dear")])
    (phase,) = trial.summary.phases
    assert (phase.name, phase.calls) == ("outage", 40)
    assert phase.success_pct == 0  # the cheap one is out for a while, the dear one always
    assert trial.shares_pct.keys() == {"cheap"}


def test_the_oracle_meets_the_same_faults() -> None:
    oracle = try_oracle(PROFILES, Scene(REQUESTS, (OUTAGE,)), CallPolicy())
    assert oracle.summary.success_pct == 100
    assert oracle.shares_pct["dear"] == pytest.approx(100 * 40 / 120)


def test_the_same_scene_gives_the_same_figures_and_another_seed_others() -> None:
    scene = Scene(REQUESTS, (Fault("gray", "error", frozenset({"cheap"}), 0.0, 60.0, 0.3),))
    once = try_group("chat", GROUP, PROFILES, scene, CallPolicy())
    assert once == try_group("chat", GROUP, PROFILES, scene, CallPolicy())
    more = Scene(REQUESTS, scene.phases, seeds=(1, 2, 3))
    assert once.shares_pct != try_group("chat", GROUP, PROFILES, more, CallPolicy()).shares_pct


def test_a_mean_is_one_of_all_figures_the_phases_too() -> None:
    both = mean([a_summary(success_pct=90.0, cost_usd=1.0), a_summary(success_pct=100.0, cost_usd=2.0)])
    assert (both.success_pct, both.cost_usd, both.calls) == (95.0, 1.5, 10)
    assert (both.phases[0].success_pct, both.phases[0].calls) == (95.0, 5)


def test_a_phase_without_calls_stays_one() -> None:
    empty = Phase("x", 0, None, None, 0.0)
    assert mean([a_summary(phase=empty), a_summary(phase=empty)]).phases == (empty,)


def test_a_change_is_in_points_and_in_percent_of_the_cost() -> None:
    change = compare(a_summary(success_pct=99.5, objective_pct=94.0, cost_usd=2.36), a_summary())
    assert (change.success_points, change.objective_points) == (0.5, -1.0)
    assert change.cost_pct == pytest.approx(18)
    assert compare(a_summary(), a_summary(cost_usd=0.0)).cost_pct is None


@pytest.mark.parametrize(
    ("change", "count"),
    [
        (Change(0.0, 0.0, 0.0), 0),
        (Change(-0.1, -1.0, 10.0), 0),
        (Change(5.0, 5.0, -50.0), 0),
        (Change(-0.2, 0.0, 0.0), 1),
        (Change(0.0, -1.1, 0.0), 1),
        (Change(0.0, 0.0, 10.1), 1),
        (Change(-1.0, -2.0, 20.0), 3),
        (Change(0.0, 0.0, None), 0),
    ],
)
def test_what_is_worse_than_tolerated_is_objected_to(change: Change, count: int) -> None:
    assert len(objections(change, Tolerance())) == count


def test_an_objection_says_how_much_and_how_much_is_tolerated() -> None:
    assert objections(Change(0.0, 0.0, 18.2), Tolerance()) == ["cost +18.2 % (at most +10 %)"]
