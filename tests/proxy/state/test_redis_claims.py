from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from proxy.accounting import Hold, Limits, Meter, shortage
from proxy.state import Claimed, ClaimTerms, StateAway, StateFailed, Verdict, encode_entry
from proxy.state.redis_claims import give_up, lapsed
from proxy.state.redis_client import run_script
from proxy.state.scripts import load_script
from tests.claims import DAY, MONTH, PERIODS, Place, done, intent, quota, rate
from tests.redis_server import RedisServer, redis_server

pytestmark = pytest.mark.integration
TOKENS_MS = 60_500
#: Eighths of a second are exact in both: floating seconds, and milliseconds.
eighths = st.integers(0, 320) | st.sampled_from([0, 4, 480, 484, 488, 2000])
USD = "usd\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(Path(tmp_path_factory.mktemp("redis"))) as started:
        yield started


@pytest.fixture(scope="module")
def client(server: RedisServer) -> Iterator[redis.Redis]:
    with server.client as connected:
        yield connected


@pytest.fixture
def place(client: redis.Redis) -> Place:
    return Place(client)


def claim(place: Place, terms: ClaimTerms, call: str, tokens: int = 0, bound: tuple[int, int] = (0, 0)) -> Claimed:
    return done(place.claims.claim(terms, call, tokens, bound, encode_entry(intent(call))))


def settle(place: Place, call: str, tokens: int | None = None, spent: tuple[int, int] = (0, 0)) -> None:
    place.claims.settle("search", call, tokens, "ci", "chat", spent, PERIODS)


def book(place: Place, call: str, nusd: int, tokens: int) -> None:
    """As the ledger does it."""
    source = (
        load_script("claims").source
        + b"""
        local periods = {}
        for at = 4, #ARGV do
          periods[at - 3] = ARGV[at]
        end
        count(KEYS[1], 'ci', 'chat', periods, book_claim(KEYS[1], ARGV[1], ARGV[2], ARGV[3]))
    """
    )
    place.client.eval(source.decode(), 1, place.tag, call, nusd, tokens, *PERIODS)


# -- rates --


