from random import Random

import pytest

from benchmarks.routing import foreseen, informed, ours, run
from benchmarks.traces import load
from routing.simulate import CallPolicy, Cloud, Informed, Profile, Request, Simulation, hosted, span_s, standard
from routing.types import Candidate, Facts, Price
from tests.simulations import always, exact

CHEAP, DEAR = exact("cheap", 1.0, price=Price(1, 1)), exact("dear", 0.5, price=Price(2, 2))
FACTS = Facts("chat", stream=True, input_tokens=1000)


def order(*profiles: Profile, cloud: Cloud | None = None, facts: Facts = FACTS) -> list[str]:
    plan = Informed(cloud or Cloud(profiles), profiles).plan(facts, 0.0, Random(0))
    return [candidate.target.name for candidate in plan.candidates]


def test_it_takes_the_cheapest_that_is_likely_to_begin_in_time() -> None:
    assert order(DEAR, CHEAP) == ["cheap", "dear"]
    assert order(DEAR, exact("cheap", 2.5, price=Price(1, 1))) == ["dear", "cheap"]


def test_it_knows_at_once_what_is_wrong_with_a_target() -> None:
    for kind in ("hang", "error", "cut"):
        assert order(CHEAP, DEAR, cloud=Cloud([CHEAP, DEAR], [always(kind, "cheap")])) == ["dear", "cheap"]


def test_what_has_no_room_is_left_out_and_what_was_asked_comes_last() -> None:
    full = exact("cheap", 1.0, price=Price(1, 1), rpm=1)
    cloud = Cloud([full, DEAR])
    cloud.send(Request(0, 0.0, 1000, 20), "cheap", 0, 0.0)
    plan = Informed(cloud, [full, DEAR]).plan(FACTS, 0.0, Random(0))
    assert [candidate.target.name for candidate in plan.candidates] == ["dear"]
    assert [(one.target.name, one.reason) for one in plan.excluded] == [("cheap", "rate limit")]
    assert order(CHEAP, DEAR, facts=Facts("chat", stream=True, tried=("cheap",))) == ["dear", "cheap"]


def test_it_always_retries_and_never_hedges() -> None:
    routes = Informed(Cloud([CHEAP]), [CHEAP])
    assert routes.may_retry(FACTS, 0.0)
    assert routes.hedge(FACTS, Candidate(CHEAP.target, ""), 0.0, 1.0, Random(0)) == (None, None)


def test_a_late_beginning_makes_the_next_one_dearer() -> None:
    late = exact("cheap", 3.0, price=Price(1, 1))
    cloud = Cloud([late])
    routes = Informed(cloud, [late])
    before = routes._promise.multiplier
    Simulation(routes, cloud, CallPolicy()).run([Request(0, 0.0, 1000, 20)])
    assert routes._promise.multiplier > before
    assert routes._asked == {}


@pytest.mark.timeout(240)  # whole traces, under coverage, on a machine that may be busy
def test_what_the_product_pays_beyond_it_is_for_having_to_learn() -> None:
    profiles, requests = hosted(), load("code")
    faults = standard(profiles, span_s(requests))
    told = informed(requests, profiles, faults, 1)
    product = run("balanced", ours(profiles, "balanced"), requests, profiles, faults, 1)
    assert foreseen(requests, profiles, faults, 1).cost_usd < told.cost_usd < 0.95 * product.cost_usd
    assert abs(told.objective_pct - product.objective_pct) < 1
