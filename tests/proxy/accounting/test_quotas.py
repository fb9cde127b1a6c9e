from datetime import UTC

from hypothesis import given
from hypothesis import strategies as st

from proxy.accounting import Allowance, Quotas, QuotaTerms, Raise, Reserve, Tally
from proxy.accounting.periods import Calendar
from tests.books import unix_s

NOON = unix_s("2026-11-21T12:00:00")
MONEY = QuotaTerms(("search",), "usd", 1000, "day", None, (0.5, 0.8))
TOKENS = QuotaTerms(("search",), "tokens", 100, "month", frozenset({"chat"}))
OF_KEY = QuotaTerms(("search", "ci"), "usd", 400, "day")


class Rig:
    def __init__(self, *terms: QuotaTerms) -> None:
        self.told: list[tuple[str, float]] = []
        self.quotas = Quotas(Tally(Calendar(UTC), NOON), lambda one, level: self.told.append((one.terms.name, level)))
        self.quotas.adapt(terms)
        self.quotas.advance(NOON)

    def reserve(self, nusd: int, tokens: int = 0, key_name: str = "ci", model: str = "chat") -> Reserve | Allowance:
        reserve = Reserve(self.quotas.gate("search", key_name, model))
        return reserve.extend(nusd, tokens) or reserve

    def spend(self, nusd: int, tokens: int = 0, key_name: str = "ci", at_s: float = NOON) -> None:
        self.quotas.settled("search", key_name, "chat", at_s, nusd, tokens)


def test_a_call_is_reserved_in_all_its_quotas_or_in_none() -> None:
    rig = Rig(MONEY, TOKENS, OF_KEY)
    money, tokens, of_key = rig.quotas.of_team("search")
    assert rig.reserve(500, 50) is of_key
    assert rig.reserve(300, 101) is tokens
    assert (money.reserved, tokens.reserved, of_key.reserved) == (0, 0, 0)
    held = rig.reserve(300, 50)
    assert isinstance(held, Reserve)
    assert (money.reserved, tokens.reserved, of_key.reserved) == (300, 50, 300)
    assert money.remaining == 700
    held.release()
    held.release()
    assert (money.reserved, tokens.reserved, of_key.reserved) == (0, 0, 0)


def test_a_call_falls_under_the_quotas_that_name_its_key_and_its_model() -> None:
    rig = Rig(MONEY, TOKENS, OF_KEY)
    assert [one.terms for one in rig.quotas.gate("search", "ci", "chat")] == [MONEY, TOKENS, OF_KEY]
    assert [one.terms for one in rig.quotas.gate("search", "web", "large")] == [MONEY]
    assert rig.quotas.gate("sales", "ci", "chat") == ()


def test_a_call_that_costs_nothing_passes_a_quota_that_is_spent() -> None:
    rig = Rig(MONEY)
    rig.spend(1000)
    assert isinstance(rig.reserve(0), Reserve)
    assert isinstance(rig.reserve(1), Allowance)


def test_an_exempt_quota_counts_and_refuses_nothing() -> None:
    rig = Rig(MONEY, OF_KEY)
    money, of_key = rig.quotas.of_team("search")
    rig.spend(1000, key_name="web")
    reserve = Reserve(rig.quotas.gate("search", "ci", "chat"))
    assert reserve.extend(300, 0, exempt=money) is None
    assert (money.reserved, of_key.reserved) == (300, 300)
    assert Reserve(rig.quotas.gate("search", "ci", "chat")).extend(300, 0, exempt=money) is of_key


def test_levels_are_told_once_a_period_the_highest_that_was_reached() -> None:
    rig = Rig(MONEY)
    rig.spend(499)
    assert rig.told == []
    rig.spend(1)
    rig.spend(100)
    rig.spend(250)
    assert rig.told == [("usd per day", 0.5), ("usd per day", 0.8)]
    [money] = rig.quotas.of_team("search")
    rig.quotas.spent(money)
    rig.quotas.spent(money)
    assert rig.told[2:] == [("usd per day", 1.0)]
    rig.quotas.advance(NOON + 86_400)
    rig.spend(900, at_s=NOON + 86_400)
    rig.quotas.spent(money)
    assert rig.told[3:] == [("usd per day", 0.8), ("usd per day", 1.0)]


