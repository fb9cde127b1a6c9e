from collections import Counter
from itertools import pairwise
from math import inf
from random import Random

import pytest

from benchmarks.traces import load
from routing.simulate import CallPolicy, Cloud, Request, Simulation, hosted, simulate, span_s, standard
from routing.simulate.shell import BASELINES
from routing.types import Candidate, Facts, Outcome, Plan, Price
from tests.simulations import ScriptedRoutes, always, exact, one_call

FAST, SLOW = exact("fast", 0.5), exact("slow", 1.5)
BOTH = (FAST, SLOW)
LIMITED = exact("limited", rpm=1)


class Counting:
    """A router by chance, retrying and hedging by chance, that counts what it hears."""

    def __init__(self) -> None:
        self.targets = [profile.target for profile in hosted()]
        self.in_flight: Counter[str] = Counter()
        self.began_count = self.ended_count = self.first_tokens = self.told = 0
        self.now = 0.0

    def _tick(self, now: float) -> None:
        assert now >= self.now, "time went back"
        self.now = now

    def plan(self, facts: Facts, now: float, rng: Random) -> Plan:
        self._tick(now)
        return Plan("chance", (Candidate(rng.choice(self.targets), "chance"),) if rng.random() < 0.99 else ())

    def patience_s(self, target: str, facts: Facts, now: float) -> float:
        return inf

    def began(self, target: str, facts: Facts, now: float) -> None:
        self._tick(now)
        self.in_flight[target] += 1
        self.began_count += 1

    def first_token(self, target: str, sent_at: float, now: float) -> None:
        self._tick(now)
        self.first_tokens += 1

    def observe(self, outcome: Outcome, now: float) -> None:
        self._tick(now)
        self.told += outcome.is_ttft_told
        assert outcome.started_at + outcome.duration_s == pytest.approx(now)
        self.in_flight[outcome.target] -= 1
        self.ended_count += 1

    def gave_up(self, facts: Facts, now: float) -> None:
        self._tick(now)

    def may_retry(self, facts: Facts, now: float) -> bool:
        self._tick(now)
        return facts.input_tokens % 10 != 0

    def hedge(
        self, facts: Facts, first: Candidate, sent_at: float, now: float, rng: Random
    ) -> tuple[Candidate | None, float | None]:
        self._tick(now)
        draw = rng.random()
        return (
            (Candidate(rng.choice(self.targets), "hedge"), None) if draw < 0.1 else (None, 0.0 if draw < 0.2 else 0.3)
        )


def test_a_call_answered_at_once() -> None:
    routes = ScriptedRoutes(BOTH, ["fast"])
    record = one_call(routes, BOTH)
    assert (record.ending, record.target, record.attempts) == ("ok", "fast", 1)
    assert (record.ttft_s, record.latency_s) == (0.5, 2.5)
    assert record.cost_usd == pytest.approx((1000 * 1.0 + 20 * 2.0) / 1e6)
    assert (record.billed_tokens, record.wasted_tokens) == (1020, 0)
    ((now, outcome),) = routes.outcomes
    assert (now, outcome.kind, outcome.ttft_s, outcome.duration_s) == (2.5, "ok", 0.5, 2.5)
    assert (outcome.input_tokens, outcome.output_tokens) == (1000, 20)


def test_routers_hear_of_a_first_token_when_it_comes_and_of_the_end_when_that_comes() -> None:
    routes = ScriptedRoutes(BOTH, ["fast"])
    one_call(routes, BOTH, request=Request(0, 10.0, 1000, 20))
    assert routes.first_tokens == [("fast", 10.0, 10.5)]
    ((now, outcome),) = routes.outcomes
    assert (now, outcome.is_ttft_told) == (12.5, True)


def test_routers_are_told_sizes_and_times_but_not_the_length_of_the_answer() -> None:
    routes = ScriptedRoutes(BOTH, ["fast"])
    one_call(routes, BOTH, request=Request(0, 10.0, 1000, 20, max_output_tokens=64, sticky=7))
    assert routes.facts == [
        Facts("chat", True, 1000, 64, sticky=7, deadline_at=130.0, first_token_at=12.0, may_wait=False)
    ]


def test_a_failed_attempt_is_followed_by_another_at_once() -> None:
    routes = ScriptedRoutes(BOTH, ["fast", "slow"])
    record = one_call(routes, BOTH, [always("error", "fast")])
    assert (record.ending, record.target, record.attempts) == ("ok", "slow", 2)
    assert record.ttft_s == pytest.approx(0.03 + 1.5)
    assert routes.kinds == [("fast", "failed"), ("slow", "ok")]
    assert routes.planned == [(0.0, ()), (0.03, ("fast",))]
    assert record.billed_tokens == 1020