class Twin:
    """A team's meter and its key's, here and in Redis."""

    def __init__(self, client: redis.Redis, team: Limits, key: Limits) -> None:
        self.place = Place(client, lease_s=1e6)
        self.meters = [Meter(("search",)), Meter(("search", "ci"))]
        for meter, limits in zip(self.meters, (team, key), strict=True):
            meter.limit_to(limits)
        rates = (
            rate(name, one.rpm or 0, one.tpm or 0, one.concurrency or 0) for name, one in (("", team), ("ci", key))
        )
        self.terms = self.place.claims.terms("search", rates, ())
        self.ends: list[tuple[int, str, Hold, int | None]] = []
        self.calls = 0

    @property
    def now(self) -> float:
        return self.place.now_ms / 1000

    def begin(self, tokens: int, used: int | None, lasts_ms: int) -> None:
        self.calls += 1
        call = f"c{self.calls}"
        short = shortage(self.meters, tokens, self.now)
        told = claim(self.place, self.terms, call, tokens)
        if short is not None:
            assert told.verdict == Verdict.RATE_SHORT
            expected = (
                *(("team", "key").index(short.whose) + 1, ("rpm", "tpm", "concurrency").index(short.limit) + 1),
            )
            assert (told.which, told.limit) == expected
            assert told.remaining == short.remaining
            assert told.wait_ms == (-1 if short.wait_s is None else round(short.wait_s * 1000))
        else:
            assert told.verdict == Verdict.ADMITTED
            for meter in self.meters:
                if meter.limits.rpm is not None:
                    meter.requests.take(1, self.now)
            self.ends.append((self.place.now_ms + lasts_ms, call, Hold(self.meters, tokens, self.now), used))
        assert list(told.standing) == [value for meter in self.meters for value in self.standing(meter)]

    def standing(self, meter: Meter) -> list[int]:
        found: list[int] = []
        for size, window in ((meter.limits.rpm, meter.requests), (meter.limits.tpm, meter.tokens)):
            found += [window.remaining(self.now), round(window.reset_s(self.now) * 1000)] if size else [0, 0]
        return found

    def pass_time(self, milliseconds: int) -> None:
        until = self.place.now_ms + milliseconds
        for end in sorted((one for one in self.ends if one[0] <= until), key=lambda one: one[:2]):
            self.ends.remove(end)
            self.place.now_ms, call, hold, used = end
            settle(self.place, call, used)
            hold.leave()
            if used is not None:
                hold.settle(used, self.now)
        self.place.now_ms = until


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(eighths, st.integers(0, 250), st.none() | st.integers(0, 900), st.integers(0, 700)), max_size=40
    ),
    st.tuples(*[st.none() | st.integers(1, 12)] * 2),
    st.tuples(*[st.none() | st.sampled_from([1, 60, 100, 240])] * 2),
    st.tuples(*[st.none() | st.integers(1, 6)] * 2),
)
def test_a_meter_in_redis_is_the_twin_of_one_in_memory(
    client: redis.Redis, script: list[Any], rpm: Any, tpm: Any, concurrency: Any
) -> None:
    team, key = (Limits(*sizes) for sizes in zip(rpm, tpm, concurrency, strict=True))
    twin = Twin(client, team, key)
    for pause, tokens, used, lasts in script:
        twin.begin(tokens, used, lasts * 125)
        twin.pass_time(pause * 125)
    twin.begin(1, 0, 0)
    assert twin.calls == len(script) + 1


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(eighths, min_size=1, max_size=60), st.integers(1, 12))
def test_it_lets_in_what_the_limits_package_lets_in_but_for_a_slot(
    client: redis.Redis, pauses: list[int], limit: int
) -> None:
    """The oracle is exact: it refuses what came less than 60 s after; we refuse up to 0.5 s more."""
    place, storage = Place(client), MemoryStorage()
    terms = place.claims.terms("search", (rate(rpm=limit),), ())
    oracle, item = MovingWindowRateLimiter(storage), RateLimitItemPerMinute(limit)
    admitted: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limits.storage.memory.time.time", lambda: place.now_ms / 1000)
        patch.setattr(storage, "_MemoryStorage__schedule_expiry", lambda: None)
        for number, pause in enumerate(pauses):
            place.now_ms += pause * 125
            told = claim(place, terms, f"c{number}")
            if told.verdict == Verdict.ADMITTED:
                admitted.append(place.now_ms)
                assert oracle.hit(item)
            elif oracle.test(item):
                assert told.wait_ms <= 500
    assert all(sum(at <= other < at + 60_000 for other in admitted) <= limit for at in admitted)


def test_a_call_that_one_limit_refuses_has_used_nothing_of_the_others(place: Place) -> None:
    terms = place.claims.terms("search", (rate(rpm=10, concurrency=5), rate("ci", tpm=100)), (quota(1000),))
    assert claim(place, terms, "a", 100, (10, 1)).verdict == Verdict.ADMITTED
    refused = claim(place, terms, "b", 50, (10, 1))
    assert (refused.verdict, refused.which, refused.limit, refused.wait_ms) == (Verdict.RATE_SHORT, 2, 2, TOKENS_MS)
    assert refused.standing[0] == 9
    assert place.held() == 10
    assert not place.has("claim:b")


def test_a_clock_that_is_set_back_stands_still_for_a_minute_at_most(place: Place) -> None:
    terms = place.claims.terms("search", (rate(rpm=1),), ())
    claim(place, terms, "a")
    place.advance(-3600)
    assert claim(place, terms, "b").verdict == Verdict.RATE_SHORT
    place.advance(121)
    assert claim(place, terms, "c").verdict == Verdict.ADMITTED


# -- calls under way --


def test_a_call_of_which_nobody_is_heard_is_under_way_no_more_but_what_it_reserved_is_held(place: Place) -> None:
    terms = place.claims.terms("search", (rate(concurrency=1),), (quota(1000),))
    claim(place, terms, "a", bound=(700, 1))
    place.advance(59.9)
    assert claim(place, terms, "b").verdict == Verdict.RATE_SHORT
    place.advance(0.2)
    assert claim(place, terms, "b", bound=(301, 1)).verdict == Verdict.QUOTA_SHORT
    assert claim(place, terms, "b", bound=(300, 1)).verdict == Verdict.ADMITTED
    settle(place, "a", spent=(7, 1))
    assert claim(place, terms, "c").verdict == Verdict.RATE_SHORT, "its place was free already"
    assert place.held() == 300


