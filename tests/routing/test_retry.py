import time
from collections.abc import Iterator
from email.utils import formatdate
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.retry import RetryBudget, RetrySettings, backoff_s, cap_retry_after, parse_retry_after

SETTINGS = RetrySettings()
NOW = 1_750_000_000.0


def taken(budget: RetryBudget, now: float, wanted: int = 1000) -> int:
    return sum(budget.withdraw(now) for _ in range(wanted))


def test_without_traffic_the_floor_is_all_there_is() -> None:
    budget = RetryBudget(SETTINGS)
    assert taken(budget, 100.0) == 100
    assert not budget.has(100.0)


@pytest.mark.parametrize(("max_ratio", "calls"), [(0.2, 5), (0.1, 10)])
def test_so_many_calls_pay_for_one_retry(max_ratio: float, calls: int) -> None:
    budget = RetryBudget(RetrySettings(max_ratio=max_ratio, floor_per_s=0.0))
    for call in range(1, calls + 1):
        assert not budget.has(100.0)
        budget.deposit(100.0)
        assert budget.has(100.0) is (call == calls)
    assert budget.withdraw(100.0)
    assert not budget.withdraw(100.0)


def test_asking_takes_nothing() -> None:
    budget = RetryBudget(RetrySettings(floor_per_s=0.1))
    assert [budget.has(1.0) for _ in range(5)] == [True] * 5
    assert taken(budget, 1.0) == 1


def test_deposits_live_ten_seconds() -> None:
    budget = RetryBudget(RetrySettings(floor_per_s=0.0))
    for _ in range(50):
        budget.deposit(100.0)
    assert budget.has(109.9)
    assert not budget.has(111.0)


def test_the_floor_comes_back() -> None:
    budget = RetryBudget(SETTINGS)
    assert taken(budget, 100.0) == 100
    assert taken(budget, 109.9) == 0
    assert taken(budget, 111.0) == 100


@given(
    st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(0, 100), st.integers(0, 150)), max_size=40),
    st.sampled_from([0.0, 0.5, 3.0]),
)
def test_no_ten_seconds_see_more_retries_than_ratio_and_floor(
    steps: list[tuple[float, int, int]], floor_per_s: float
) -> None:
    budget = RetryBudget(RetrySettings(floor_per_s=floor_per_s))
    now, calls, retries = 0.0, list[tuple[float, int]](), list[tuple[float, int]]()
    for elapsed, deposits, wanted in steps:
        now += elapsed
        for _ in range(deposits):
            budget.deposit(now)
        calls.append((now, deposits))
        retries.append((now, taken(budget, now, wanted)))
        recent_retries = sum(count for at, count in retries if now - at < 10.0)
        # A deposit lives up to 11 s, and may pay for a retry at the beginning of the ten seconds.
        recent_calls = sum(count for at, count in calls if now - at < 21.0)
        assert recent_retries <= 0.2 * recent_calls + 10 * floor_per_s + 1e-6


def test_back_off_spreads_evenly_below_a_bound_that_doubles() -> None:
    rng = Random(1)
    for attempt, bound in enumerate([0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]):
        waits = [backoff_s(SETTINGS, attempt, rng) for _ in range(2000)]
        assert 0.0 <= min(waits) < 0.02 * bound
        assert 0.98 * bound < max(waits) <= bound
        assert sum(waits) / 2000 == pytest.approx(bound / 2, rel=0.05)


@given(st.integers(0, 10**6), st.integers())
def test_back_off_is_finite_for_any_attempt(attempt: int, seed: int) -> None:
    assert 0.0 <= backoff_s(SETTINGS, attempt, Random(seed)) <= 2.0


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "20"}, 20.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "7."}, 7.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": ".5"}, 0.0005),
        ({"retry-after-ms": "250", "retry-after": "20"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "20"}, 20.0),
        ({"retry-after-ms": "-1", "retry-after": "20"}, 20.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "1_000"}, None),
        ({"retry-after": "1e3"}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "."}, None),
        ({"retry-after": "20, 20"}, None),
        ({"retry-after": "tomorrow"}, None),
        ({"retry-after": "Fri, 99 Foo 2026 99:99:99 GMT"}, None),
        ({"retry-after": formatdate(NOW + 30, usegmt=True)}, 30.0),
        ({"retry-after": formatdate(NOW + 30, usegmt=True).replace("GMT", "-0000")}, 30.0),
        ({"retry-after": formatdate(NOW + 30, usegmt=True).replace(" GMT", "")}, 30.0),
        ({"retry-after": formatdate(NOW, usegmt=True)}, 0.0),
        ({"retry-after": formatdate(NOW - 30, usegmt=True)}, None),
        ({"retry-after": "Sunday, 06-Nov-94 08:49:37 GMT"}, None),
    ],
)
def test_what_a_provider_asks_for_is_read_and_nonsense_is_not(headers: dict[str, str], expected: float | None) -> None:
    assert parse_retry_after(headers, NOW) == expected


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("in_tokyo")
@pytest.mark.parametrize("zone", [" GMT", " -0000", ""])
def test_a_date_is_read_as_gmt_wherever_we_are(zone: str) -> None:
    date = formatdate(NOW + 30, usegmt=True).removesuffix(" GMT") + zone
    assert parse_retry_after({"retry-after": date}, NOW) == 30.0


_DATE_LIKE = st.text(alphabet="0123456789:,+-. GMTSunMonJanFebDecESTZ", max_size=40)


@given(st.one_of(st.text(max_size=40), _DATE_LIKE), st.one_of(st.text(max_size=20), _DATE_LIKE))
def test_no_header_breaks_the_parser(seconds: str, millis: str) -> None:
    parsed = parse_retry_after({"retry-after": seconds, "retry-after-ms": millis}, NOW)
    assert parsed is None or 0.0 <= parsed < float("inf")


@given(st.floats(0.0, 1e9), st.floats(0.1, 1e4))
def test_a_wait_is_capped_and_an_absurd_one_is_said_to_be(seconds: float, cap_s: float) -> None:
    capped, is_absurd = cap_retry_after(seconds, cap_s)
    assert capped == (cap_s if is_absurd else seconds)
    assert capped <= cap_s


def test_a_minute_is_the_longest_wait_unless_told_otherwise() -> None:
    assert cap_retry_after(60.0) == (60.0, False)
    assert cap_retry_after(86_400.0) == (60.0, True)
