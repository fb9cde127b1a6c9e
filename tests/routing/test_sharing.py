import json
from math import inf, nan
from random import Random
from typing import Any

import pytest

from routing import Capacity, Fleet, Outcome
from routing.sharing import Digest, Sharing
from routing.tally import Share
from tests.routing.fleets import a_target

TARGET = "p/a"
EVERY_S = 0.5


class Gateway:
    """One of several, without anything but its fleet."""

    def __init__(self, name: str, capacity: Capacity | None = None, others: int = 1) -> None:
        self.name = name
        self.fleet = Fleet()
        self.fleet.join([a_target("a", capacity=capacity or Capacity())])
        self.sharing = Sharing(self.fleet)
        self.sharing.keep_only([f"other-{number}" for number in range(others)])
        self.sharing.collect(0.0)
        self.sent = 0

    @property
    def state(self) -> Any:
        return self.fleet[TARGET]

    def may_ask(self, now: float) -> bool:
        return bool(self.state.obstacle(0, now) is None)

    def ask(self, now: float, *, is_ok: bool = True, tokens: int = 100, **more: Any) -> None:
        self.sent += 1
        self.state.began(tokens, now)
        kind = more.pop("kind", "ok" if is_ok else "failed")
        self.fleet.ended(Outcome(TARGET, kind, now, 0.1, **more), now)


def exchange(gateways: list[Gateway], now: float) -> list[Digest]:
    """Each tells all others, as it goes over the wire."""
    digests = [json.loads(json.dumps(one.sharing.collect(now))) for one in gateways]
    for sender, digest in zip(gateways, digests, strict=True):
        for one in gateways:
            if one is not sender:
                one.sharing.absorb(sender.name, digest, now)
    return digests


def test_where_nothing_happened_nothing_is_told() -> None:
    one = Gateway("one")
    assert one.sharing.collect(1.0) == {}
    one.ask(1.0)
    assert list(one.sharing.collect(1.5)) == [TARGET]
    assert one.sharing.collect(2.0) == {}


def test_what_was_heard_is_not_told_again() -> None:
    one, other = Gateway("one"), Gateway("other")
    for _ in range(6):
        one.ask(1.0, is_ok=False)
    exchange([one, other], 1.5)
    assert not other.may_ask(1.5)
    assert other.sharing.collect(2.0) == {}


def test_attempts_under_way_elsewhere_are_known_until_they_end_or_their_gateway_does() -> None:
    one, other = Gateway("one"), Gateway("other")
    other.state.began(100, 1.0)
    other.state.began(100, 1.0)
    exchange([one, other], 1.5)
    assert one.sharing.in_flight_elsewhere(TARGET) == 2
    other.fleet.ended(Outcome(TARGET, "ok", 1.0, 1.0), 2.0)
    exchange([one, other], 2.0)
    assert one.sharing.in_flight_elsewhere(TARGET) == 1
    one.sharing.keep_only(["third"])
    assert one.sharing.in_flight_elsewhere(TARGET) == 0


@pytest.mark.parametrize("traffic", [4.0, 20.0])
def test_a_target_that_fails_for_all_is_left_by_all_within_a_second(traffic: float) -> None:
    """The outage begins at 10 s; one gateway asks twenty times a second, the other as often or seldom."""
    one, other = Gateway("one"), Gateway("other")
    failed_at_other, left_at = 0, inf
    for step in range(1, 1200):
        now = step * 0.01
        is_ok = now < 10.0
        if step % 5 == 0 and one.may_ask(now):
            one.ask(now, is_ok=is_ok)
        if step % round(100 / traffic) == 0 and other.may_ask(now):
            other.ask(now, is_ok=is_ok)
            failed_at_other += not is_ok
        if step % 50 == 0:
            exchange([one, other], now)
        if not other.may_ask(now):
            left_at = min(left_at, now)
    assert left_at <= 11.0
    assert failed_at_other <= 5  # and so it is told to the last: each probe that fails is told, too


def test_a_gateway_that_has_not_asked_takes_over_an_opening_and_a_rest() -> None:
    one, other = Gateway("one"), Gateway("other")
    one.ask(1.0, kind="refused")
    exchange([one, other], 1.5)
    assert other.state.breaker.open_for_s(1.5) == pytest.approx(59.5)
    one, other = Gateway("one"), Gateway("other")
    one.ask(1.0, kind="rate_limited", retry_after_s=10.0)
    exchange([one, other], 1.5)
    assert other.state.pacer.wait_s(1, 1.5) == pytest.approx(9.5)


