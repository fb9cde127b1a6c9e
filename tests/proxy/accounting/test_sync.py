import asyncio
import threading
from collections.abc import Callable
from math import inf
from pathlib import Path
from time import monotonic

from proxy.accounting.segments import SegmentFile
from proxy.accounting.sync import Syncer
from tests.books import Disk
from tests.fakes import HandClock


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.001)


def segment(disk: Disk, folder: Path, name: str = "one") -> SegmentFile:
    file = disk(folder / name)
    file.write(b"data")
    return file


async def test_what_is_written_is_synced_without_being_asked(tmp_path: Path) -> None:
    disk, syncer = Disk(), Syncer(monotonic, every_s=0.001)
    file = segment(disk, tmp_path)
    syncer.wrote(file, 3)
    await until(lambda: disk.synced == 1)
    assert await syncer.wait(3)
    syncer.retire(file)
    syncer.close(5)
    assert disk.closed == 1


async def test_who_must_know_does_not_wait_for_the_next_round(tmp_path: Path) -> None:
    disk, syncer = Disk(), Syncer(monotonic, every_s=3600)
    syncer.wrote(segment(disk, tmp_path), 1)
    assert await syncer.wait(1)
    assert disk.synced == 1
    syncer.close(5)


async def test_nothing_is_synced_while_nothing_is_written(tmp_path: Path) -> None:
    disk, syncer = Disk(), Syncer(monotonic, every_s=0.0)
    syncer.wrote(segment(disk, tmp_path), 1)
    await syncer.wait(1)
    await asyncio.sleep(0.01)
    assert disk.synced == 1
    syncer.close(5)


async def test_a_retired_segment_is_synced_for_the_last_time_before_later_tokens_count(tmp_path: Path) -> None:
    disk, syncer = Disk(), Syncer(monotonic, every_s=3600)
    first, second = segment(disk, tmp_path, "one"), segment(disk, tmp_path, "two")
    syncer.wrote(first, 1)
    syncer.retire(first)
    syncer.wrote(second, 2)
    assert await syncer.wait(2)
    assert (disk.synced, disk.closed) == (2, 1)
    syncer.close(5)


async def test_a_failure_is_told_to_who_waits_and_tried_again(tmp_path: Path) -> None:
    disk, syncer = Disk(), Syncer(monotonic, every_s=0.001)
    disk.can_sync = False
    file = segment(disk, tmp_path)
    syncer.wrote(file, 1)
    assert not await syncer.wait(1)
    assert syncer.is_failing
    syncer.retire(file)
    disk.can_sync = True
    await until(lambda: not syncer.is_failing and disk.closed == 1)
    assert await syncer.wait(1)
    syncer.close(5)


async def test_a_sync_under_way_can_be_seen(tmp_path: Path) -> None:
    disk, clock = Disk(), HandClock()
    syncer = Syncer(clock, every_s=0.001)
    released = threading.Event()
    disk.on_sync = lambda: released.wait(30)
    assert syncer.began_at == inf
    syncer.wrote(segment(disk, tmp_path), 1)
    await until(lambda: syncer.began_at == clock.now)
    released.set()
    assert await syncer.wait(1)
    await until(lambda: syncer.began_at == inf)
    syncer.close(5)
