"""Books on Redis survive what happens to processes, to Redis and to its replicas: no settled call is lost, none counts
twice, and what quotas count is what the books come to.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from time import time

import pytest

from proxy.accounting.books import Books
from proxy.state import Span
from proxy.state.redis_keys import RedisKeys
from tests.books import WrittenJournal, intent, settlement
from tests.integration.bookkeeper import shared
from tests.redis_server import RedisServer, redis_server
from tests.server import Output, wait_until

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
KILLS = 5
COST_NUSD = {False: 500, True: 1000}  # of a call that was settled; of an orphan


class Bookkeeper:
    """A process that settles calls as fast as it can, on books that it shares."""

    def __init__(self, folder: Path, url: str) -> None:
        command = sys.executable, "-m", "tests.integration.bookkeeper", "share", str(folder), url
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
        assert self._process.stdout is not None
        self._said = Output(self._process.stdout)

    def settled(self) -> list[str]:
        """Ids of the calls that were said to be written."""
        return self._said.text.split()

    def settle(self, more: int) -> None:
        """Return when so many more are."""
        target = len(self.settled()) + more
        wait_until(lambda: len(self.settled()) >= target, 30)

    def kill(self) -> list[str]:
        """End it at once; returns the calls that it had said to be written."""
        self._process.kill()
        self._process.wait()
        self._said.join()
        return self.settled()


@contextmanager
def bookkeeper(folder: Path, url: str) -> Iterator[Bookkeeper]:
    keeper = Bookkeeper(folder, url)
    try:
        keeper.settle(1)
        yield keeper
    finally:
        keeper.kill()


def lately() -> Span:
    today = datetime.now(UTC).date()
    return Span(today - timedelta(days=2), date(today.year + 1, 12, 31))


def left_behind(folder: Path) -> list[Path]:
    """What is in no books yet."""
    return list((folder / "journal").glob("**/*.journal"))


def brought_in(folder: Path, server: RedisServer) -> Books:
    """The books, when all that any journal holds is in them."""
    books = shared(folder, server.url)
    wait_until(lambda: not left_behind(folder), 40)
    return books


def assert_all_is_booked(books: Books, server: RedisServer, said: list[str]) -> None:
    """Every call that was said to be written is booked as it was settled, and all adds up."""
    assert len(said) == len(set(said)) > 0
    missing = [call_id for call_id in said if (found := books.reports.call(call_id)) is None or found.is_orphan]
    assert missing == []
    by_error = {line.group[0]: line.sums for line in books.reports.sums(lately(), ("error",))}
    assert by_error[""].calls >= len(said)
    assert all(sums.cost_nusd == sums.calls * COST_NUSD[bool(error)] for error, sums in by_error.items())
    assert books.reports.drift(lately()) == []
    assert books.ledger.refused == 0
    counted = 0
    with server.client as client:
        tag = RedisKeys("kept").team("search")
        for key in client.scan_iter(f"{tag}:use:month:*", count=1000):
            counted += sum(int(value) for name, value in client.hgetall(key).items() if name.endswith(b"nusd"))
    assert counted == sum(sums.cost_nusd for sums in by_error.values())


def test_no_settled_call_is_lost_or_counted_twice_whenever_one_of_two_processes_is_killed(tmp_path: Path) -> None:
    rng, said = Random(5), list[str]()
    with redis_server(tmp_path) as server:
        with bookkeeper(tmp_path, server.url) as survivor:
            for _ in range(KILLS):
                with bookkeeper(tmp_path, server.url) as keeper:
                    keeper.settle(rng.randrange(1, 300))
                    said += keeper.kill()
                wait_until(lambda: not list((tmp_path / "journal" / "1").glob("*.journal")))  # the survivor saw to it
            said += survivor.kill()
        books = brought_in(tmp_path, server)
        assert_all_is_booked(books, server, said)
        books.close()


def test_what_a_killed_process_had_under_way_is_given_up_by_the_others(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server, bookkeeper(tmp_path, server.url) as keeper:
        books = shared(tmp_path, server.url)
        assert books.journal.segments.folder.name == "1"
        keeper.settle(50)
        keeper.kill()
        wait_until(lambda: books.ledger.orphaned > 0)
        assert [line.sums.calls for line in books.reports.sums(lately(), where={"error": "orphaned"})] == [
            books.ledger.orphaned
        ]
        books.close()


def test_calls_wait_in_their_journal_while_redis_is_away_frozen_or_full(tmp_path: Path) -> None:
    persistent = "--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction"
    with redis_server(tmp_path, *persistent) as server:
        with bookkeeper(tmp_path, server.url) as keeper:
            keeper.settle(200)
            server.kill()
            keeper.settle(200)
            server.start()
            keeper.settle(200)
            server.freeze()
            keeper.settle(200)
            server.thaw()
            keeper.settle(200)
            with server.client as client:
                client.config_set("maxmemory", 1000)
                keeper.settle(200)
                assert left_behind(tmp_path)
                client.config_set("maxmemory", 0)
            keeper.settle(200)
            said = keeper.kill()
        books = brought_in(tmp_path, server)
        assert_all_is_booked(books, server, said)
        books.close()


def test_a_journal_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    began_ms = int(time() * 1000)
    journal = WrittenJournal(tmp_path / "a" / "journal" / "3")
    journal.segments.id()
    settled = [settlement(f"call {n}", began_ms=began_ms) for n in range(3000)]
    journal.write(*settled, *(intent(f"open {n}", began_ms=began_ms) for n in range(100)))
    journal.die()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with redis_server(tmp_path) as server:
        both = [shared(tmp_path / name, server.url) for name in ("a", "b")]
        for name in ("a", "b"):
            wait_until(lambda folder=tmp_path / name: not left_behind(folder), 30)  # type: ignore[misc]
        assert_all_is_booked(both[0], server, [one.call_id for one in settled])
        assert sum(line.sums.calls for line in both[0].reports.sums(lately())) == 3100
        for books in both:
            books.close()


def test_a_failover_loses_no_call_once_its_journal_is_folded_again(tmp_path: Path) -> None:
    (tmp_path / "replica").mkdir()
    with redis_server(tmp_path, "--repl-diskless-sync-delay", "0") as primary:
        follows = "--replicaof", "127.0.0.1", str(primary.port)
        with redis_server(tmp_path / "replica", *follows) as replica, primary.client as client:
            wait_until(lambda: int(client.execute_command("WAIT", 1, 100)) == 1)
            with bookkeeper(tmp_path, primary.url) as keeper:
                keeper.settle(500)
                replica.freeze()  # it falls behind
                keeper.settle(300)
                primary.kill()
                keeper.settle(100)
                said = keeper.kill()
            replica.thaw()
            with replica.client as promoted:
                wait_until(lambda: promoted.execute_command("REPLICAOF", "NO", "ONE") is not None)
            books = brought_in(tmp_path, replica)
            assert_all_is_booked(books, replica, said)
            books.close()
