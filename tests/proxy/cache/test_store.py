import tracemalloc
from dataclasses import replace
from random import Random

import pytest

from proxy.cache.store import OVERHEAD_BYTES, Store, Stored

NOW_S = 1_790_000_000.0
MB = 1_000_000
ENTRY = Stored(b"x" * 1000, "search", "chat", b"s" * 32, "req_1", "req_1", "chatcmpl-1", NOW_S, 5)


def entry(team: str = "search", size_bytes: int = 1000, stored_at: float = NOW_S) -> Stored:
    return replace(ENTRY, body=b"x" * size_bytes, team=team, stored_at=stored_at)


def store(budget_bytes: int = MB) -> Store:
    return Store(budget_bytes, Random(1))


def key(number: int, team: str = "search") -> bytes:
    return f"{team} {number}".encode()


def test_what_was_added_is_found() -> None:
    one = store()
    assert one.find(key(1), NOW_S, 60) is None
    assert one.add(key(1), ENTRY)
    assert one.find(key(1), NOW_S, 60) is ENTRY
    assert one.stats.entries == 1
    assert one.stats.used_bytes == 1000 + OVERHEAD_BYTES


def test_a_later_answer_takes_the_place_of_an_earlier_one() -> None:
    one, later = store(), entry(size_bytes=10)
    one.add(key(1), ENTRY)
    one.add(key(1), later)
    assert one.find(key(1), NOW_S, 60) is later
    assert one.stats.used_bytes == 10 + OVERHEAD_BYTES


def test_an_answer_ends_at_its_time_or_up_to_a_tenth_before() -> None:
    one = store(100 * MB)
    for number in range(1000):
        one.add(key(number), ENTRY)
    assert all(one.find(key(number), NOW_S + 90, 100) for number in range(1000))
    left = sum(one.find(key(number), NOW_S + 95, 100) is not None for number in range(1000))
    assert 400 < left < 600
    assert not any(one.find(key(number), NOW_S + 100, 100) for number in range(1000))
    assert (one.stats.entries, one.stats.expired) == (0, 1000)


def test_a_shorter_time_to_live_acts_on_what_is_there() -> None:
    one = store()
    one.add(key(1), ENTRY)
    assert one.find(key(1), NOW_S + 30, 60) is ENTRY
    assert one.find(key(1), NOW_S + 30, 20) is None


def test_the_budget_holds_whatever_comes() -> None:
    one, rng = store(), Random(2)
    for number in range(20_000):
        team = rng.choice("abc")
        one.add(key(number, team), entry(team, rng.choice([0, 10, 5000, 60_000, 10 * MB])))
        assert one.stats.used_bytes <= MB
        one.find(key(rng.randint(0, number), team), NOW_S, 60)
    assert one.stats.entries > 10


def test_the_memory_it_takes_is_what_it_says() -> None:
    one, scope = store(8 * MB), b"s" * 32
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(30_000):
            body, ids = b"%050d" % number, (f"req_{number:032x}", f"chatcmpl-{number:029d}")
            one.add(
                b"%032d" % number,
                Stored(body, "search", "chat", scope, ids[0], ids[0], ids[1], NOW_S + number, number + 10**9),
            )
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert one.stats.evicted > 10_000
    assert 0.5 * one.stats.used_bytes < taken < one.stats.used_bytes


def test_what_is_asked_for_outlives_what_is_not() -> None:
    one = store()
    one.add(key(0), ENTRY)
    for number in range(1, 5000):
        one.add(key(number), ENTRY)
        one.find(key(0), NOW_S, 60)
    assert one.find(key(0), NOW_S, 60) is ENTRY
    assert one.find(key(1), NOW_S, 60) is None


def test_when_all_are_asked_for_one_gives_way_all_the_same() -> None:
    one = store()
    for number in range(2000):
        one.add(key(number), ENTRY)
        one.find(key(number), NOW_S, 60)
    assert one.stats.used_bytes <= MB
    assert one.stats.entries == MB // ENTRY.size_bytes


def test_one_teams_flood_does_not_wash_out_anothers_answers() -> None:
    one = store()
    for number in range(100):
        one.add(key(number, "sales"), entry("sales"))
    for number in range(5000):
        one.add(key(number), ENTRY)
    assert all(one.find(key(number, "sales"), NOW_S, 60) for number in range(100))
    assert sum(one.find(key(number), NOW_S, 60) is not None for number in range(5000)) > 400


def test_a_single_huge_answer_is_not_kept() -> None:
    one = store()
    one.add(key(1), ENTRY)
    assert not one.add(key(1), entry(size_bytes=MB // 16))
    assert one.stats.entries == 0, "the old answer is no better than the new one"


def test_a_smaller_budget_acts_at_once() -> None:
    one = store()
    for number in range(500):
        one.add(key(number, "a" if number % 2 else "b"), entry("a" if number % 2 else "b"))
    one.resize(100_000)
    assert 90_000 < one.stats.used_bytes <= 100_000
    one.resize(0)
    assert one.stats.entries == 0


def test_a_purge_forgets_what_is_meant_and_nothing_else() -> None:
    one = store()
    for number in range(100):
        one.add(key(number, "a" if number < 30 else "b"), entry("a" if number < 30 else "b"))
    assert len(one.purge(lambda stored: stored.team == "a")) == 30
    assert (one.stats.entries, one.stats.purged) == (70, 30)
    assert len(one.purge(lambda stored: True)) == 70
    assert one.stats.used_bytes == 0


@pytest.mark.parametrize("seed", range(5))
def test_its_accounts_are_right_after_anything(seed: int) -> None:
    rng, one = Random(seed), store(50_000)
    for step in range(3000):
        team, number = rng.choice("abc"), rng.randint(0, 60)
        match rng.randint(0, 9):
            case 0:
                one.purge(lambda stored, team=team: stored.team == team and len(stored.body) > 500)  # type: ignore[misc]
            case 1 | 2 | 3:
                one.find(key(number, team), NOW_S + step, 1000)
            case 4:
                one.resize(rng.choice([10_000, 50_000]))
            case _:
                one.add(key(number, team), entry(team, rng.randint(0, 2000), NOW_S + step))
    kept = [found for team in "abc" for n in range(61) if (found := one.find(key(n, team), NOW_S, 10**9))]
    assert one.stats.entries == len(kept)
    assert one.stats.used_bytes == sum(found.size_bytes for found in kept)
