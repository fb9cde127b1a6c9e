from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray

from proxy.cache.nearest.base import Found
from proxy.cache.nearest.collection import Collection
from proxy.cache.nearest.lexical import terms_of
from proxy.cache.nearest.packed import Packed, quantised
from proxy.cache.nearest.scope import Entry

DIMS = 64
NEVER = 1e9


def vector(seed: int) -> NDArray[np.float32]:
    numbers = np.random.default_rng(seed).standard_normal(DIMS, dtype=np.float32)
    numbers /= np.linalg.norm(numbers)
    return numbers


def entry(number: int, scope: str = "s", team: str = "search", expires_at: float = NEVER, text: str = "") -> Entry:
    return Entry(number.to_bytes(32), scope.encode(), team, text or f"text {number}", expires_at)


def find(collection: Collection, number: int, scope: str = "s", now: float = 0.0) -> Found:
    return collection.search(scope.encode(), f"text {number}", vector(number)[None], None, now)


def numbers(found: Found) -> list[int]:
    return [int.from_bytes(one.entry_id) for one in found.candidates]


def filled(count: int, budget_bytes: int = 10**9, scope: str = "s", team: str = "search") -> Collection:
    collection = Collection(DIMS, budget_bytes)
    for number in range(count):
        collection.add(entry(number, scope, team), vector(number), 0.0)
    return collection


def is_sound(collection: Collection) -> bool:
    """Do the books agree with what is there?"""
    used = sum(scope.used_bytes for scope in collection._scopes.values())
    used += sum(one.size_bytes for one in collection._entries.values())
    by_team = [team.used_bytes for team in collection._teams.values()]
    held = {id for team in collection._teams.values() for id in team.entries}
    return (
        used == collection.stats.used_bytes == sum(by_team)
        and held == collection._entries.keys()
        and sum(map(len, collection._scopes.values())) == len(held)
        and all(by_team)
        and all(map(len, collection._scopes.values()))
    )


def test_what_is_found_is_of_the_same_scope_only() -> None:
    collection = filled(10)
    collection.add(entry(99, scope="other", team="sales"), vector(3), 0.0)
    assert numbers(find(collection, 3))[0] == 3
    assert 99 not in numbers(find(collection, 3))
    assert numbers(find(collection, 3, "other")) == [99]
    assert numbers(find(collection, 3, "none")) == []


def test_a_search_gives_the_vector_of_its_text() -> None:
    for collection in (filled(3), filled(0)):
        assert np.array_equal(find(collection, 1).vector, vector(1))  # type: ignore[arg-type]  # it is not None


def test_an_id_stands_for_one_entry_the_last() -> None:
    collection = filled(3)
    collection.add(entry(1, text="another text"), vector(50), 0.0)
    assert collection.stats.entries == 3
    assert collection.search(b"s", "", vector(50)[None], None, 0.0).candidates[0].text == "another text"
    assert is_sound(collection)


def test_what_has_expired_is_not_found_and_makes_way_for_others() -> None:
    collection = filled(40)
    for number in range(100, 116):
        collection.add(Entry(number.to_bytes(32), b"s", "search", "text 3", 50.0), vector(3), 0.0)
    assert len([one for one in numbers(find(collection, 3, now=49.0)) if one >= 100]) >= 7
    found = numbers(find(collection, 3, now=50.0))
    assert found[0] == 3
    assert not [one for one in found if one >= 100]
    assert collection.stats.expired == 16
    assert is_sound(collection)


def test_a_scope_of_expired_entries_ends() -> None:
    collection = Collection(DIMS, 10**9)
    collection.add(entry(1, expires_at=50.0), vector(1), 0.0)
    assert numbers(find(collection, 1, now=60.0)) == []
    assert collection.stats.scopes == 0
    assert collection.stats.used_bytes == 0


def test_adding_drops_the_oldest_that_have_expired() -> None:
    collection = Collection(DIMS, 10**9)
    for number in range(5):
        collection.add(entry(number, scope=f"s{number}", expires_at=10.0), vector(number), 0.0)
    collection.add(entry(9), vector(9), 20.0)
    assert collection.stats.expired == 2
    assert collection.stats.entries == 4


