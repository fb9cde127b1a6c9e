from dataclasses import replace

import pytest

from benchmarks.traces import load
from routing.simulate import Cloud, Request, foresee, hosted, simulate, span_s, standard, summarize
from routing.simulate.shell import BASELINES
from routing.types import Price
from tests.simulations import always, exact

CHEAP, DEAR = exact("cheap", 1.0, price=Price(1, 1)), exact("dear", 0.5, price=Price(2, 2))
LATE = exact("cheap", 3.0, price=Price(1, 1))
REQUEST = Request(0, 0.0, 1000, 20)


def test_it_takes_the_cheapest_that_begins_in_time() -> None:
    (record,) = foresee([REQUEST], [DEAR, CHEAP], Cloud([DEAR, CHEAP]))
    assert (record.target, record.ttft_s, record.ending) == ("cheap", 1.0, "ok")
    assert record.cost_usd == pytest.approx(1020 / 1e6)
    (record,) = foresee([REQUEST], [DEAR, LATE], Cloud([DEAR, LATE]))
    assert record.target == "dear"


def test_it_foresees_failures_hangs_and_cuts() -> None:
    for kind in ("error", "hang", "cut"):
        (record,) = foresee([REQUEST], [CHEAP, DEAR], Cloud([CHEAP, DEAR], [always(kind, "cheap")]))
        assert (record.target, record.ending, record.wasted_tokens) == ("dear", "ok", 0)


def test_when_none_is_in_time_it_takes_the_fastest() -> None:
    later = exact("dear", 4.0)
    (record,) = foresee([REQUEST], [later, LATE], Cloud([later, LATE]))
    assert (record.target, record.ttft_s) == ("cheap", 3.0)


def test_when_all_fail_the_call_fails_and_costs_nothing() -> None:
    (record,) = foresee([REQUEST], [CHEAP], Cloud([CHEAP], [always("error", "cheap")]))
    assert (record.ending, record.cost_usd, record.target) == ("failed", 0.0, None)


def test_it_keeps_to_rate_limits() -> None:
    limited = exact("cheap", 1.0, price=Price(1, 1), rpm=1)
    requests = [replace(REQUEST, index=index, at=float(index)) for index in range(3)]
    records = foresee(requests, [limited, DEAR], Cloud([limited, DEAR]))
    assert [record.target for record in records] == ["cheap", "dear", "dear"]


def test_it_leaves_nothing_in_flight() -> None:
    cloud = Cloud([CHEAP])
    foresee([replace(REQUEST, index=index, at=float(index)) for index in range(5)], [CHEAP], cloud)
    assert cloud.in_flight("cheap") == 0


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_baseline_that_does_as_well_is_cheaper(seed: int) -> None:
    trace = load("conv")[:2000]
    faults = standard(hosted(), span_s(trace))
    best = summarize("oracle", foresee(trace, hosted(), Cloud(hosted(), faults, seed)), faults)
    assert best.success_pct > 99.9
    assert best.objective_pct > 99.9
    assert best.rate_limited == 0
    targets = [profile.target for profile in hosted()]
    for baseline in BASELINES:
        run = summarize("", simulate(baseline.routes(targets), trace, hosted(), faults, baseline.policy, seed))
        assert run.objective_pct <= best.objective_pct
        assert run.cost_usd > best.cost_usd or run.objective_pct < 95