def test_with_a_new_period_all_of_it_is_there_and_what_was_reserved_before_is_not_its() -> None:
    rig = Rig(MONEY)
    [money] = rig.quotas.of_team("search")
    old = rig.reserve(300)
    assert isinstance(old, Reserve)
    rig.spend(700)
    rig.quotas.advance(NOON + 86_400)
    assert (money.used, money.reserved) == (0, 0)
    new = rig.reserve(200)
    assert old.extend(100, 0) is None  # its second attempt: it is counted where the call began
    old.release()
    assert money.reserved == 200
    rig.spend(300, at_s=NOON)  # the old call: it counts where it began
    assert money.used == 0
    assert isinstance(new, Reserve)


def test_changed_quotas_keep_what_was_used_and_new_ones_begin_with_it() -> None:
    rig = Rig(MONEY)
    rig.spend(600, tokens=40)
    held = rig.reserve(100)
    larger = QuotaTerms(("search",), "usd", 5000, "day")
    rig.quotas.adapt([larger, TOKENS])
    rig.quotas.advance(NOON + 1)
    money, tokens = rig.quotas.of_team("search")
    assert (money.size, money.used, money.reserved, tokens.used) == (5000, 600, 100, 40)
    assert isinstance(held, Reserve)
    held.release()
    assert money.reserved == 0


def test_a_grant_raises_one_quota_until_its_time_is_over() -> None:
    rig = Rig(MONEY, OF_KEY)
    money, of_key = rig.quotas.of_team("search")
    rig.spend(1000, key_name="web")
    rig.quotas.grant([Raise("search", "usd per day", 250, NOON + 60), Raise("sales", "usd per day", 9, NOON + 60)])
    rig.quotas.advance(NOON)
    assert (money.size, of_key.size) == (1250, 400)
    assert isinstance(rig.reserve(250, key_name="web"), Reserve)
    rig.quotas.advance(NOON + 59)
    assert money.granted == 250
    rig.quotas.advance(NOON + 60)
    assert money.granted == 0


def test_the_fullest_quota_of_a_team_is_shown() -> None:
    rig = Rig(MONEY, OF_KEY, TOKENS)
    rig.spend(200, tokens=10)
    assert rig.quotas.ratios() == {"search": 0.5}


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 100), st.booleans()), max_size=60))
def test_what_is_used_never_exceeds_a_quota_and_what_is_reserved_comes_back(
    calls: list[tuple[int, int, bool]],
) -> None:
    rig = Rig(MONEY)
    [money] = rig.quotas.of_team("search")
    under_way: list[tuple[Reserve, int]] = []
    refused = False
    for bound, share, ends_one in calls:
        held = rig.reserve(bound)
        if isinstance(held, Reserve):
            under_way.append((held, bound * share // 100))
        else:
            refused = True
            assert money.remaining < bound
        if ends_one and under_way:
            reserve, cost = under_way.pop(0)
            reserve.release()
            rig.spend(cost)
        assert 0 <= money.used + money.reserved <= 1000
    for reserve, cost in under_way:
        reserve.release()
        rig.spend(cost)
    assert money.reserved == 0
    assert money.used <= 1000
    assert not refused or max(bound for bound, _, _ in calls) > 0


def test_periods_begin_even_where_nobody_has_quotas() -> None:
    rig = Rig()
    sunday = unix_s("2026-11-22T00:00:00")
    rig.quotas.advance(sunday)
    assert rig.quotas.tally.bounds("day")[0] == sunday


def test_a_clock_that_is_set_back_makes_no_call_free() -> None:
    rig = Rig(MONEY)
    [money] = rig.quotas.of_team("search")
    rig.quotas.advance(unix_s("2026-12-21T12:00:00"))  # a month ahead, by mistake
    rig.quotas.advance(NOON)
    rig.spend(600, at_s=rig.quotas.counted_at(NOON))
    assert money.used == 600
    rig.spend(1, at_s=NOON)  # one that began before all that counts in its own day
    assert money.used == 600


def test_of_a_quota_that_was_raised_the_levels_are_told_again() -> None:
    rig = Rig(MONEY)
    [money] = rig.quotas.of_team("search")
    rig.spend(900)
    rig.quotas.spent(money)
    rig.quotas.grant([Raise("search", MONEY.name, 1000, NOON + 3600)])
    rig.quotas.advance(NOON)
    rig.spend(200)
    rig.quotas.spent(money)
    assert [level for _, level in rig.told] == [0.8, 1.0, 0.5, 1.0]
    rig.quotas.advance(NOON + 3600)
    rig.spend(1)
    rig.quotas.spent(money)
    assert [level for _, level in rig.told] == [0.8, 1.0, 0.5, 1.0, 0.8]