def test_calls_that_go_on_are_renewed_also_those_that_were_thought_to_be_gone(place: Place) -> None:
    terms = place.claims.terms("search", (rate(concurrency=2),), ())
    claim(place, terms, "a")
    for _ in range(9):
        place.advance(20)
        done(place.claims.keep())
    assert claim(place, terms, "b").standing is not None
    assert claim(place, terms, "c").verdict == Verdict.RATE_SHORT
    place.advance(61)
    run_script(place.client, load_script("lapsed"), (place.tag,), (place.now_ms, 0, 10))
    assert claim(place, terms, "c").verdict == Verdict.ADMITTED
    done(place.claims.keep())
    settle(place, "c")
    assert claim(place, terms, "d").verdict == Verdict.RATE_SHORT, "a and b are back"
    settle(place, "a")
    assert claim(place, terms, "d").verdict == Verdict.ADMITTED


def test_whoever_keeps_the_books_is_told_of_calls_whose_lease_ran_out_and_frees_them(place: Place) -> None:
    terms = place.claims.terms("search", (rate(tpm=100, concurrency=3),), (quota(1000), quota(100, "tokens", "ci")))
    claim(place, terms, "a", 40, (500, 100))
    place.client.zadd(f"{place.tag}:leases", {"a": 5})
    [found] = lapsed(place.client, place.tag, 0, 10)
    assert (found.call_id, found.intent) == ("a", intent("a"))
    assert lapsed(place.client, place.tag, 60_000, 10) == [], "it has not lapsed for so long"
    give_up(place.client, place.tag, "a")
    assert place.held() == 0
    assert lapsed(place.client, place.tag, 0, 10) == []


def test_tokens_of_a_call_that_was_given_up_long_after_are_not_given_to_others(place: Place) -> None:
    terms = place.claims.terms("search", (rate(tpm=100),), ())
    claim(place, terms, "a", 80)
    place.advance(360)
    claim(place, terms, "b")
    place.claims.void("search", "a")
    assert not place.has("claim:a")
    assert claim(place, terms, "c", 100).standing[2] == 0, "nobody knows that it did not use them"


# -- quotas --


def test_a_quota_is_held_as_long_as_the_call_lasts_and_counted_once_when_it_ends(place: Place) -> None:
    terms = place.claims.terms("search", (), (quota(1000), quota(500, "tokens", "ci", at=0)))
    told = claim(place, terms, "a", bound=(600, 200))
    assert list(told.standing) == [0, 600, 0, 200]
    short = claim(place, terms, "b", bound=(401, 1))
    assert (short.verdict, short.which, list(short.standing)) == (Verdict.QUOTA_SHORT, 1, [0, 600, 0, 200])
    assert claim(place, terms, "b", bound=(1, 301)).which == 2
    for _ in range(2):
        settle(place, "a", spent=(123, 45))
    assert place.held() == 0
    assert (place.counts(f"quota:{MONTH}"), place.counts(f"quota:{DAY}")) == ({USD: 123}, {"tokens\nci": 45})
    assert place.counts(f"use:{DAY}") == {"ci\nchat\ncalls": 1, "ci\nchat\nnusd": 123, "ci\nchat\ntokens": 45}
    book(place, "a", 123, 45)
    assert place.counts(f"quota:{MONTH}") == {USD: 123}
    assert not place.has("counted:a")


def test_a_quota_begins_with_what_was_used_of_its_models_before_anybody_asked_for_it(place: Place) -> None:
    book(place, "x", 70, 7)
    all_of_it, of_others = quota(100), quota(100)._replace(quota="usd\n\nlarge\nsmall")
    terms = place.claims.terms("search", (), (all_of_it, of_others, quota(100, key_name="web"), quota(9, "tokens")))
    assert list(claim(place, terms, "a").standing) == [70, 0, 0, 0, 0, 0, 7, 0]
    assert done(place.claims.look(terms)) == [70, 0, 0, 0, 0, 0, 7, 0]
    assert int(place.client.ttl(f"{place.tag}:quota:{MONTH}")) > 0


