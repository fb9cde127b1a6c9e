"""What is of Redis alone; the rest is in test_base.py."""

from collections.abc import Iterator

import pytest

from proxy.state import Position, StateFailed, orphan_of
from proxy.state import redis_calls as module
from proxy.state.redis_entries import hour_of
from tests.books import MORNING_MS, NOVEMBER, attempt, booked_at, booking, intent, settlement
from tests.ledgers import RedisBooks, enter_three
from tests.redis_server import RedisServer, redis_server

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def books(server: RedisServer) -> Iterator[RedisBooks]:
    """See `enter_three`."""
    books = RedisBooks(server.url)
    enter_three(books.store)
    yield books
    books.close()


def test_a_lost_call_is_told(books: RedisBooks) -> None:
    books.client.hdel(f"{books.keys.team('sales')}:calls:{hour_of(MORNING_MS) + 24}", "c")
    assert [(one.day, one.table, one.calls.calls, one.sums.calls) for one in books.reports.drift(NOVEMBER)] == [
        ("2026-11-22", "day", 0, 1),
        ("2026-11-22", "hour", 0, 1),
    ]


def test_sums_that_are_lost_are_told(books: RedisBooks) -> None:
    books.client.srem(f"{books.keys.team('sales')}:books:days", "2026-11-22")
    assert [(one.day, one.calls.calls, one.sums.calls) for one in books.reports.drift(NOVEMBER)] == [
        ("2026-11-22", 1, 0),
        ("2026-11-22", 1, 0),
    ]


def test_a_call_is_found_by_the_time_in_its_id_also_in_the_hour_beside(books: RedisBooks) -> None:
    for number, began_ms in enumerate((MORNING_MS - 1, MORNING_MS, MORNING_MS + 3_599_999)):
        one = settlement(f"req_{MORNING_MS:012x}{number:020x}", began_ms=began_ms)
        books.store.fold((), [booking(one)], Position())
        assert books.reports.call(one.call_id) == one
        assert books.client.hget(f"{books.keys.team('search')}:named:{hour_of(began_ms) // 24}", one.call_id) is None


def test_a_call_whose_clock_was_set_back_is_found_all_the_same(books: RedisBooks) -> None:
    one = settlement(f"req_{MORNING_MS:012x}{1:020x}", began_ms=MORNING_MS - 10 * 3_600_000)
    books.store.fold((), [booking(one)], Position())
    assert books.reports.call(one.call_id) == one


def test_many_calls_are_read_piece_by_piece(books: RedisBooks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 10)
    books.store.fold((), [booking(settlement(f"n{n}", began_ms=MORNING_MS)) for n in range(1000)], Position())
    assert books.reports.drift(NOVEMBER) == []
    assert [one.attempts for one in books.reports.charged("openai", MORNING_MS, MORNING_MS + 1)] == [1000, 1]


def test_an_orphan_and_what_became_of_it_are_charged_as_it_was(books: RedisBooks) -> None:
    orphan = orphan_of(intent("o"), MORNING_MS)
    late = settlement("o", attempt("openai", 7, credential_id="9z"))
    books.store.fold((), [booking(orphan), booked_at(late, "2026-11-21T09:00")], Position())
    assert [one for one in books.reports.charged("openai", 0, 2 * MORNING_MS) if one.credential_id] == [
        ("9z", "2026-11-21", "reported", 1, 7, 7, 7)
    ]
    assert books.reports.charged("", 0, 2 * MORNING_MS) == [("", "2026-11-21", "unmetered", 0, 0, 0, 0)]
    assert books.reports.drift(NOVEMBER) == []


def test_something_else_in_place_of_a_call_is_told(books: RedisBooks) -> None:
    books.client.hset(f"{books.keys.team('search')}:calls:{hour_of(MORNING_MS)}", "a", "rubbish")
    with pytest.raises(StateFailed, match="something else than a call"):
        books.reports.drift(NOVEMBER)
    with pytest.raises(StateFailed, match="something else than a call"):
        books.reports.call("a")
