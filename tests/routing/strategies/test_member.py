from dataclasses import replace

import pytest

from routing import Facts
from routing.score import PRESETS, Tariff
from routing.strategies.member import Member
from routing.types import Outcome
from tests.routing.fleets import CHEAP, a_target, joined

FACTS = Facts("chat", stream=True, input_tokens=2000)
STAKES = (0.02, 0.0, 0.001)


def a_member() -> Member:
    """A target that begins after half a second for a prompt of 2,000 tokens, and takes five whole."""
    target = a_target("a", CHEAP)
    fleet = joined(target)
    for number in range(60):
        fleet["p/a"].began(2200, float(number))
        outcome = Outcome("p/a", "ok", number, 5.0, 0.5 if number % 2 else None, 2000, 200)
        fleet["p/a"].ended(outcome, number + 0.9, is_stream=bool(number % 2))
    return Member(target, 3, fleet["p/a"], Tariff(target, None), "balanced")


def test_a_rating_holds_what_is_known_and_whose_it_is() -> None:
    rating = a_member().rate(PRESETS["balanced"], STAKES, FACTS, 0, 200.0, 0.5, 2.0, 60.0)
    worth, position, name, cost_usd, p_ok, median_s, sigma, p_cut, used, is_stranger = rating
    assert (position, name, cost_usd, used, is_stranger) == (3, "p/a", 0.5, 0.0, False)
    assert worth > cost_usd
    assert median_s == pytest.approx(0.5, rel=0.1)
    assert 0 < p_cut < 0.1 < sigma < 0.9 < p_ok < 1


def test_a_call_that_does_not_stream_is_rated_by_what_whole_answers_take() -> None:
    rating = a_member().rate(PRESETS["balanced"], STAKES, replace(FACTS, stream=False), 0, 200.0, 0.5, 2.0, 60.0)
    assert rating[5] == pytest.approx(5.0, rel=0.1)


def test_what_was_given_up_counts_where_nobody_asks_how_late_an_answer_begins() -> None:
    member = a_member()
    for number in range(5):
        member.state.health.timed_out(0.6, 2000, 60.0 + number)
    p_ok = {name: member.rate(preset, STAKES, FACTS, 0, 200.0, 0.5, 2.0, 65.0)[4] for name, preset in PRESETS.items()}
    assert p_ok["balanced"] == p_ok["reliable"] > 0.9
    assert p_ok["cheapest"] == p_ok["fastest"] < 0.85
    whole = member.rate(PRESETS["cheapest"], STAKES, replace(FACTS, stream=False), 0, 200.0, 0.5, 2.0, 65.0)
    assert whole[4] == p_ok["balanced"]  # of those it says nothing


def test_how_likely_it_is_to_begin_so_soon_grows_with_the_time_it_has() -> None:
    member = a_member()
    chances = [member.p_within(FACTS, limit_s, 60.0) for limit_s in (0.1, 0.5, 5.0)]
    assert chances == sorted(chances)
    assert chances[0] < 0.05 < 0.3 < chances[1] < 0.7 < 0.99 < chances[2]