def test_a_call_of_which_only_the_books_hear_is_freed_and_counted_by_them(place: Place) -> None:
    terms = place.claims.terms("search", (rate(tpm=1000, concurrency=1),), (quota(1000),))
    claim(place, terms, "a", 400, (600, 200))
    book(place, "a", 123, 45)
    settle(place, "a", 45, (123, 45))
    told = claim(place, terms, "b", 0, (877, 1))
    assert (told.verdict, list(told.standing)[4:]) == (Verdict.ADMITTED, [123, 877])


def test_what_a_call_is_exempt_from_is_counted_all_the_same(place: Place) -> None:
    terms = place.claims.terms("search", (), (quota(100), quota(1000, "tokens")))
    told = done(place.claims.claim(terms, "a", 0, (101, 5), b"", 1))
    assert (told.verdict, list(told.standing)) == (Verdict.ADMITTED, [0, 101, 0, 5])
    assert not done(place.claims.extend(terms, "a", 2, (1, 996), 1))
    assert done(place.claims.extend(terms, "a", 2, (1, 995), 1))


def test_of_a_spent_quota_that_leaves_the_cache_the_rates_are_taken_alone(place: Place) -> None:
    terms = place.claims.terms(
        "search", (rate(rpm=2, tpm=100),), (quota(100, is_cache_only=True), quota(10, "tokens", is_cache_only=False))
    )
    told = done(place.claims.claim(terms, "a", 30, (101, 5), b"", may_cache=True))
    assert (told.verdict, told.which, list(told.standing)[::2]) == (Verdict.CACHE_ONLY, 1, [1, 70, 0, 0])
    assert done(place.claims.claim(terms, "b", 30, (101, 11), b"", may_cache=True)).verdict == Verdict.QUOTA_SHORT
    assert done(place.claims.claim(terms, "b", 30, (101, 5), b"")).verdict == Verdict.QUOTA_SHORT
    place.claims.void("search", "a")
    assert list(claim(place, terms, "c", 0).standing)[::2] == [1, 100, 0, 0], "not even a request was used"


def test_one_more_attempt_is_reserved_once_and_all_of_it_is_freed(place: Place) -> None:
    terms = place.claims.terms("search", (), (quota(1000),))
    claim(place, terms, "a", bound=(400, 1))
    for _ in range(3):
        assert done(place.claims.extend(terms, "a", 2, (400, 1)))
    assert place.held() == 800
    assert not done(place.claims.extend(terms, "a", 3, (201, 1)))
    settle(place, "a", spent=(900, 1))
    assert (place.held(), place.counts(f"quota:{MONTH}")) == (0, {USD: 900})
    assert not done(place.claims.extend(terms, "a", 4, (1, 1))), "it is over"


def test_amounts_beyond_what_counters_hold_break_nothing(place: Place) -> None:
    terms = place.claims.terms("search", (rate(tpm=10),), (quota(10**21),))
    assert claim(place, terms, "a", 10**30, (10**30, 10**30)).verdict == Verdict.ADMITTED
    settle(place, "a", 10**30, (10**30, 10**30))
    assert (place.held(), place.counts(f"quota:{MONTH}")) == (0, {USD: 2**53})


# -- what gets lost --


def test_a_claim_that_comes_after_it_was_given_up_takes_nothing(place: Place) -> None:
    terms = place.claims.terms("search", (rate(rpm=5, concurrency=1),), (quota(1000),))
    place.claims.void("search", "a")
    assert claim(place, terms, "a", bound=(600, 1)).verdict == Verdict.KNOWN
    book(place, "a", 0, 0)
    settle(place, "a")
    assert claim(place, terms, "a", bound=(600, 1)).verdict == Verdict.KNOWN
    assert claim(place, terms, "b", bound=(1000, 1)).standing[0] == 4