def test_an_entry_without_vector_waits_for_it() -> None:
    collection, first = Collection(DIMS, 10**9), entry(1)
    collection.add(first, None, 0.0)
    assert collection.has_scope(b"s")
    assert collection.pending_of(b"s") is first
    found = collection.search(b"s", "text 1", np.stack([vector(1), vector(1)]), first, 0.0)
    assert numbers(found) == [1]
    assert collection.pending_of(b"s") is None
    assert is_sound(collection)


def test_a_second_one_without_vector_is_dropped() -> None:
    collection = Collection(DIMS, 10**9)
    collection.add(entry(1), None, 0.0)
    collection.add(entry(2), None, 0.0)
    assert collection.stats.entries == 1
    assert collection.stats.dropped == 1


def test_a_pending_entry_that_was_removed_meanwhile_stays_away() -> None:
    collection, first = Collection(DIMS, 10**9), entry(1)
    collection.add(first, None, 0.0)
    collection.add(entry(2), vector(2), 0.0)
    collection.remove([first.id])
    found = collection.search(b"s", "text 1", np.stack([vector(1), vector(1)]), first, 0.0)
    assert numbers(found) == [2]
    assert is_sound(collection)


def test_the_budget_holds_and_the_oldest_give_way() -> None:
    collection = filled(300, 100_000)
    assert collection.stats.used_bytes <= 100_000
    assert collection.stats.evicted == 300 - collection.stats.entries
    assert numbers(find(collection, 299))[0] == 299
    assert 0 not in numbers(find(collection, 0))
    assert is_sound(collection)


def test_what_was_served_gives_way_later() -> None:
    collection = Collection(DIMS, 100_000)
    for number in range(300):
        collection.add(entry(number), vector(number), 0.0)
        collection.touch((0).to_bytes(32))
    assert numbers(find(collection, 0))[0] == 0
    collection.touch(b"unknown")
    assert is_sound(collection)


def test_one_teams_flood_does_not_wash_out_what_another_has() -> None:
    collection = filled(20, 100_000, scope="a", team="small")
    for number in range(1000, 2000):
        collection.add(entry(number, scope="b", team="large"), vector(number), 0.0)
    assert {*range(20)} <= {number for seed in range(20) for number in numbers(find(collection, seed, "a"))}
    assert collection.stats.used_bytes <= 100_000


def test_an_entry_that_would_take_a_sixteenth_is_dropped() -> None:
    collection = Collection(DIMS, 100_000)
    collection.add(entry(1, text="x" * 7000), vector(1), 0.0)
    assert collection.stats.entries == 0
    assert collection.stats.dropped == 1


def test_a_smaller_budget_acts_at_once() -> None:
    collection = filled(100)
    collection.resize(30_000)
    assert 0 < collection.stats.used_bytes <= 30_000
    collection.resize(0)
    assert collection.stats.entries == collection.stats.used_bytes == 0


@pytest.mark.parametrize(
    ("is_meant", "left"),
    [
        (lambda one: one.team == "sales", 10),
        (lambda one: one.team == "sales" or one.id == bytes(32), 9),
        (lambda one: False, 20),
        (lambda one: one.id < (5).to_bytes(32), 15),
        (lambda one: True, 0),
    ],
)
def test_what_is_meant_is_purged(is_meant: Callable[[Entry], bool], left: int) -> None:
    collection = filled(10)
    for number in range(10, 20):
        collection.add(entry(number, scope="t", team="sales"), vector(number), 0.0)
    assert collection.purge(is_meant) == 20 - left
    assert collection.stats.entries == left
    assert is_sound(collection)


def test_removing_what_is_not_there_is_nothing() -> None:
    assert filled(3).remove([b"unknown", (1).to_bytes(32)]) == 1


