import asyncio
from pathlib import Path
from time import time

import pytest

from proxy.accounting import books as module
from proxy.accounting.books import Books, open_books
from proxy.config import AccountingConfig, RetainConfig, StateConfig
from proxy.state import SqliteLedger, StateFailed, StateUnusable, Use
from tests.books import intent, settlement


def opened(folder: Path) -> Books:
    return open_books(state_in(folder), AccountingConfig())


def state_in(folder: Path) -> StateConfig:
    return StateConfig(url=f"sqlite:///{folder}/books.db", journal=str(folder / "journal"))


def test_what_was_booked_is_counted_after_a_restart(tmp_path: Path) -> None:
    now_ms = int(time() * 1000)
    books = opened(tmp_path)
    books.journal.intend(intent("a", began_ms=now_ms))
    books.journal.settle(settlement("a", began_ms=now_ms))
    books.close()
    books = opened(tmp_path)
    assert books.tally.uses("month") == [Use("search", "ci", "chat", 1, 30, 500)]
    assert books.tally.uses("day") == books.tally.uses("week") == books.tally.uses("month")
    assert books.troubles() == {"unwritten": 0, "lost": 0, "orphaned": 0, "refused": 0}
    books.close()


def test_a_call_that_was_under_way_counts_with_all_that_it_may_have_cost(tmp_path: Path) -> None:
    books = opened(tmp_path)
    books.journal.intend(intent("a", began_ms=int(time() * 1000), cost_nusd=900))
    books.close()
    books = opened(tmp_path)
    assert books.tally.uses("day") == [Use("search", "ci", "chat", 1, 100, 900)]
    assert books.troubles()["orphaned"] == 1
    found = books.reports.call("a")
    assert found is not None
    assert found.is_orphan
    books.close()


def test_only_one_process_has_the_books_and_the_other_is_told(tmp_path: Path) -> None:
    books = opened(tmp_path)
    with pytest.raises(StateUnusable, match="journal"):
        opened(tmp_path)
    books.close()
    opened(tmp_path).close()


def test_a_database_of_another_program_is_refused_and_the_journal_let_go(tmp_path: Path) -> None:
    (tmp_path / "books.db").write_text("not a database, but a text of some length" * 100)
    with pytest.raises(StateUnusable, match=r"books\.db"):
        opened(tmp_path)
    (tmp_path / "books.db").unlink()
    opened(tmp_path).close()


def test_books_on_redis_are_not_opened(tmp_path: Path) -> None:
    state = StateConfig(url="redis://host", journal=str(tmp_path / "journal"))
    with pytest.raises(StateUnusable, match="sqlite"):
        open_books(state, AccountingConfig())


def test_what_is_too_old_is_forgotten(tmp_path: Path) -> None:
    long_ago_ms = int((time() - 100 * 86_400) * 1000)
    books = opened(tmp_path)
    books.journal.settle(settlement("old", began_ms=long_ago_ms))
    books.journal.settle(settlement("new", began_ms=int(time() * 1000)))
    books.close()
    books = opened(tmp_path)
    books.retain(RetainConfig.model_validate({"requests": "300d"}), time())
    assert books.reports.call("old") is not None
    # It was booked when it became known: its own month was closed.
    books.retain(RetainConfig.model_validate({"requests": "90d"}), time() + 95 * 86_400)
    assert books.reports.call("old") is None
    assert books.reports.call("new") is None
    books.close()


def test_the_sums_of_the_present_month_are_kept_because_quotas_begin_with_them(tmp_path: Path) -> None:
    books = opened(tmp_path)
    now_s = books.calendar.begin_s(books.tally.span("month").first) + 20 * 86_400
    books.journal.settle(settlement("a", began_ms=int(now_s - 15 * 86_400) * 1000))
    books.close()
    books = opened(tmp_path)
    books.retain(RetainConfig.model_validate({"rollups": "1d"}), now_s)
    assert [one.calls for one in books.reports.use(books.tally.span("month"))] == [1]
    books.close()


async def test_old_calls_are_forgotten_again_and_again_and_a_failure_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RETAIN_EVERY_S", 0.0)
    books, asked = opened(tmp_path), list[object]()

    def retain(store: object, calls_from: object, sums_from: object, limit: int) -> int:
        asked.append(calls_from)
        if len(asked) == 1:
            raise StateFailed("the disk is full")
        return 0

    monkeypatch.setattr(SqliteLedger, "retain", retain)
    task = asyncio.create_task(books.forget_old(RetainConfig))
    while len(asked) < 2:
        await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert "could not be removed: the disk is full" in caplog.text
    books.close()