def test_later_retries_wait_longer_and_longer() -> None:
    routes = ScriptedRoutes(BOTH, ["fast"] * 8)
    policy = CallPolicy(max_attempts=8, backoff_s=1.0, max_backoff_s=4.0)
    record = one_call(routes, BOTH, [always("error", "fast")], policy)
    times = [now for now, _ in routes.planned]
    waits = [later - earlier - 0.03 for earlier, later in pairwise(times)]
    assert record.ending == "failed"
    assert waits[0] == pytest.approx(0)
    for wait_s, longest_s in zip(waits[1:], [1, 2, 4, 4, 4, 4], strict=True):
        assert 0 < wait_s <= longest_s


def test_a_call_has_a_limited_number_of_attempts() -> None:
    record = one_call(ScriptedRoutes(BOTH, ["fast"] * 9), BOTH, [always("error", "fast")], CallPolicy(max_attempts=3))
    assert (record.ending, record.attempts, record.ttft_s) == ("failed", 3, None)
    assert (record.cost_usd, record.billed_tokens) == (0, 0)


def test_without_retry_budget_the_first_failure_is_the_last() -> None:
    routes = ScriptedRoutes(BOTH, ["fast", "slow"], retries=0)
    assert one_call(routes, BOTH, [always("error", "fast")]).attempts == 1
    assert routes.retries == -1


def test_the_budget_is_not_asked_when_no_attempt_is_left() -> None:
    routes = ScriptedRoutes(BOTH, ["fast", "slow"])
    one_call(routes, BOTH, [always("error", "fast")], CallPolicy(max_attempts=1))
    assert routes.retries == 100


def test_the_router_is_told_of_a_call_that_was_tried_in_vain() -> None:
    for kind, script, given_up in (
        ("error", ["fast", "fast"], [True]),
        ("error", ["fast", "slow"], []),
        ("cut", ["fast"], []),
    ):
        routes = ScriptedRoutes(BOTH, script)
        one_call(routes, BOTH, [always(kind, "fast")], CallPolicy(max_attempts=2))
        assert [at > 0 for at in routes.given_up] == given_up


def test_a_router_without_candidates_ends_the_call() -> None:
    record = one_call(ScriptedRoutes(BOTH, []), BOTH)
    assert (record.ending, record.attempts, record.latency_s) == ("no_candidate", 0, 0.0)


def test_a_429_is_counted_and_its_hints_are_handed_on() -> None:
    profiles = (LIMITED, SLOW)
    routes = ScriptedRoutes(profiles, ["limited", "slow"])
    requests = [Request(0, 0.0, 1000, 20), Request(1, 1.0, 1000, 20)]
    first, second = simulate(routes, requests, profiles)
    assert (first.rate_limited, second.rate_limited) == (0, 1)
    assert second.target == "slow"
    refused = next(outcome for _, outcome in routes.outcomes if outcome.kind == "rate_limited")
    assert refused.retry_after_s == pytest.approx(59)
    assert refused.limits is not None
    assert refused.limits.remaining_requests == 0


def test_an_attempt_that_does_not_begin_in_time_is_dropped_and_its_prompt_is_billed() -> None:
    routes = ScriptedRoutes(BOTH, ["fast", "slow"])
    record = one_call(routes, BOTH, [always("hang", "fast")], CallPolicy(first_token_timeout_s=5.0))
    assert (record.ending, record.target) == ("ok", "slow")
    assert record.ttft_s == 6.5
    assert routes.kinds == [("fast", "timeout"), ("slow", "ok")]
    assert (record.billed_tokens, record.wasted_tokens) == (2020, 1000)


def test_the_client_leaves_when_its_patience_is_at_its_end() -> None:
    routes = ScriptedRoutes(BOTH, ["fast", "slow"])
    record = one_call(routes, BOTH, [always("hang", "fast")], CallPolicy(first_token_timeout_s=60.0, patience_s=30.0))
    assert (record.ending, record.latency_s, record.attempts) == ("gave_up", 30.0, 1)
    assert routes.kinds == [("fast", "gone")]
    assert record.wasted_tokens == record.billed_tokens == 1000


