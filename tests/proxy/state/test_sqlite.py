import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

from proxy.state import Folded, Position, StateFailed, StateUnusable, orphan_of
from proxy.state.base import Sums
from proxy.state.sqlite import SqliteLedger, backup_books
from proxy.state.sqlite_reports import SqliteReports
from tests.books import MORNING_MS, NOVEMBER, booking, intent, settlement
from tests.ledgers import SqliteBooks, first_of

NOWHERE = Position()


class Books(SqliteBooks):
    """A store and its reports."""

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


def test_only_the_gateways_own_user_may_read_the_books(books: Books) -> None:
    books.store.fold((), [booking(settlement("a"))], NOWHERE)
    files = sorted(books.path.parent.glob("books.db*"))
    assert [path.name for path in files] == ["books.db", "books.db-shm", "books.db-wal"]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files)


def test_what_was_written_of_a_call_stays(books: Books) -> None:
    orphan, late = booking(orphan_of(intent("a"), MORNING_MS)), booking(settlement("a"))
    books.store.fold((), [orphan, late], NOWHERE)
    assert books.count("calls") == 3  # the orphan, its reversal, the settlement


def test_no_more_rows_are_removed_at_once_than_was_said(books: Books) -> None:
    old = [settlement(f"old {n}", began_ms=MORNING_MS - 5 * 86_400_000) for n in range(3)]
    books.store.fold((), [booking(one) for one in (*old, settlement("new"))], NOWHERE)
    calls_from = first_of(date(2026, 11, 20))
    assert [books.store.retain(calls_from, date(2026, 11, 20), limit=2) for _ in range(3)] == [2, 1, 0]
    assert (books.count("calls"), books.count("attempts")) == (1, 1)


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
