import numpy as np
from numpy.typing import NDArray

from proxy.cache.nearest.matrix import Sketcher
from proxy.cache.nearest.scope import Entry, Scope

SKETCHER = Sketcher(64)


def vector(seed: int) -> NDArray[np.float32]:
    numbers = np.random.default_rng(seed).standard_normal(64, dtype=np.float32)
    numbers /= np.linalg.norm(numbers)
    return numbers


def entry(number: int, text: str = "") -> Entry:
    return Entry(number.to_bytes(4), b"scope", "search", text or f"text {number}", 1e9)


def filled(count: int) -> tuple[Scope, list[Entry]]:
    scope, entries = Scope(SKETCHER), [entry(number) for number in range(count)]
    for number, one in enumerate(entries):
        scope.add(one, vector(number))
    return scope, entries


def test_in_a_small_scope_all_are_candidates_by_cosine() -> None:
    scope, entries = filled(16)
    found = scope.nearest("text 3", vector(3))
    assert {one.id for one, _ in found} == {one.id for one in entries}
    assert found[0][0] is entries[3]
    assert found[0][1].cosine > 0.99
    cosines = [candidate.cosine for _, candidate in found]
    assert cosines == sorted(cosines, reverse=True)
    assert not any(candidate.is_lexical for _, candidate in found)


def test_in_a_larger_one_eight_are_by_meaning_and_eight_by_words() -> None:
    scope, entries = filled(17)
    scope.add(entry(900, "parrot cage"), vector(900))
    for number in range(20, 200):
        scope.add(entry(number), vector(number))
    found = scope.nearest("a parrot", vector(3))
    assert len(found) == 9
    assert found[0][0] is entries[3]
    assert [one.text for one, candidate in found if candidate.is_lexical] == ["parrot cage"]
    assert 8 <= len(scope.nearest("text 3", vector(3))) <= 16


def test_texts_that_came_before_the_words_were_kept_are_found_by_words() -> None:
    scope = Scope(SKETCHER)
    scope.add(entry(0, "a parrot"), vector(0))
    for number in range(1, 60):
        scope.add(entry(number), vector(number))
    assert any(one.text == "a parrot" for one, _ in scope.nearest("parrot", vector(1000)))


def test_what_is_removed_is_found_no_more_and_the_others_still_are() -> None:
    scope, entries = filled(60)
    for one in entries[:50:2]:
        scope.remove(one)
    assert len(scope) == 35
    for number, one in enumerate(entries):
        found = [found for found, _ in scope.nearest(one.text, vector(number))]
        assert (one in found) == (number % 2 == 1 or number >= 50)


def test_a_pending_entry_is_not_found_until_it_has_a_vector() -> None:
    scope, one = Scope(SKETCHER), entry(0)
    scope.pending = one
    assert len(scope) == 1
    assert scope.nearest("text 0", vector(0)) == []
    scope.place(one, vector(0))
    assert len(scope) == 1
    assert [found for found, _ in scope.nearest("text 0", vector(0))] == [one]


def test_a_vector_for_one_that_is_pending_no_more_changes_nothing() -> None:
    scope, one = Scope(SKETCHER), entry(0)
    scope.pending = one
    scope.remove(one)
    scope.place(one, vector(0))
    assert len(scope) == 0


def test_an_emptied_scope_takes_what_an_empty_one_does_but_for_nothing() -> None:
    empty = Scope(SKETCHER).used_bytes
    scope, entries = filled(100)
    assert scope.used_bytes > empty + 100 * 64
    for one in entries:
        scope.remove(one)
    assert scope.used_bytes == empty