def test_an_answer_that_would_begin_later_finds_nobody() -> None:
    late = exact("late", 40.0)
    policy = CallPolicy(first_token_timeout_s=60.0, patience_s=30.0)
    record = one_call(ScriptedRoutes([late], ["late"]), [late], policy=policy)
    assert (record.ending, record.ttft_s, record.latency_s) == ("gave_up", None, 30.0)


def test_a_client_that_reads_does_not_leave() -> None:
    slow_stream = exact("a", 0.5, tokens_per_s=1.0)
    record = one_call(ScriptedRoutes([slow_stream], ["a"]), [slow_stream], request=Request(0, 0.0, 10, 60))
    assert (record.ending, record.latency_s) == ("ok", 60.5)


def test_an_answer_that_is_not_complete_by_the_deadline_is_dropped_and_what_came_is_billed() -> None:
    profile = exact("a", 0.5, tokens_per_s=1.0)
    routes = ScriptedRoutes([profile], ["a"])
    policy = CallPolicy(deadline_s=40.5)
    record = one_call(routes, [profile], policy=policy, request=Request(0, 0.0, 10, 60))
    assert (record.ending, record.latency_s, record.billed_tokens) == ("deadline", 40.5, 50)
    assert routes.kinds == [("a", "gone")]
    assert routes.outcomes[0][1].ttft_s == 0.5


def test_a_cut_answer_is_a_failed_call() -> None:
    routes = ScriptedRoutes(BOTH, ["fast", "slow"])
    record = one_call(routes, BOTH, [always("cut", "fast")])
    assert (record.ending, record.ttft_s, record.attempts) == ("cut", 0.5, 1)
    assert record.wasted_tokens == record.billed_tokens > 1000
    assert routes.kinds == [("fast", "cut")]


def test_a_cut_answer_may_be_rescued_elsewhere_at_the_price_of_reading_it_again() -> None:
    routes = ScriptedRoutes(BOTH, ["fast", "slow"])
    record = one_call(routes, BOTH, [always("cut", "fast")], CallPolicy(is_rescued=True))
    came = routes.outcomes[0][1].output_tokens
    rest = routes.outcomes[1][1]
    assert (record.ending, record.ttft_s, record.attempts) == ("ok", 0.5, 2)
    assert (rest.input_tokens, rest.output_tokens) == (1000 + came, 20 - came)
    assert record.wasted_tokens == 1000 + came
    assert routes.facts[1].input_tokens == 1000 + came


def test_a_rescue_that_fails_leaves_a_cut_answer() -> None:
    for script in (["fast", "slow"], ["fast"]):
        routes = ScriptedRoutes(BOTH, script)
        faults = [always("cut", "fast"), always("error", "slow")]
        record = one_call(routes, BOTH, faults, CallPolicy(max_attempts=2, is_rescued=True))
        assert (record.ending, record.ttft_s) == ("cut", 0.5)


def test_a_hedge_is_sent_when_the_router_says_so_and_the_loser_is_cancelled() -> None:
    routes = ScriptedRoutes(BOTH, ["slow"], hedge=(0.25, "fast"))
    record = one_call(routes, BOTH)
    assert (record.target, record.ttft_s, record.hedges, record.attempts) == ("fast", 0.75, 1, 2)
    assert routes.hedge_asked_at == [0.0, 0.25]
    assert routes.kinds == [("slow", "outrun"), ("fast", "ok")]
    assert routes.outcomes[0][0] == 0.75
    assert routes.outcomes[0][1].ttft_s is None
    assert (record.billed_tokens, record.wasted_tokens) == (2020, 1000)
    assert routes.facts[1].tried == ("slow",)


def test_a_hedge_that_loses_is_cancelled_too() -> None:
    routes = ScriptedRoutes(BOTH, ["fast"], hedge=(0.25, "slow"))
    record = one_call(routes, BOTH)
    assert (record.ending, record.target, record.ttft_s, record.latency_s) == ("ok", "fast", 0.5, 2.5)
    assert routes.kinds == [("slow", "outrun"), ("fast", "ok")]


def test_a_winner_streams_on_when_the_losers_time_is_up() -> None:
    """What was planned for a cancelled attempt must not end the call."""
    profiles = (exact("long", 0.5, tokens_per_s=1.0), SLOW)
    routes = ScriptedRoutes(profiles, ["slow"], hedge=(0.25, "long"))
    policy = CallPolicy(first_token_timeout_s=60.0, patience_s=10.0)
    record = one_call(routes, profiles, [always("hang", "slow")], policy)
    assert (record.ending, record.target, record.latency_s) == ("ok", "long", 20.75)


