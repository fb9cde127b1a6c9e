"""What is of Redis alone; the rest is in test_base.py."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.state import Booking, EntryRefused, Folded, Payer, Position, StateFailed, StateUnusable, orphan_of
from proxy.state import redis_ledger as module
from proxy.state import redis_replicas as replicas_module
from proxy.state.redis_batch import BATCH
from tests.books import MORNING_MS, NOVEMBER, PAYER, attempt, booking, intent, settlement
from tests.ledgers import DAY_MS, SALES, RedisBooks, first_of
from tests.redis_server import RedisServer, redis_server
from tests.server import wait_until

pytestmark = pytest.mark.integration

NOWHERE = Position()
DAY = "day:2026-11-21"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def books(server: RedisServer) -> Iterator[RedisBooks]:
    books = RedisBooks(server.url)
    yield books
    assert books.reports.drift(NOVEMBER) == []
    books.close()


def beside(books: RedisBooks, server: RedisServer, journal: str = "other") -> RedisBooks:
    """The same books, for another process."""
    return RedisBooks(server.url, books.keys.namespace, journal)


def test_a_call_is_counted_for_quotas_once_however_often_it_is_entered(books: RedisBooks, server: RedisServer) -> None:
    other = beside(books, server)
    for one in (books, other, books):
        one.store.fold((), [booking(settlement("a")), booking(settlement("b"))], NOWHERE)
    for period in (DAY, "week:2026-11-16", "month:2026-11-01"):
        assert books.counted("search", period) == {"ci chat calls": 2, "ci chat nusd": 1000, "ci chat tokens": 60}
    other.close()


def test_what_became_of_an_orphan_is_counted_in_its_place(books: RedisBooks) -> None:
    books.store.fold((), [booking(orphan_of(intent("a"), MORNING_MS))], NOWHERE)
    assert books.counted("search", DAY) == {"ci chat calls": 1, "ci chat nusd": 1000, "ci chat tokens": 100}
    assert books.store.fold((), [booking(settlement("a"))], NOWHERE) == Folded(adjusted=1)
    assert books.counted("search", DAY) == {"ci chat calls": 1, "ci chat nusd": 500, "ci chat tokens": 30}
    assert books.store.fold((), [booking(settlement("a"))], NOWHERE) == Folded(ignored=1)


def test_calls_of_many_teams_and_more_than_go_with_one_trip_are_entered(
    books: RedisBooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TRIP", 50)
    many = [settlement(str(n), payer=Payer(f"team {n % 7}", "key")) for n in range(300)]
    assert books.store.fold((), map(booking, many), NOWHERE) == Folded(booked=300)
    assert books.store.fold((), map(booking, many), NOWHERE) == Folded(ignored=300)
    assert [line.sums.calls for line in books.reports.sums(NOVEMBER, ("team",))] == [43] * 6 + [42]


def test_two_processes_that_enter_the_same_calls_at_once_enter_each_once(
    books: RedisBooks, server: RedisServer
) -> None:
    payers = [PAYER if n % 3 else SALES for n in range(400)]
    many = [settlement(str(n), payer=payer) for n, payer in enumerate(payers)]
    orphans = [orphan_of(replace(intent(str(n)), payer=payers[n]), MORNING_MS) for n in range(0, 400, 5)]
    folds = [[*many, *orphans], [*orphans, *many], [*reversed(many), *orphans], [*orphans, *reversed(many)]]
    writers = [beside(books, server, f"j{n}") for n in range(4)]
    with ThreadPoolExecutor(4) as threads:
        runs = [
            threads.submit(one.store.fold, (), [booking(entry) for entry in entries], NOWHERE)
            for one, entries in zip(writers, folds, strict=True)
        ]
        folded = [run.result() for run in runs]
    assert sum(one.booked for one in folded) == 400
    assert sum(line.sums.cost_nusd for line in books.reports.sums(NOVEMBER)) == 400 * 500
    counts = [books.counted(team, DAY) for team in ("search", "sales")]
    assert sum(value for one in counts for name, value in one.items() if name.endswith("calls")) == 400
    assert sum(value for one in counts for name, value in one.items() if name.endswith("nusd")) == 400 * 500
    for one in writers:
        one.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 4), st.booleans(), st.booleans()), max_size=60))
def test_counters_are_what_the_books_come_to_whoever_enters_what(
    server: RedisServer, steps: list[tuple[int, int, bool, bool]]
) -> None:
    first = RedisBooks(server.url)
    writers = first, beside(first, server)
    pending: tuple[list[Booking], list[Booking]] = ([], [])
    for writer, number, is_orphan, is_folded in steps:
        one = orphan_of(intent(str(number)), MORNING_MS) if is_orphan else settlement(str(number))
        pending[writer].append(booking(one))
        if is_folded:
            writers[writer].store.fold((), pending[writer], NOWHERE)
            pending[writer].clear()
    counted = first.counted("search", DAY)
    for total in first.reports.sums(NOVEMBER):
        assert counted["ci chat calls"] == total.sums.calls
        assert counted["ci chat nusd"] == total.sums.cost_nusd
        assert counted["ci chat tokens"] == total.sums.input_tokens + total.sums.output_tokens
    assert first.reports.drift(NOVEMBER) == []
    for other in writers:
        other.close()


def test_a_position_is_of_one_journal(books: RedisBooks, server: RedisServer) -> None:
    other = beside(books, server)
    books.store.fold((), [booking(settlement("a"))], Position("one", 1))
    assert other.store.position() == Position()
    assert books.store.of("other").position() == Position()
    other.store.fold((), (), Position("two", 2))
    assert (books.store.position(), other.store.position()) == (Position("one", 1), Position("two", 2))
    other.close()


def test_a_redis_that_lost_what_it_had_is_told_of_once(
    books: RedisBooks, server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    for offset in (1, 2):
        books.store.fold((), [booking(settlement(str(offset)))], Position("one", offset))
    assert caplog.messages == []
    with server.client as client:
        client.delete(*client.keys(f"{books.keys.fleet[:-1]}*"))
    for offset in (3, 4):
        books.store.fold((), [booking(settlement(str(offset)))], Position("one", offset))
    [message] = caplog.messages
    assert message.startswith("Redis has lost what it had confirmed")
    assert [line.sums.calls for line in books.reports.sums(NOVEMBER)] == [2]


def test_calls_under_way_are_those_of_one_journal_and_whoever_books_them_closes_them(
    books: RedisBooks, server: RedisServer
) -> None:
    other = beside(books, server)
    books.store.fold([intent("mine"), intent("both")], (), NOWHERE)
    other.store.fold([intent("theirs"), intent("both")], (), NOWHERE)
    assert {one.call_id for one in books.store.open_calls(2**62, 10)} == {"mine", "both"}
    assert [one.call_id for one in other.store.open_calls(2**62, 10)] == ["theirs"]
    other.store.fold((), [booking(settlement("mine")), booking(settlement("both"))], NOWHERE)
    assert books.store.open_calls(2**62, 10) == []
    other.close()


def test_calls_of_a_journal_that_is_lost_are_anybodys(books: RedisBooks, server: RedisServer) -> None:
    other = beside(books, server)
    books.store.fold([intent("a")], (), NOWHERE)
    assert other.store.open_calls(2**62, 10) == []
    journals = f"{books.keys.fleet}:journals"
    books.client.zadd(journals, {"j": int(books.client.time()[0]) * 1000 - module._LOST_MS - 1})
    assert other.store.open_calls(2**62, 10) == [intent("a")]
    other.store.fold((), [booking(orphan_of(intent("a"), MORNING_MS))], NOWHERE)
    assert other.store.open_calls(2**62, 10) == []
    assert other.store.open_calls(2**62, 10) == []
    assert books.client.zrange(journals, 0, -1) == [b"other"]
    other.close()


def test_an_intent_that_is_none_is_left_out(books: RedisBooks) -> None:
    books.store.fold([intent("a"), intent("b")], (), NOWHERE)
    books.client.hset(f"{books.keys.team('search')}:opened", "a", "j\nrubbish")
    books.client.hdel(f"{books.keys.team('search')}:opened", "b")
    assert books.store.open_calls(2**62, 10) == []


def test_what_a_journal_may_enter_again_is_not_forgotten(books: RedisBooks, server: RedisServer) -> None:
    other = beside(books, server)
    other.store.fold((), [booking(settlement("a", began_ms=MORNING_MS - 5 * DAY_MS))], NOWHERE)
    now_ms = int(books.client.time()[0]) * 1000
    books.client.zadd(f"{books.keys.fleet}:journals", {"other": now_ms - 3_600_000})
    calls_from, sums_from = first_of(date(2026, 11, 20)), date(2026, 11, 1)
    assert books.store.retain(calls_from, sums_from, 10) == 0
    assert other.store.fold((), [booking(settlement("a", began_ms=MORNING_MS - 5 * DAY_MS))], NOWHERE).ignored == 1
    assert books.store.retain(calls_from, sums_from, 10) == 1
    assert books.store.retain(calls_from, date(2026, 11, 20), 10) == 0
    other.close()


def test_hours_are_forgotten_one_by_one(books: RedisBooks) -> None:
    many = [settlement(f"{n}", began_ms=MORNING_MS + n * 3_600_000) for n in range(4)]
    books.store.fold((), [booking(one) for one in many], NOWHERE)
    calls_from = first_of(date(2026, 11, 21))._replace(hour=MORNING_MS // 1000 + 2 * 3600)
    assert books.store.retain(calls_from, date(2026, 11, 1), 1) == 1
    assert books.store.retain(calls_from, date(2026, 11, 1), 9) == 1
    assert [books.reports.call(one.call_id) is None for one in many] == [True, True, False, False]
    assert books.reports.extent().calls_from == "2026-11-21"
    assert books.store.retain(calls_from._replace(hour=0), date(2026, 11, 1), 9) == 0
    assert books.store.retain(first_of(date(2026, 11, 23)), date(2026, 11, 23), 9) == 2
    left = {key.decode().partition("}")[2] for key in books.client.scan_iter(f"*{books.keys.namespace}*", count=1000)}
    assert not any(kind in key for key in left for kind in (":calls", ":named", ":sums", ":groups", ":late"))


def test_a_redis_that_is_full_takes_nothing_in_part_and_a_retry_succeeds(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--maxmemory-policy", "noeviction") as server:
        books = RedisBooks(server.url)
        rng = Random(1)  # what is random can't be deflated
        many = [booking(settlement(str(n), attempt(upstream_id=f"{rng.getrandbits(4000):x}"))) for n in range(400)]
        books.client.config_set("maxmemory", int(books.client.info("memory")["used_memory"]) + 100_000)
        with pytest.raises(StateFailed):
            books.store.fold((), many, Position("one", 1))
        entered = sum(line.sums.calls for line in books.reports.sums(NOVEMBER))
        assert entered < 400
        assert entered % BATCH == 0
        assert books.reports.drift(NOVEMBER) == []
        books.client.config_set("maxmemory", "0")
        assert books.store.position() == Position()
        assert books.store.fold((), many, Position("one", 1)) == Folded(booked=400 - entered, ignored=entered)
        assert books.reports.drift(NOVEMBER) == []
        books.close()


def test_a_journal_is_not_let_go_of_before_a_replica_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicas_module, "_WAIT_MS", 50)
    (tmp_path / "replica").mkdir()
    with redis_server(tmp_path, "--repl-diskless-sync-delay", "0") as primary:
        follows = "--replicaof", "127.0.0.1", str(primary.port)
        with redis_server(tmp_path / "replica", *follows) as replica:
            books = RedisBooks(primary.url)
            books.client.set("begun", 1)
            wait_until(lambda: books.client.wait(1, 100) == 1)
            books.store.fold((), [booking(settlement("a"))], Position("one", 1))
            replica.freeze()
            for _ in range(2):
                with pytest.raises(StateFailed, match="replica"):
                    books.store.fold((), [booking(settlement("b"))], Position("one", 2))
            assert books.store.position() == Position("one", 1)
            replica.thaw()
            wait_until(lambda: books.client.wait(1, 100) == 1)
            assert books.store.fold((), [booking(settlement("b"))], Position("one", 2)) == Folded(ignored=1)
            assert books.store.position() == Position("one", 2)
            books.close()


def test_a_redis_that_loses_its_scripts_is_sent_them_again(books: RedisBooks) -> None:
    for call_id in ("a", "b"):
        books.client.script_flush()
        assert books.store.fold((), [booking(settlement(call_id))], NOWHERE) == Folded(booked=1)


def test_of_calls_with_one_request_id_on_one_day_the_latest_is_told_in_whatever_order(books: RedisBooks) -> None:
    calls = [settlement(str(n), began_ms=MORNING_MS + n, request_id="mine") for n in (2, 3, 1)]
    books.store.fold((), [booking(one) for one in calls], NOWHERE)
    found = books.reports.call("mine")
    assert found is not None
    assert found.call_id == "3"


def test_redis_makes_its_own_backups(books: RedisBooks, tmp_path: Path) -> None:
    with pytest.raises(StateUnusable, match="its own backups"):
        books.store.backup(tmp_path / "copy.db")
    assert list(tmp_path.iterdir()) == []


def test_intents_that_can_not_be_written_are_refused(books: RedisBooks) -> None:
    for bad in (replace(intent(), model="\ud800"), replace(intent(), model=1)):  # type: ignore[arg-type]
        with pytest.raises(EntryRefused):
            books.store.fold([bad], (), NOWHERE)
    assert books.store.open_calls(2**62, 10) == []
