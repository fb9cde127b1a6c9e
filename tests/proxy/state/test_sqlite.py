import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.state import Booking, EntryRefused, Folded, Position, StateFailed, StateUnusable, orphan_of
from proxy.state.base import Sums
from proxy.state.sqlite import SqliteLedger, backup_books
from proxy.state.sqlite_reports import SqliteReports
from tests.books import MORNING_MS, NOVEMBER, attempt, booking, intent, settlement

NOWHERE = Position()


class Books:
    """A store and its reports."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = SqliteLedger(path)
        self.reports = SqliteReports(path)

    def total(self) -> Sums:
        lines = self.reports.sums(NOVEMBER)
        return lines[0].sums if lines else Sums()

    def count(self, table: str) -> int:
        with closing(sqlite3.connect(self.path)) as connection:
            return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    books = Books(tmp_path / "books.db")
    yield books
    assert books.reports.drift(NOVEMBER) == []
    books.store.close()


def test_calls_are_booked_with_their_attempts(books: Books) -> None:
    entry = settlement("a", attempt("openai", 0, error="upstream_timeout", is_answer=False), attempt("qwen", 700))
    assert books.store.fold((), [booking(entry)], NOWHERE) == Folded(booked=1)
    assert books.reports.call("a") == entry
    assert books.total() == Sums(
        calls=1, attempts=2, cost_nusd=700, low_nusd=700, high_nusd=700, uncached_tokens=20, visible_tokens=40
    )


def test_only_the_gateways_own_user_may_read_the_books(books: Books) -> None:
    books.store.fold((), [booking(settlement("a"))], NOWHERE)
    files = sorted(books.path.parent.glob("books.db*"))
    assert [path.name for path in files] == ["books.db", "books.db-shm", "books.db-wal"]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files)


def test_a_call_that_is_booked_already_is_ignored(books: Books) -> None:
    first = booking(settlement("a"))
    assert books.store.fold((), [first, first], NOWHERE) == Folded(booked=1, ignored=1)
    again = booking(settlement("a", attempt(cost_nusd=99)))
    assert books.store.fold((), [again, booking(settlement("b"))], NOWHERE) == Folded(booked=1, ignored=1)
    assert (books.total().calls, books.total().cost_nusd) == (2, 1000)


def test_open_calls_are_kept_until_they_are_settled(books: Books) -> None:
    books.store.fold([intent("a", began_ms=2), intent("b", began_ms=1)], (), NOWHERE)
    books.store.fold([intent("a", began_ms=2)], (), NOWHERE)
    assert [one.call_id for one in books.store.open_calls(10, 10)] == ["b", "a"]
    assert [one.call_id for one in books.store.open_calls(10, 1)] == ["b"]
    assert [one.call_id for one in books.store.open_calls(2, 10)] == ["b"]
    books.store.fold((), [booking(settlement("a"))], NOWHERE)
    books.store.fold([intent("a", began_ms=2)], (), NOWHERE)  # read once more: it is settled
    assert list(books.store.open_calls(10, 10)) == [intent("b", began_ms=1)]


@pytest.mark.parametrize("is_together", [False, True])
def test_an_orphan_that_is_settled_after_all_counts_as_it_was_settled(books: Books, is_together: bool) -> None:
    orphan, late = booking(orphan_of(intent("a"), MORNING_MS)), booking(settlement("a"))
    if is_together:
        assert books.store.fold((), [orphan, late], NOWHERE) == Folded(booked=1, adjusted=1)
    else:
        books.store.fold((), [orphan], NOWHERE)
        assert books.total().cost_nusd == 1000
        assert books.store.fold((), [late], NOWHERE) == Folded(adjusted=1)
    assert books.store.fold((), [late, orphan], NOWHERE) == Folded(ignored=2)
    assert books.total() == Sums(
        calls=1, attempts=1, cost_nusd=500, low_nusd=500, high_nusd=500, uncached_tokens=10, visible_tokens=20
    )
    assert books.reports.call("a") == late.settlement
    assert books.count("calls") == 3  # what was written stays: the orphan, its reversal, the settlement


def test_an_adjustment_of_a_closed_month_is_booked_when_it_is_made(books: Books) -> None:
    orphan = booking(orphan_of(intent("a", began_ms=MORNING_MS - 40 * 86_400_000), MORNING_MS))
    books.store.fold((), [orphan], NOWHERE)
    late = settlement("a", began_ms=MORNING_MS - 40 * 86_400_000)
    books.store.fold((), [Booking(late, booking(settlement()).period)], NOWHERE)
    october = replace(NOVEMBER, first=date(2026, 10, 1), end=date(2026, 11, 1))
    assert books.reports.sums(october)[0].sums.cost_nusd == 1000  # as it was when the month was closed
    assert books.total().cost_nusd == 500 - 1000
    assert books.reports.drift(october) == []


def test_the_position_is_kept_with_what_was_folded(books: Books) -> None:
    assert books.store.position() == Position()
    books.store.fold((), [booking(settlement("a"))], Position("one", 10))
    books.store.fold((), (), Position("two", 20))
    books.store.close()
    books.store = SqliteLedger(books.path)
    assert books.store.position() == Position("two", 20)


@pytest.mark.parametrize(
    "bad",
    [
        settlement("bad", status="ok"),
        settlement("bad", attempt(cost_nusd=2**64)),
        settlement("bad", duration_ms=None),
        settlement("bad", asked_model=["x"]),
        settlement("bad", attempt(role="\ud800")),
    ],
)
def test_a_batch_with_an_entry_that_cannot_be_booked_changes_nothing(books: Books, bad: object) -> None:
    bookings = [booking(settlement("good")), booking(bad)]  # type: ignore[arg-type]
    with pytest.raises(EntryRefused):
        books.store.fold([intent("open")], bookings, Position("one", 1))
    assert books.total() == Sums()
    assert books.store.position() == Position()
    assert list(books.store.open_calls(2**62, 1)) == []


def test_a_full_disk_changes_nothing_and_a_retry_succeeds(books: Books) -> None:
    connection = books.store._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")  # SQLite's own way to be full
    bookings = [booking(settlement(str(number))) for number in range(500)]
    with pytest.raises(StateFailed, match="full"):
        books.store.fold((), bookings, Position("one", 1))
    assert books.total() == Sums()
    connection.execute("PRAGMA max_page_count = 100000")
    assert books.store.fold((), bookings, Position("one", 1)) == Folded(booked=500)
    assert books.total().calls == 500


def test_a_database_that_is_locked_is_a_failure_of_the_moment(books: Books) -> None:
    books.store._connection.execute("PRAGMA busy_timeout = 0")
    with closing(sqlite3.connect(books.path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateFailed, match="locked"):
            books.store.fold((), [booking(settlement("a"))], NOWHERE)
        other.rollback()
    assert books.store.fold((), [booking(settlement("a"))], NOWHERE) == Folded(booked=1)


def test_what_is_older_than_it_is_kept_is_forgotten(books: Books) -> None:
    day_ms = 86_400_000
    old = [settlement(f"old {n}", began_ms=MORNING_MS - 5 * day_ms) for n in range(3)]
    books.store.fold((), [booking(one) for one in (*old, settlement("new"))], NOWHERE)
    assert books.store.retain(date(2026, 11, 20), date(2026, 11, 1), limit=2) == 2
    assert books.store.retain(date(2026, 11, 20), date(2026, 11, 1), limit=2) == 1
    assert (books.count("calls"), books.count("attempts")) == (1, 1)
    assert books.reports.call("old 0") is None
    assert books.total().calls == 4  # the sums are kept for longer
    assert books.store.retain(date(2026, 11, 20), date(2026, 11, 20), limit=2) == 0
    assert books.total().calls == 1


def test_a_backup_is_whole_while_the_books_are_written(books: Books, tmp_path: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            books.store.fold((), [booking(settlement(f"{number} {n}")) for n in range(10)], NOWHERE)
            number += 1

    thread = threading.Thread(target=write)
    books.store.fold((), [booking(settlement("first"))], NOWHERE)
    thread.start()
    try:
        books.store.backup(tmp_path / "copy.db")
    finally:
        stop.set()
        thread.join()
    assert sorted(path.name for path in tmp_path.glob("copy*")) == ["copy.db"]
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600
    copy = SqliteReports(tmp_path / "copy.db")
    assert copy.call("first") == settlement("first")
    assert copy.drift(NOVEMBER) == []
    assert copy.sums(NOVEMBER)[0].sums.calls % 10 == 1  # no batch is cut in two


def test_a_backup_replaces_no_file_and_leaves_none_behind(books: Books, tmp_path: Path) -> None:
    (tmp_path / "copy.db").write_text("dear")
    with pytest.raises(StateUnusable, match="name a new one"):
        books.store.backup(tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_text() == "dear"
    with pytest.raises(StateFailed):
        backup_books(tmp_path / "nowhere.db", tmp_path / "other.db")
    assert list(tmp_path.glob("other*")) == []


def test_a_file_that_cannot_be_opened_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("no database, but long enough to be taken for one" * 100)
    with pytest.raises(StateUnusable, match=r"set state\.url"):
        SqliteLedger(tmp_path / "folder")
    with pytest.raises(StateUnusable, match="not a database"):
        SqliteLedger(tmp_path / "file")


def test_neither_team_nor_tag_is_taken_for_sql(books: Books) -> None:
    entry = settlement("a'; DROP TABLE calls; --")
    books.store.fold((), [booking(entry)], NOWHERE)
    assert books.reports.call(entry.call_id) == entry
    assert books.reports.sums(NOVEMBER, where={"team": "' OR 1=1 --"}) == []


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=150), max_size=4))
def test_every_call_counts_once_whatever_is_said_of_it_how_often(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[int, bool]]]
) -> None:
    books = Books(tmp_path_factory.mktemp("books") / "books.db")
    settled: dict[str, bool] = {}
    for batch in batches:
        bookings = []
        for number, is_orphan in batch:
            call_id = str(number)
            settled[call_id] = settled.get(call_id, False) or not is_orphan
            bookings.append(booking(orphan_of(intent(call_id), MORNING_MS) if is_orphan else settlement(call_id)))
        books.store.fold((), bookings, NOWHERE)
    assert books.total().calls == len(settled)
    assert books.total().cost_nusd == sum(500 if is_settled else 1000 for is_settled in settled.values())
    assert books.reports.drift(NOVEMBER) == []
    books.store.close()
