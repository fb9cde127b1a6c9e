import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path

import pytest

from proxy.accounting import journal as module
from proxy.accounting import segments
from proxy.accounting.frames import read_frames
from proxy.accounting.journal import Journal
from proxy.accounting.segments import SegmentFile
from proxy.accounting.waiters import Waiters
from proxy.state import Entry, StateUnusable, decode_entry
from tests.books import Disk, intent, settlement
from tests.fakes import HandClock


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 20.0)
    monkeypatch.setattr(module, "_RETRY_S", 0.001)


class Opened:
    """A journal on a disk of the test's making."""

    def __init__(self, folder: Path) -> None:
        self.clock = HandClock()
        self.disk = Disk()
        self.journal = Journal(folder, self.clock, self.disk)

    def read(self) -> list[Entry]:
        segments = self.journal.segments
        return [
            decode_entry(payload)
            for name in segments.names()
            for payload in read_frames(segments.read(name, 0)).payloads
        ]

    async def until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            self.clock.advance(0.01)
            await asyncio.sleep(0.001)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    opened = Opened(tmp_path / "journal")
    yield opened
    opened.journal.close()
    opened.journal.release()


async def test_what_is_said_to_be_written_is_in_the_file(opened: Opened) -> None:
    opened.journal.intend(intent("a"))
    assert await opened.journal.written(opened.journal.settle(settlement("a")))
    assert opened.read() == [intent("a"), settlement("a")]
    assert opened.journal.position.offset == sum(
        len(opened.journal.segments.read(name, 0)) for name in opened.journal.segments.names()
    )
    assert (opened.journal.unwritten, opened.journal.late, opened.journal.lost) == (0, 0, 0)


async def writers(opened: Opened, *entries: Entry) -> list[str]:
    """The threads that wrote these entries, one after the other."""
    threads: list[str] = []
    opened.disk.on_write = lambda: threads.append(threading.current_thread().name)
    for entry in entries:
        assert await opened.journal.written(opened.journal.settle(settlement(entry.call_id)))
        await opened.until(lambda: opened.journal._left_at == opened.journal._entered)
    return threads


async def test_the_loop_writes_by_itself_once_there_is_a_segment(opened: Opened) -> None:
    assert await writers(opened, settlement("a"), settlement("b")) == ["journal", "MainThread"]
    token = opened.journal.settle(settlement("c"))
    assert opened.journal.unwritten == 0
    assert await opened.journal.written(token)
    assert [entry.call_id for entry in opened.read()] == ["a", "b", "c"]


async def test_a_full_segment_is_followed_by_one_that_the_thread_begins(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 1)
    assert await writers(opened, settlement("a"), settlement("b")) == ["journal", "journal"]
    assert len(opened.journal.segments.names()) == 2


async def test_what_comes_behind_a_queued_entry_is_queued_too(opened: Opened) -> None:
    tokens = [opened.journal.settle(settlement(str(number))) for number in range(50)]
    assert await opened.journal.written(tokens[-1])
    assert [entry.call_id for entry in opened.read()] == [str(number) for number in range(50)]


async def test_a_disk_that_is_slow_to_write_is_left_to_the_thread_for_a_while(opened: Opened) -> None:
    await writers(opened, settlement("a"))
    opened.disk.on_write = lambda: opened.clock.advance(0.1)
    opened.journal.settle(settlement("b"))
    assert await writers(opened, settlement("c")) == ["MainThread"]  # a single write may take long for many reasons
    opened.disk.on_write = lambda: opened.clock.advance(0.1)
    for number in range(4):
        opened.journal.settle(settlement(str(number)))
    assert await writers(opened, settlement("d")) == ["journal"]
    opened.clock.advance(5)
    assert await writers(opened, settlement("e")) == ["MainThread"]
    assert [entry.call_id for entry in opened.read()] == ["a", "b", "c", "0", "1", "2", "3", "d", "e"]


async def test_while_a_sync_takes_long_the_thread_writes(opened: Opened) -> None:
    await writers(opened, settlement("a"))
    await opened.journal.flushed(1)
    syncing, released = threading.Event(), threading.Event()

    def hang() -> None:
        syncing.set()
        released.wait(30)

    opened.disk.on_sync = hang
    await writers(opened, settlement("b"))
    await asyncio.to_thread(syncing.wait, 30)
    opened.clock.advance(1)
    assert await writers(opened, settlement("c")) == ["journal"]
    released.set()
    assert await opened.journal.flushed(3)
    await opened.until(lambda: opened.journal._syncer.began_at == inf)
    assert await writers(opened, settlement("d")) == ["MainThread"]


async def test_what_is_said_to_be_flushed_is_synced(opened: Opened) -> None:
    token = opened.journal.settle(settlement("a"))
    assert await opened.journal.flushed(token)
    assert opened.disk.synced >= 1
    assert opened.read() == [settlement("a")]


async def test_what_is_queued_at_the_end_is_written_and_synced(opened: Opened) -> None:
    for number in range(2500):  # more than go out at once
        opened.journal.settle(settlement(str(number)))
    assert opened.journal.close() == 0
    assert [entry.call_id for entry in opened.read()] == [str(number) for number in range(2500)]
    assert opened.disk.synced >= 1
    assert opened.disk.closed == 1


