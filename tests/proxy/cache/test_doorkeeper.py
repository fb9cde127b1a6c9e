from hashlib import blake2b

from proxy.cache.doorkeeper import Doorkeeper
from proxy.cache.store import Stats

FULL = Stats(1000, 900_000, 1_000_000, 0, 0, 0, 9_000)  # one nano-dollar for 100 bytes
EMPTY = Stats(0, 100_000, 1_000_000, 0, 0, 0, 0)


def key(number: int) -> bytes:
    return blake2b(number.to_bytes(8, "big"), digest_size=32).digest()


def test_a_large_answer_that_saves_little_is_kept_when_it_is_asked_for_again() -> None:
    door = Doorkeeper()
    assert not door.lets_in(key(1), 100_000, 0, FULL)
    assert door.lets_in(key(1), 100_000, 0, FULL)


def test_one_that_saves_more_for_its_bytes_than_others_is_kept_at_once() -> None:
    assert Doorkeeper().lets_in(key(1), 100_000, 1001, FULL)
    assert not Doorkeeper().lets_in(key(1), 100_000, 1000, FULL)


def test_small_answers_are_kept_and_all_are_while_there_is_room() -> None:
    assert Doorkeeper().lets_in(key(1), 64_000, 0, FULL)
    assert Doorkeeper().lets_in(key(1), 900_000, 0, EMPTY)


def test_it_remembers_the_latest_and_no_more() -> None:
    door = Doorkeeper()
    for number in range(10_001):
        door.lets_in(key(number), 100_000, 0, FULL)
    assert door.lets_in(key(1), 100_000, 0, FULL)
    for number in range(20_000, 32_000):
        door.lets_in(key(number), 100_000, 0, FULL)
    assert not door.lets_in(key(2), 100_000, 0, FULL)
