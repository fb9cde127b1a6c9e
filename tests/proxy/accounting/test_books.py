import asyncio
from pathlib import Path
from time import time

import pytest

from proxy.accounting import books as module
from proxy.accounting import ledger as ledger_module
from proxy.accounting.books import Books, open_books
from proxy.config import AccountingConfig, RetainConfig, StateConfig
from proxy.state import SqliteLedger, StateFailed, StateUnusable, Use
from tests.books import WrittenJournal, intent, settlement
from tests.redis_server import free_port, redis_server
from tests.server import wait_until


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


def shared(folder: Path, url: str, *, slot: int | None = None) -> Books:
    state = StateConfig(url=url, journal=str(folder / "journal"), namespace=folder.name)
    return open_books(state, AccountingConfig(), slot=slot)


def test_a_gateway_starts_while_redis_is_away(tmp_path: Path) -> None:
    began_ms = int(time() * 1000)
    books = shared(tmp_path, f"redis://127.0.0.1:{free_port()}/0")
    books.journal.intend(intent("a", began_ms=began_ms))
    books.journal.settle(settlement("a", began_ms=began_ms))
    wait_until(lambda: books.ledger.is_behind and not books.journal.unwritten)
    assert books.tally.uses("day") == []
    assert books.troubles() == {"unwritten": 0, "lost": 0, "orphaned": 0, "refused": 0}
    books.close()
    assert len(books.journal.segments.names()) == 1


@pytest.mark.integration
def test_processes_share_books_on_redis_and_each_has_a_journal_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "_EVERY_S", 0.01)
    began_ms = int(time() * 1000)
    with redis_server(tmp_path) as server:
        first, second = shared(tmp_path, server.url), shared(tmp_path, server.url)
        far = shared(tmp_path, server.url, slot=7)
        assert [one.journal.segments.folder.name for one in (first, second, far)] == ["0", "1", "7"]
        for number, one in enumerate((first, second, far)):
            one.journal.settle(settlement(str(number), began_ms=began_ms))
        today = first.tally.span("month")
        wait_until(lambda: [use.calls for use in first.reports.use(today)] == [3])
        assert first.reports.drift(today) == []
        for one in (first, second, far):
            one.close()


@pytest.mark.integration
def test_what_a_dead_process_left_is_brought_in_and_its_open_calls_are_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "_EVERY_S", 0.01)
    began_ms = int(time() * 1000)
    with redis_server(tmp_path) as server:
        books = shared(tmp_path, server.url)
        for folder in ("journal", "journal/3"):
            left = WrittenJournal(tmp_path / folder)
            left.write(intent(f"{folder} open", began_ms=began_ms), settlement(f"{folder} done", began_ms=began_ms))
            left.die()
        wait_until(lambda: books.ledger.orphaned == 2)
        for folder in ("journal", "journal/3"):
            done, opened = books.reports.call(f"{folder} done"), books.reports.call(f"{folder} open")
            assert done is not None
            assert not done.is_orphan
            assert opened is not None
            assert opened.is_orphan
            wait_until(lambda: not list((tmp_path / "journal" / "3").glob("*.journal")))
        books.close()


@pytest.mark.integration
def test_claims_that_nobody_holds_any_more_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "_EVERY_S", 0.01)
    lapsed = [intent("a", began_ms=int(time() * 1000))]
    with redis_server(tmp_path) as server:
        state = StateConfig(url=server.url, journal=str(tmp_path / "journal"))
        books = open_books(state, AccountingConfig(), lapsed=lambda given_up: [lapsed.pop()] if lapsed else [])
        wait_until(lambda: books.ledger.orphaned == 1)
        found = books.reports.call("a")
        assert found is not None
        assert found.is_orphan
        books.close()


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