def press(gateways: list[Gateway], shares: tuple[int, ...]) -> tuple[int, int]:
    """They would send without end, all well rested at first: what they send in four minutes, and in the fullest one."""
    at: list[float] = []
    rng = Random(7)
    for step in range(24_000):
        now = step * 0.01
        (one,) = rng.choices(gateways, shares)
        if one.may_ask(now):
            one.ask(now)
            at.append(now)
        if step % 50 == 0:
            exchange(gateways, now)
    return len(at), max(sum(start <= one < start + 60 for one in at) for start in range(0, 180, 5))


@pytest.mark.parametrize("shares", [(1, 1), (5, 1), (1, 0)])
def test_a_limit_is_kept_by_two_together_as_it_is_by_one(shares: tuple[int, int]) -> None:
    capacity = Capacity(rpm=120)
    sent_alone, fullest_alone = press([Gateway("alone", capacity, others=0)], (1,))
    assert (sent_alone, fullest_alone) == (528, 132)
    gateways = [Gateway("one", capacity), Gateway("other", capacity)]
    sent, fullest = press(gateways, shares)
    assert sent == pytest.approx(sent_alone, rel=0.05)
    assert fullest == pytest.approx(fullest_alone, rel=0.1), (sent, fullest)
    if shares == (1, 1):
        assert gateways[0].sent == pytest.approx(gateways[1].sent, rel=0.1)


def test_tokens_are_kept_by_ten_together() -> None:
    capacity, rng = Capacity(tpm=600_000), Random(7)
    gateways = [Gateway(str(number), capacity, others=9) for number in range(10)]
    sent: list[tuple[float, int]] = []
    for step in range(18_000):
        now = step * 0.01
        one, tokens = rng.choice(gateways), rng.randrange(100, 20_000)
        if one.state.obstacle(tokens, now) is None:
            one.ask(now, tokens=tokens)
            sent.append((now, tokens))
        if step % 50 == 0:
            exchange(gateways, now)
    total = sum(tokens for at, tokens in sent if at >= 60.0)
    assert total == pytest.approx(2 * 600_000, rel=0.15)


def test_a_target_that_a_reload_adds_is_shared_and_one_that_it_takes_is_forgotten() -> None:
    one = Gateway("one")
    one.fleet.join([a_target("b")])
    one.sharing.collect(1.0)
    one.fleet["p/b"].began(10, 1.0)
    assert list(one.sharing.collect(1.5)) == ["p/b"]
    one.fleet.keep_only([TARGET])
    assert one.sharing.collect(2.0) == {}
    one.sharing.absorb("x", {"p/b": list(Share(requests=1.0))}, 2.0)
    assert one.sharing.in_flight_elsewhere("p/b") == 0


def test_another_capacity_is_shared_as_the_first_one_was() -> None:
    one = Gateway("one", Capacity(rpm=60))
    one.fleet.join([a_target("a", capacity=Capacity(rpm=120))])
    one.ask(1.0)
    assert one.state.pacer.headroom(1.0) == pytest.approx(1.0 - 2 / 120)  # one for the other
    assert one.sharing.collect(1.5)[TARGET][3] == 1.0


@pytest.mark.parametrize(
    "figures",
    [
        [],
        [0.0] * 5,
        ["x"] * len(Share._fields),
        [nan] * len(Share._fields),
        [inf] * len(Share._fields),
        [1e13] * len(Share._fields),
        list(Share(requests=-5.0)),
        list(Share(attempts=1.0, failures=2.0)),
        [None] * len(Share._fields),
    ],
)
def test_what_makes_no_sense_is_passed_over(figures: list[object]) -> None:
    one = Gateway("one", Capacity(rpm=60))
    one.sharing.absorb("other", {TARGET: figures}, 1.0)
    assert one.may_ask(1.0)
    assert one.state.pacer.headroom(1.0) == 1.0


def test_nobody_is_left_out_for_ever_on_the_word_of_others() -> None:
    one = Gateway("one")
    one.sharing.absorb("other", {TARGET: list(Share(open_s=1e9, rest_s=1e9))}, 1.0)
    assert one.state.breaker.open_for_s(1.0) == 3600.0