def test_what_is_to_be_given_up_while_redis_is_away_waits_until_it_is_back(place: Place) -> None:
    terms = place.claims.terms("search", (rate(concurrency=1),), ())
    place.link.loses_answers = True
    with pytest.raises(StateAway):
        claim(place, terms, "a")
    place.claims.void("search", "a")
    done(place.claims.keep())
    assert place.has("claim:a")
    place.link.is_away = place.link.loses_answers = False
    done(place.claims.keep())
    assert not place.client.get(f"{place.tag}:claim:a")
    assert claim(place, terms, "b").verdict == Verdict.ADMITTED


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_sent_twice_or_lost_all_is_free_and_counted_once_when_it_is_booked(
    client: redis.Redis, seed: int
) -> None:
    rng, place = Random(seed), Place(client)
    rates = (rate(rpm=10_000, tpm=100_000, concurrency=1000), rate("ci", concurrency=1000))
    terms = place.claims.terms("search", rates, (quota(10**9), quota(10**9, "tokens", "ci", at=0)))
    sent: list[tuple[str, Any]] = []  # what is on its way, of which some comes twice, and some never
    spent: dict[str, tuple[int, int]] = {}
    for number in range(30):
        call, cost = f"c{number}", (rng.randrange(5000), rng.randrange(50))
        spent[call] = cost
        steps: list[Any] = [lambda call=call: claim(place, terms, call, rng.randrange(100), (5000, 50))]
        if rng.random() < 0.4:
            steps.append(lambda call=call: done(place.claims.extend(terms, call, 2, (5000, 50))))
        if rng.random() < 0.8:
            steps.append(lambda call=call, cost=cost: settle(place, call, rng.choice([None, cost[1]]), cost))
        else:
            steps.append(lambda call=call: place.claims.void("search", call))
        sent += [(call, step) for step in steps if rng.random() < 0.8 for _ in range(rng.choice([1, 1, 2]))]
    if rng.random() < 0.5:
        rng.shuffle(sent)
    for at, (_, step) in enumerate(sent):
        step()
        place.advance(rng.choice([0, 0.1, 5]))
        if at % 17 == 0:
            client.script_flush()
    for call, cost in spent.items():
        book(place, call, *cost)
    for call in spent:  # of those that came after they were booked, the sweep finds the lease, or nobody does
        place.claims.void("search", call)
    money, tokens = (sum(cost[at] for cost in spent.values()) for at in (0, 1))
    assert place.held() == 0
    assert place.counts(f"quota:{MONTH}").get(USD, money) == money
    assert place.counts(f"use:{DAY}") == {
        "ci\nchat\ncalls": len(spent),
        "ci\nchat\nnusd": money,
        "ci\nchat\ntokens": tokens,
    }
    assert not place.client.keys(f"{place.tag}:counted:*")
    assert not place.has("leases")
    one = place.claims.terms("search", (rate(concurrency=1), rate("ci", concurrency=1)), ())
    assert claim(place, one, "last").verdict == Verdict.ADMITTED


def test_a_full_redis_lets_nobody_in_and_lets_everybody_out(place: Place) -> None:
    terms = place.claims.terms("search", (rate(rpm=5, concurrency=2),), (quota(1000),))
    claim(place, terms, "a", bound=(600, 1))
    place.client.config_set("maxmemory", 1)
    try:
        with pytest.raises(StateFailed):
            claim(place, terms, "b")
        settle(place, "a", 0, (7, 1))
    finally:
        place.client.config_set("maxmemory", 0)
    assert (place.held(), place.counts(f"quota:{MONTH}")) == (0, {USD: 7})


def test_scripts_run_on_a_redis_before_version_7_without_their_flags() -> None:
    for name in ("settle", "void", "renew", "lapsed"):
        script = load_script(name)
        assert script.source.startswith(b"#!lua flags=allow-oom\n")
        assert b"#!lua" not in script.without_flags.source


# -- what is read --


async def test_uses_are_read_of_teams_that_are_configured_and_of_those_that_have_books(place: Place) -> None:
    book(place, "a", 70, 7)
    place.client.sadd(f"{place.keys.fleet}:teams", "search")
    [use] = await place.claims.uses(["sales"], str(MONTH))
    assert use == ("search", "ci", "chat", 1, 7, 70)


def test_one_process_is_the_first_to_tell(place: Place) -> None:
    told = [done(place.claims.tell("search", quota(5), event)) for event in ("0.5\n5", "0.5\n5", "1\n5")]
    assert told == [True, False, True]
    assert int(place.client.ttl(f"{place.tag}:told:{MONTH}")) > 0
