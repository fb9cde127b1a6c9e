import pytest

from routing import Objective, Price
from routing.score import PRESETS, Promise, Tariff
from tests.routing.fleets import CHEAP, DEAR, a_target


def test_a_call_costs_what_its_tokens_cost() -> None:
    tariff = Tariff(a_target("a", Price(1.0, 2.0, 0.25)), None)
    assert tariff.cost_usd(1_000_000, 0, 1_000_000) == pytest.approx(3.0)
    assert tariff.cost_usd(1_000_000, 400_000, 0) == pytest.approx(0.6 + 0.1)


def test_cached_input_without_a_price_of_its_own_costs_the_same() -> None:
    assert Tariff(a_target("a", CHEAP), None).cost_usd(1000, 1000, 0) == Tariff(a_target("a", CHEAP), None).cost_usd(
        1000, 0, 0
    )


def test_a_target_without_a_price_counts_as_the_dearest() -> None:
    unpriced = Tariff(a_target("a"), a_target("dear", DEAR))
    assert unpriced.cost_usd(1000, 0, 1000) == Tariff(a_target("dear", DEAR), None).cost_usd(1000, 0, 1000)
    assert Tariff(a_target("a"), None).cost_usd(1000, 0, 1000) == 0


def test_missing_grows_dearer_while_the_objective_is_missed_and_cheaper_when_it_is_kept() -> None:
    promise = Promise(PRESETS["balanced"], Objective(2.0, 0.95), 0.001)
    before = promise.multiplier
    for _ in range(200):
        promise.learn(is_missed=True)
    raised = promise.multiplier
    assert raised > 1.3 * before
    for _ in range(1000):
        promise.learn(is_missed=False)
    assert promise.multiplier < raised


def test_it_stays_within_bounds_and_rests_where_misses_are_within_the_objective() -> None:
    promise = Promise(PRESETS["balanced"], Objective(2.0, 0.95), 0.001)
    for _ in range(10_000):
        promise.learn(is_missed=True)
    assert promise.multiplier == 250
    for _ in range(100_000):
        promise.learn(is_missed=False)
    assert promise.multiplier == 1
    for number in range(1000):
        promise.learn(is_missed=number % 25 == 0)  # 4 %: what the objective allows, less a fifth
    assert promise.multiplier < 1.1


def test_presets_without_an_objective_learn_nothing_from_misses() -> None:
    promise = Promise(PRESETS["cheapest"], Objective(), 0.01)
    promise.learn(is_missed=True)
    assert promise.multiplier == 20


def test_the_usual_cost_follows_what_calls_cost() -> None:
    promise = Promise(PRESETS["balanced"], Objective(), 0.01)
    assert promise.reference_usd == 0.01
    for _ in range(1000):
        promise.saw_cheapest(0.02)
    assert promise.price_usd == pytest.approx(20 * 0.02, rel=0.01)


def test_a_failure_is_dear_by_how_much_of_what_is_allowed_it_is() -> None:
    strict, lax = (Promise(PRESETS["balanced"], Objective(success=success), 0.001) for success in (0.999, 0.9))
    for promise in (strict, lax):
        promise.ended(is_failure=True)
    assert strict.failure_multiplier > 1.2 * lax.failure_multiplier > 20
    risen = strict.failure_multiplier
    for _ in range(2000):
        strict.ended(is_failure=False)
    assert 0.5 * risen < strict.failure_multiplier < risen


def test_failures_move_their_price_alone_and_within_bounds() -> None:
    promise = Promise(PRESETS["balanced"], Objective(success=0.999), 0.001)
    late = promise.multiplier
    for _ in range(1000):
        promise.ended(is_failure=True)
    assert promise.failure_multiplier == pytest.approx(250 * 0.05 / 0.001)
    assert promise.multiplier == late
    for _ in range(100_000):
        promise.ended(is_failure=False)
    assert promise.failure_multiplier == 1


def test_no_failure_at_all_is_a_promise_that_one_failure_does_not_blow_up() -> None:
    promise = Promise(PRESETS["balanced"], Objective(success=1.0), 0.001)
    promise.ended(is_failure=True)
    assert 20 < promise.failure_multiplier < 41


@pytest.mark.parametrize("name", ["balanced", "cheapest"])
def test_where_success_is_not_promised_failures_are_not_counted(name: str) -> None:
    promise = Promise(PRESETS[name], Objective(), 0.001)
    for _ in range(100):
        promise.ended(is_failure=True)
    assert promise.stakes == (20 * 0.001, 0.0, 0.001)