async def test_entries_stay_in_memory_while_the_disk_is_full(opened: Opened, caplog: pytest.LogCaptureFixture) -> None:
    journal, disk = opened.journal, opened.disk
    await journal.written(journal.settle(settlement("before")))
    disk.room_bytes = 50
    assert not await journal.written(journal.settle(settlement("during")))
    assert journal.is_degraded
    assert journal.late == 1
    assert not await journal.written(journal.settle(settlement("then")))  # nobody waits any more
    assert journal.late == 1
    assert journal.unwritten == 2
    assert [entry.call_id for entry in opened.read()] == ["before"]
    disk.room_bytes = None
    await opened.until(lambda: journal.unwritten == 0 and not journal.is_degraded)
    assert [entry.call_id for entry in opened.read()] == ["before", "during", "then"]
    assert journal.lost == 0
    said = [record.message for record in caplog.records if record.name == module.__name__]
    assert said == [
        "journal: can't be written (No space left on device); entries are kept in memory",
        "journal: is written again; all that was kept is going out",
    ]


async def test_more_than_can_be_kept_is_refused_first_and_then_counted(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MAX_ROOM", 3)
    monkeypatch.setattr(module, "MAX_KEPT", 5)
    journal, disk = opened.journal, opened.disk
    disk.room_bytes = 0
    tokens, rooms = [], []
    for number in range(7):
        tokens.append(journal.settle(settlement(str(number))))
        rooms.append(journal.has_room)
    assert rooms == [True] * 2 + [False] * 5
    assert [bool(token) for token in tokens] == [True] * 5 + [False] * 2
    assert journal.lost == 2
    assert not await journal.written(tokens[-1])
    assert not await journal.flushed(tokens[-1])
    assert sum("no room in memory" in record.message for record in caplog.records) == 1
    disk.room_bytes = None
    await opened.until(lambda: journal.unwritten == 0)
    assert journal.has_room
    assert [entry.call_id for entry in opened.read()] == ["0", "1", "2", "3", "4"]


async def test_what_a_full_disk_never_took_is_told_at_the_end(opened: Opened, caplog: pytest.LogCaptureFixture) -> None:
    opened.disk.room_bytes = 0
    opened.journal.settle(settlement("a"))
    assert opened.journal.close() == 1
    assert caplog.records[-1].levelno == logging.ERROR
    assert "1 entries could not be written" in caplog.records[-1].message


async def test_an_entry_that_cannot_be_written_down_is_counted_and_the_rest_goes_on(
    opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    journal = opened.journal
    journal.settle(settlement("a", status=2**60))
    journal.settle(settlement("b", asked_model="x" * (1 << 20)))
    assert await journal.written(journal.settle(settlement("c")))
    assert [entry.call_id for entry in opened.read()] == ["c"]
    assert journal.lost == 2
    assert [record.message.split(":")[1].strip() for record in caplog.records] == ["an entry is lost"] * 2


async def test_a_write_that_hangs_is_waited_for_in_bounds_and_makes_the_journal_degraded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.001)
    released = asyncio.Event()
    loop = asyncio.get_running_loop()
    disk = Disk()

    hanging = threading.Event()

    def hang(path: Path) -> SegmentFile:
        hanging.set()
        asyncio.run_coroutine_threadsafe(released.wait(), loop).result(30)
        return disk(path)

    clock = HandClock()
    journal = Journal(tmp_path / "journal", clock, hang)
    first = asyncio.create_task(journal.written(journal.settle(settlement("a"))))
    await asyncio.sleep(0)
    clock.advance(0.01)
    assert not await first
    assert journal.late == 1
    assert await asyncio.to_thread(hanging.wait, 30)
    seen = [journal.is_degraded]
    clock.advance(2)
    seen.append(journal.is_degraded)
    assert seen == [False, True]
    assert not await journal.written(journal.settle(settlement("b")))  # at once
    released.set()
    while journal.unwritten:
        await asyncio.sleep(0.001)
    assert not journal.is_degraded
    journal.close()
    journal.release()


def test_a_second_process_is_refused(opened: Opened, tmp_path: Path) -> None:
    with pytest.raises(StateUnusable, match="in use by another gateway"):
        Journal(tmp_path / "journal")


async def test_a_failing_sync_is_seen(opened: Opened) -> None:
    opened.disk.can_sync = False
    assert not await opened.journal.flushed(opened.journal.settle(settlement("a")))
    assert opened.journal.is_degraded
    opened.disk.can_sync = True
    await opened.until(lambda: not opened.journal.is_degraded)
    assert opened.read() == [settlement("a")]


async def test_who_wakes_up_after_the_thread_wrote_finds_that_the_loop_may_write_again(opened: Opened) -> None:
    journal, waiters, found = opened.journal, opened.journal._written, []

    def wake(callback: Callable[[], None]) -> None:
        found.append(journal._entered == journal._left_at)
        Waiters._call(waiters, callback)

    waiters._call = wake  # type: ignore[method-assign]
    assert await journal.written(journal._queue_up(settlement("a")))
    assert found == [True]
