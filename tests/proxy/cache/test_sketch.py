from hashlib import blake2b

from hypothesis import given
from hypothesis import strategies as st

from proxy.cache.sketch import Sketch


def key(number: int) -> bytes:
    return blake2b(number.to_bytes(8, "big"), digest_size=32).digest()


@given(st.sets(st.integers(0, 10**9), max_size=300))
def test_it_never_says_no_to_a_key_that_is_there(numbers: set[int]) -> None:
    sketch = Sketch(10**6)
    for number in numbers:
        sketch.add(key(number))
    assert all(sketch.may_have(key(number)) for number in numbers)


def test_it_seldom_says_yes_to_one_that_is_not() -> None:
    budget = 15_000_000
    sketch = Sketch(budget)
    for number in range(budget // 1500):
        sketch.add(key(number))
    wrong = sum(sketch.may_have(key(number)) for number in range(10**6, 10**6 + 20_000))
    assert wrong < 20_000 / 70


def test_an_empty_one_has_nothing() -> None:
    assert not Sketch(0).may_have(key(1))


def test_one_that_took_twice_what_it_is_for_is_worn() -> None:
    sketch = Sketch(15_000_000)
    for number in range(19_999):
        sketch.add(key(number))
    assert not sketch.is_worn
    sketch.add(key(0))
    assert sketch.is_worn
