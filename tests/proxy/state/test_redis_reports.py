"""What is of Redis alone; the rest is in test_base.py."""

import threading
from collections.abc import Iterator

import pytest

from proxy.state import Position, StateFailed, open_redis_reports
from proxy.state.base import StateAway
from proxy.state.redis_books import read_rows, suffix
from tests.books import MORNING_MS, NOVEMBER, booking, settlement
from tests.ledgers import RedisBooks, enter_three
from tests.redis_server import RedisServer, free_port, redis_server

pytestmark = pytest.mark.integration

DAY = "2026-11-21"


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


@pytest.mark.parametrize("table", ["hour", "day"])
def test_sums_that_are_not_what_the_calls_come_to_are_told(books: RedisBooks, table: str) -> None:
    assert books.reports.drift(NOVEMBER) == []
    books.client.bitfield(f"{books.keys.team('search')}:sums:{table}:{DAY}").incrby("i64", "#3", 1).execute()
    (found,) = books.reports.drift(NOVEMBER)
    assert (found.day, found.table) == (DAY, table)
    assert (found.calls.cost_nusd, found.sums.cost_nusd) == (500, 501)


def test_the_drift_of_one_team_is_told_by_itself(books: RedisBooks) -> None:
    books.client.bitfield(f"{books.keys.team('sales')}:sums:day:{DAY}").set("i64", "#0", 9).execute()
    assert [(one.day, one.calls.calls, one.sums.calls) for one in books.reports.drift(NOVEMBER)] == [(DAY, 2, 10)]
    assert books.reports.drift(NOVEMBER, "search") == []
    assert [one.calls.calls for one in books.reports.drift(NOVEMBER, "sales")] == [1]


def test_what_is_entered_meanwhile_is_no_drift(books: RedisBooks, server: RedisServer) -> None:
    writer, stop = RedisBooks(server.url, books.keys.namespace, "other"), threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            many = [settlement(f"{number} {n}", began_ms=MORNING_MS + number) for n in range(20)]
            writer.store.fold((), [booking(one) for one in many], Position())
            number += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert [books.reports.drift(NOVEMBER) for _ in range(30)] == [[]] * 30
        for _ in range(10):
            (day,) = books.reports.sums(NOVEMBER, where={"team": "search"})
            assert day.sums.cost_nusd == 500 * day.sums.calls  # never part of a call
    finally:
        stop.set()
        thread.join()
    writer.close()


def test_groups_that_lie_apart_are_read_apart(books: RedisBooks) -> None:
    tag = books.keys.team("search")
    assert set(books.client.smembers(f"{tag}:books:days")) == {DAY.encode(), suffix(DAY, "env").encode()}
    for name in (DAY, suffix(DAY, "env")):
        assert len(read_rows(books.client.get(f"{tag}:sums:day:{name}"))) == 2  # type: ignore[arg-type]


def test_grants_are_told_by_who_knows_them(server: RedisServer) -> None:
    reports = open_redis_reports(server.url, "nobody", lambda at_ms: {("search", "usd per day"): at_ms})
    assert reports.granted(7) == {("search", "usd per day"): 7}
    assert open_redis_reports(server.url, "nobody").granted(7) == {}


def test_a_redis_that_is_not_there_is_a_failure_of_the_moment() -> None:
    reports = open_redis_reports(f"redis://127.0.0.1:{free_port()}/0", "nobody")
    with pytest.raises(StateAway):
        reports.extent()
    with pytest.raises(StateFailed):
        reports.use(NOVEMBER)