def test_while_one_of_two_still_runs_a_failure_is_no_reason_to_retry() -> None:
    routes = ScriptedRoutes(BOTH, ["slow", "slow"], hedge=(0.25, "fast"))
    record = one_call(routes, BOTH, [always("error", "fast")])
    assert (record.ending, record.target, record.attempts) == ("ok", "slow", 2)
    assert routes.retries == 100


def test_when_both_have_failed_the_call_is_retried() -> None:
    profiles = (FAST, SLOW, exact("third"))
    routes = ScriptedRoutes(profiles, ["slow", "-", "third"], hedge=(0.25, "fast"))
    record = one_call(routes, profiles, [always("error", "fast"), always("hang", "slow")])
    assert (record.ending, record.target, record.attempts) == ("ok", "third", 3)
    assert record.ttft_s == 5.5


def test_a_hedge_counts_as_an_attempt() -> None:
    routes = ScriptedRoutes(BOTH, ["slow"], hedge=(0.25, "fast"))
    assert one_call(routes, BOTH, policy=CallPolicy(max_attempts=1)).attempts == 1
    assert routes.hedge_asked_at == []


def test_a_target_asked_again_has_new_luck() -> None:
    routes = ScriptedRoutes([FAST], ["fast"] * 30)
    record = one_call(routes, [FAST], [always("error", "fast", rate=0.8)], CallPolicy(max_attempts=30))
    assert (record.ending, record.target) == ("ok", "fast")
    assert 1 < record.attempts < 30


def test_every_call_ends_once_and_every_attempt_is_accounted_for() -> None:
    trace = load("conv")[:3000]
    for is_rescued in (False, True):
        routes, cloud = Counting(), Cloud(hosted(), standard(hosted(), span_s(trace)), seed=3)
        records = Simulation(routes, cloud, CallPolicy(is_rescued=is_rescued), seed=3).run(trace)
        assert [record.index for record in records] == list(range(3000))
        assert routes.began_count == routes.ended_count == sum(record.attempts for record in records)
        assert set(routes.in_flight.values()) == {0}
        assert 0 < routes.told == routes.first_tokens < routes.ended_count
        assert all(cloud.in_flight(profile.name) == 0 for profile in hosted())
        assert {record.ending for record in records} >= {"ok", "failed", "no_candidate"}
        assert all(0 <= record.wasted_tokens <= record.billed_tokens for record in records)
        assert all(record.attempts <= 4 and record.latency_s <= 120 + 1e-6 for record in records)


def test_two_runs_give_the_same_records_and_another_seed_gives_others() -> None:
    trace = load("conv")[:1000]
    faults = standard(hosted(), span_s(trace))
    one, again, other = (simulate(Counting(), trace, hosted(), faults, seed=seed) for seed in (1, 1, 2))
    assert one == again
    assert one != other


def test_tokens_cost_the_price_of_who_produced_them() -> None:
    profiles = (exact("dear", 1.5, price=Price(10.0, 20.0)), exact("cheap", 0.5, price=Price(1.0, 2.0)))
    record = one_call(ScriptedRoutes(profiles, ["dear"], hedge=(0.25, "cheap")), profiles)
    assert record.cost_usd == pytest.approx((1000 * 10.0 + 1000 * 1.0 + 20 * 2.0) / 1e6)


def test_when_nothing_goes_wrong_each_call_of_the_hour_takes_one_plan_and_one_outcome() -> None:
    profiles = (FAST,)
    routes = ScriptedRoutes(profiles, ["fast"])
    records = simulate(routes, load("conv"), profiles)
    assert len(records) == 19_366
    assert len(routes.planned) == len(routes.outcomes) == 19_366


def test_a_simulation_is_used_once() -> None:
    trace = [Request(0, 0.0, 10, 10)]
    simulation = Simulation(BASELINES[0].routes([FAST.target]), Cloud([FAST]), CallPolicy())
    assert len(simulation.run(trace)) == 1
    with pytest.raises(RuntimeError, match="once"):
        simulation.run(trace)


def test_a_silent_target_is_dropped_sooner_where_the_router_says_so_and_another_can_be_asked() -> None:
    policy = CallPolicy(first_token_timeout_s=20.0)
    for script, waited_s in ((["fast", "slow"], 3.0), (["fast"], 20.0)):
        routes = ScriptedRoutes(BOTH, script)
        routes.patience = {"fast": 3.0}
        one_call(routes, BOTH, [always("hang", "fast")], policy)
        assert routes.kinds[0] == ("fast", "timeout")
        assert routes.outcomes[0][1].duration_s == waited_s
