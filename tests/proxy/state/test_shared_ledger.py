import subprocess
import sys
from pathlib import Path

import pytest

from proxy.state import (
    Author,
    Position,
    SqliteRegistry,
    SqliteReports,
    granted_of,
    open_redis_ledger,
    open_redis_reports,
)
from tests.books import NOVEMBER, booking, settlement
from tests.redis_server import redis_server


@pytest.mark.integration
def test_books_on_redis_are_opened_by_their_url(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        store = open_redis_ledger(server.url, "a", "journal", lambda began_s: ("day:d", 1, "week:w", 1, "month:m", 1))
        store.fold((), [booking(settlement())], Position("one", 1))
        assert store.of("other").position() == Position()
        reports = open_redis_reports(server.url, "a")
        assert [line.sums.calls for line in reports.sums(NOVEMBER)] == [1]
        assert reports.granted(0) == {}
        assert open_redis_reports(server.url, "b").sums(NOVEMBER) == []
        store.close()


def test_grants_raise_quotas_as_they_do_with_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    registry, reports = SqliteRegistry(path), SqliteReports(path)
    author = Author("cli:me", 100)
    for amount, until_ms in ((5, 200), (7, 300), (1, 250)):
        registry.add_grant("search", "usd per day", amount, "nusd", until_ms, "", author)
    registry.withdraw_grant(2, Author("cli:me", 220))
    granted = granted_of(registry)
    assert granted(150) == {("search", "usd per day"): 13}
    assert all(granted(at_ms) == reports.granted(at_ms) for at_ms in range(90, 310, 5))
    registry.close()


def test_nobody_loads_the_client_who_has_no_redis() -> None:
    code = "import sys, proxy.state, proxy.accounting.books, proxy.cli.report; print('redis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
