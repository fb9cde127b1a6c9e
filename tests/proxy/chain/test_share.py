import pytest

from proxy.accounting import Allowance, Limits, MeterName, QuotaTerms
from proxy.call import Call, Principal
from proxy.chain import Allotments, Meters, Share
from proxy.chain.share import Allotment
from proxy.errors import QuotaUnknown, RateLimited
from proxy.observe import Metrics
from tests.calls import TEAM, a_call
from tests.fakes import HandClock

SEARCH = ("search",)


def allowance(cap: int = 1000, used: int = 0, per: str = "day") -> Allowance:
    made = Allowance(QuotaTerms(SEARCH, "tokens", cap, per))  # type: ignore[arg-type]
    made.begin(0.0, 86_400.0, used)
    return made


class Rig:
    def __init__(self, limits: Limits | None = None, grant: float | None = 0.1) -> None:
        self.clock, self.replicas = HandClock(), 1
        self.allotments = Allotments(self.clock)
        all_limits: dict[MeterName, Limits] = {} if limits is None else {SEARCH: limits}
        self.share = Share(Meters(self.clock), all_limits, self.allotments, grant, lambda: self.replicas, Metrics())

    def enter(self, *allowances: Allowance, tokens: int = 1, principal: Principal = TEAM) -> Call:
        call = a_call(principal=principal)
        self.share.enter(call, principal, allowances, lambda more: (0, tokens + more))
        return call


def is_degraded(call: Call) -> bool:
    assert call.rate_headers is not None
    return (b"x-ratelimit-degraded", b"1") in call.rate_headers()


def test_limits_are_divided_by_the_replicas_that_there_are_and_are_1_at_the_least() -> None:
    rig = Rig(Limits(rpm=5, concurrency=3))
    rig.replicas = 2
    rig.enter()
    rig.replicas = 0  # nobody knows
    rig.enter()
    rig.replicas = 10
    with pytest.raises(RateLimited, match="is reached: 1"):
        rig.enter()


def test_who_has_no_limits_is_told_that_they_are_not_kept_together_all_the_same() -> None:
    assert is_degraded(Rig().enter(principal=Principal("sales", "web", None)))


def test_what_was_spent_when_it_was_seen_last_is_spent() -> None:
    rig, one = Rig(), allowance(used=960)
    rig.enter(one, tokens=40)
    with pytest.raises(QuotaUnknown):
        rig.enter(one, tokens=1)


def test_a_call_that_uses_nothing_is_let_in_however_much_is_spent() -> None:
    rig, one = Rig(), allowance(used=1000)
    assert is_degraded(rig.enter(one, tokens=0))


def test_of_several_quotas_all_or_nothing_is_taken() -> None:
    rig, wide, narrow = Rig(), allowance(10_000, per="month"), allowance()
    with pytest.raises(QuotaUnknown):
        rig.enter(wide, narrow, tokens=101)
    assert rig.allotments.spent(wide).reserved == 0


async def test_a_second_attempt_is_reserved_too() -> None:
    rig, one = Rig(), allowance()
    call = rig.enter(one, tokens=40)
    assert call.cover is not None
    assert await call.cover(call, 0)
    assert rig.allotments.spent(one).reserved == 40, "the first one has not been made yet"
    assert rig.share.cover(call, (one,), 0, 60)
    assert not rig.share.cover(call, (one,), 0, 1)
    await call.closing.aclose()
    assert rig.allotments.spent(one).reserved == 40
    assert isinstance(call.claim, Allotment)
    assert not call.claim.settle(call, 0, 7)
    assert (rig.allotments.spent(one).reserved, rig.allotments.spent(one).used) == (0, 7)


def spend(rig: Rig, one: Allowance, tokens: int) -> None:
    call = rig.enter(one, tokens=tokens)
    assert call.claim is not None
    call.claim.settle(call, 0, tokens)


def test_an_outage_that_comes_and_goes_is_granted_no_more_than_one_that_lasts() -> None:
    rig, one = Rig(), allowance()
    for _ in range(10):
        spend(rig, one, 10)
        for _ in range(39):
            rig.allotments.heard()
            rig.clock.advance(1)
    with pytest.raises(QuotaUnknown):
        rig.enter(one)


def test_the_next_outage_begins_with_all_of_the_grant_once_everything_is_settled() -> None:
    rig, one = Rig(), allowance()
    spend(rig, one, 60)
    call = rig.enter(one, tokens=40)
    rig.allotments.heard()
    rig.clock.advance(60)
    rig.allotments.heard()
    assert rig.allotments.spent(one).used == 60, "a call of then is under way"
    assert call.claim is not None
    call.claim.settle(call, 0, 40)
    rig.clock.advance(5)
    rig.allotments.heard()
    rig.allotments.missed()
    rig.allotments.heard()
    rig.clock.advance(39)
    rig.allotments.heard()
    assert rig.allotments.spent(one).used == 100
    rig.clock.advance(1)
    rig.allotments.heard()
    assert rig.allotments.spent(one).used == 0


def test_a_redis_that_is_there_and_takes_no_claims_gives_nothing_of_the_grant_back() -> None:
    rig, one = Rig(), allowance()
    spend(rig, one, 60)
    rig.allotments.is_refused = True
    for _ in range(2):
        rig.allotments.heard()
        rig.clock.advance(60)
    assert rig.allotments.spent(one).used == 60
    rig.allotments.is_refused = False
    for _ in range(2):
        rig.allotments.heard()
        rig.clock.advance(60)
    assert rig.allotments.spent(one).used == 0


def test_where_nothing_was_spent_there_is_nothing_to_forget() -> None:
    rig = Rig()
    rig.allotments.heard()
    assert is_degraded(rig.enter(allowance(), tokens=100))
