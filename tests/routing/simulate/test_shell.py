from random import Random

import pytest

from benchmarks.traces import load
from routing.simulate import Summary, hosted, simulate, span_s, standard, summarize
from routing.simulate.baselines import RoundRobin
from routing.simulate.shell import BASELINES, Baseline, Shell
from routing.types import Candidate, Facts, Kind, Outcome, Target

A, B = Target("a", "a", "m"), Target("b", "b", "m")
FACTS = Facts("chat", stream=True)


def shell(*, cools: bool = True) -> Shell:
    return Shell([A, B], RoundRobin(), cools=cools)


def hears(routes: Shell, kind: Kind, times: int = 1, now: float = 0.0) -> None:
    for _ in range(times):
        routes.observe(Outcome("a", kind, now, 0.1), now)


def able(routes: Shell, now: float) -> set[str]:
    """Which targets get calls now."""
    plans = [routes.plan(FACTS, now, Random(0)) for _ in range(4)]
    return {candidate.target.name for plan in plans for candidate in plan.candidates}


def test_a_429_cools_down_for_5_s() -> None:
    routes = shell()
    hears(routes, "rate_limited", now=10.0)
    assert able(routes, 14.9) == {"b"}
    assert able(routes, 15.0) == {"a", "b"}


def test_more_than_half_of_five_in_the_minute_cools_down() -> None:
    routes = shell()
    hears(routes, "failed", 4)
    assert able(routes, 0.0) == {"a", "b"}
    hears(routes, "failed")
    assert able(routes, 0.0) == {"b"}


def test_half_of_the_attempts_is_not_more_than_half() -> None:
    routes = shell()
    hears(routes, "ok", 5)
    hears(routes, "timeout", 5)
    assert able(routes, 0.0) == {"a", "b"}
    hears(routes, "timeout")
    assert able(routes, 0.0) == {"b"}


def test_the_count_begins_anew_with_the_calendar_minute() -> None:
    routes = shell()
    hears(routes, "failed", 4, now=59.0)
    hears(routes, "failed", now=60.0)
    assert able(routes, 60.0) == {"a", "b"}


def test_a_success_does_not_cool_down_and_a_client_that_left_does_not_count() -> None:
    routes = shell()
    hears(routes, "gone", 10)
    hears(routes, "failed", 4)
    hears(routes, "ok")
    assert able(routes, 0.0) == {"a", "b"}


def test_without_cool_down_nothing_is_left_out() -> None:
    routes = shell(cools=False)
    hears(routes, "rate_limited", 10)
    assert able(routes, 0.0) == {"a", "b"}


def test_when_all_cool_down_there_is_no_candidate_and_the_plan_says_why() -> None:
    routes = Shell([A], RoundRobin())
    hears(routes, "rate_limited", now=1.0)
    plan = routes.plan(FACTS, 2.0, Random(0))
    assert plan.candidates == ()
    assert [(one.target.name, one.until_s) for one in plan.excluded] == [("a", 4.0)]


def test_it_always_retries_and_never_hedges() -> None:
    routes = shell()
    routes.gave_up(FACTS, 0.0)
    assert routes.may_retry(FACTS, 0.0)
    assert shell().hedge(FACTS, Candidate(A, ""), 0.0, 1.0, Random(0)) == (None, None)


def test_baselines_have_names_of_their_own_and_share_no_state() -> None:
    assert len({baseline.name for baseline in BASELINES}) == len(BASELINES)
    baseline = BASELINES[2]
    assert baseline.routes([A]) is not baseline.routes([A])


def figures(baseline: Baseline) -> Summary:
    """Two thousand requests of the trace with all eight faults, in their little time."""
    trace = load("conv")[:2000]
    faults = standard(hosted(), span_s(trace))
    routes = baseline.routes([profile.target for profile in hosted()])
    return summarize(baseline.name, simulate(routes, trace, hosted(), faults, baseline.policy, seed=1), faults)


def test_baselines_behave_as_is_known_of_them() -> None:
    runs = {baseline.name: figures(baseline) for baseline in BASELINES}
    assert runs["round robin"].success_pct > runs["round robin, no retry"].success_pct + 3
    assert runs["lowest cost, no retry"].success_pct < 60
    dearest = max(runs.values(), key=lambda run: run.cost_usd)
    assert dearest.name.startswith("lowest latency")
    assert runs["lowest cost"].cost_usd < 0.6 * runs["round robin"].cost_usd
    assert runs["lowest cost"].objective_pct < runs["round robin"].objective_pct
    assert runs["P2C peak EWMA, TTFT"].success_pct > runs["P2C peak EWMA, duration"].success_pct
    assert runs["P2C peak EWMA, TTFT"].objective_pct > runs["round robin"].objective_pct


@pytest.mark.parametrize("name", ["lowest latency", "lowest latency, tuned"])
def test_only_a_time_out_for_the_first_token_saves_lowest_latency_from_the_hang(name: str) -> None:
    baseline = next(one for one in BASELINES if one.name == name)
    (hang,) = [phase for phase in figures(baseline).phases if phase.name == "hang"]
    assert hang.calls > 50
    assert hang.success_pct is not None
    assert (hang.success_pct > 95) is name.endswith("tuned")
