from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.state import SqliteReports, StateFailed
from tests.books import NOVEMBER
from tests.ledgers import SqliteBooks, enter_three


@pytest.fixture
def books(tmp_path: Path) -> Iterator[SqliteBooks]:
    """See `enter_three`."""
    books = SqliteBooks(tmp_path / "books.db")
    enter_three(books.store)
    yield books
    books.store.close()


@pytest.mark.parametrize("table", ["hour", "day"])
def test_sums_that_are_not_what_the_calls_come_to_are_told(books: SqliteBooks, table: str) -> None:
    assert books.reports.drift(NOVEMBER) == []
    wrong = f"UPDATE sums_{table} SET cost_nusd = cost_nusd + 1 WHERE provider = 'qwen' AND tag_key = ''"
    books.store._connection.execute(wrong)
    (found,) = books.reports.drift(NOVEMBER)
    assert (found.day, found.table) == ("2026-11-21", table)
    assert (found.calls.cost_nusd, found.sums.cost_nusd) == (500, 501)


def test_a_lost_row_is_told(books: SqliteBooks) -> None:
    books.store._connection.execute("DELETE FROM calls WHERE call_id = 'c'")
    assert [(one.day, one.table, one.calls.calls, one.sums.calls) for one in books.reports.drift(NOVEMBER)] == [
        ("2026-11-22", "day", 0, 1),
        ("2026-11-22", "hour", 0, 1),
    ]


def test_books_that_are_not_there_are_a_failure(tmp_path: Path) -> None:
    with pytest.raises(StateFailed, match="nowhere"):
        SqliteReports(tmp_path / "nowhere.db").use(NOVEMBER)


def test_the_drift_of_one_team_is_told_by_itself(books: SqliteBooks) -> None:
    books.store._connection.execute("UPDATE sums_day SET calls = 9 WHERE team = 'sales' AND tag_key = '' AND calls = 1")
    assert {one.day for one in books.reports.drift(NOVEMBER)} == {"2026-11-21", "2026-11-22"}
    assert books.reports.drift(NOVEMBER, "search") == []
    assert [one.calls.calls for one in books.reports.drift(NOVEMBER, "sales")] == [1, 1]


def test_late_calls_are_found_by_their_index(books: SqliteBooks) -> None:
    plan = "EXPLAIN QUERY PLAN SELECT id, count, hour, day, began_ms FROM calls WHERE day >= '2026' AND day < '2027' "
    rows = books.store._connection.execute(plan + "AND began_ms < hour * 1000").fetchall()
    assert "COVERING INDEX calls_late" in rows[0][-1]