def test_the_books_agree_after_ten_thousand_changes() -> None:
    random, collection = Random(3), Collection(DIMS, 200_000)
    for step in range(10_000):
        number, kind = random.randrange(600), random.random()
        team = f"team {number % 3}"
        one = entry(number, f"{team} scope {number % 30}", team, expires_at=step + random.randrange(2000))
        if kind < 0.6:
            has_vector = collection.has_scope(one.scope_key) or random.random() < 0.5
            collection.add(one, vector(number) if has_vector else None, float(step))
        elif kind < 0.7:
            collection.remove([one.id])
        elif kind < 0.8:
            collection.touch(one.id)
        else:
            pending = collection.pending_of(one.scope_key)
            vectors = np.stack([vector(number)] * (1 if pending is None else 2))
            collection.search(one.scope_key, one.text, vectors, pending, float(step))
    assert is_sound(collection)
    assert collection.stats.used_bytes <= 200_000
    assert collection.stats.evicted > 100
    assert collection.stats.expired > 100


@pytest.mark.parametrize("scopes", [1, 50, 4000])
def test_memory_is_not_more_than_is_counted(scopes: int) -> None:
    vectors = [vector(number) for number in range(50)]
    tracemalloc.start()
    collection = Collection(DIMS, 10**9)
    before, _ = tracemalloc.get_traced_memory()
    for number in range(4000):
        key = b"scope %d" % (number % scopes)
        collection.add(
            Entry(
                number.to_bytes(32), key, f"team {scopes}", f"is it so that {number} is {number * 7}?", NEVER + number
            ),
            vectors[number % 50],
            0.0,
        )
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0.55 * collection.stats.used_bytes < after - before < collection.stats.used_bytes


def packed(number: int, scope: str = "s", expires_at: float = NEVER, *, has_vector: bool = True) -> Packed:
    one = entry(number, scope, expires_at=expires_at)
    numbers, scale = quantised(vector(number))
    return Packed(one, numbers.tobytes() if has_vector else b"", scale, terms_of(one.text))


def test_what_comes_from_elsewhere_is_found_as_if_it_had_been_added() -> None:
    ours, theirs = filled(60), Collection(DIMS, 10**9)
    for at in range(0, 60, 7):
        assert theirs.take([packed(number) for number in range(at, min(60, at + 7))], 0.0) == []
    assert is_sound(theirs)
    assert theirs.stats.used_bytes < ours.stats.used_bytes, "of a small scope no words are kept before somebody asks"
    for number in (0, 16, 17, 59):
        mine, other = find(ours, number).candidates, find(theirs, number).candidates
        assert [one.entry_id for one in mine] == [one.entry_id for one in other]
        assert is_sound(theirs)
    assert theirs.stats.used_bytes == ours.stats.used_bytes
    for number in range(60):
        theirs.remove([number.to_bytes(32)])
        assert is_sound(theirs)


def test_of_what_is_known_the_later_counts() -> None:
    collection = filled(3)
    collection.take([packed(1, expires_at=NEVER - 1), packed(2, "t", expires_at=NEVER + 1)], 0.0)
    assert is_sound(collection)
    assert collection.stats.scopes == 2
    assert collection._entries[(1).to_bytes(32)].expires_at == NEVER


def test_what_has_no_vector_is_the_first_of_its_scope_or_left_over() -> None:
    collection = Collection(DIMS, 10**9)
    left = collection.take(
        [
            packed(1, "a", has_vector=False),
            packed(2, "a", has_vector=False),
            packed(3, "b", has_vector=False),
            packed(4, "b"),
        ],
        0.0,
    )
    assert [int.from_bytes(one.id) for one in left] == [2, 3]
    assert is_sound(collection)
    pending = collection.pending_of(b"a")
    assert pending is not None
    assert pending.id == (1).to_bytes(32)


def test_what_comes_from_elsewhere_keeps_to_the_budget() -> None:
    collection = Collection(DIMS, 20_000)
    collection.take([packed(number) for number in range(200)], 0.0)
    assert is_sound(collection)
    assert collection.stats.used_bytes <= 20_000
    assert collection.stats.evicted > 0


def test_a_large_scope_from_elsewhere_keeps_its_words_at_once() -> None:
    ours, theirs = filled(300), Collection(DIMS, 10**9)
    for at in range(0, 300, 150):
        theirs.take([packed(number) for number in range(at, at + 150)], 0.0)
    assert is_sound(theirs)
    assert theirs.stats.used_bytes == ours.stats.used_bytes
    assert find(theirs, 7).candidates == find(ours, 7).candidates
