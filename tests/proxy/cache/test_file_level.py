import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import sleep

import orjson
import pytest

from proxy.cache.file_level import FileLevel, open_file_level
from proxy.cache.shared_level import Purged
from proxy.cache.store import Stored
from proxy.config.load import load_text
from proxy.state import CacheRow, Meant, SqliteCache, StateFailed
from tests.fakes import completion

NOW_S = 1_790_000_000.0
STORED = Stored(orjson.dumps(completion("Hello!")), "search", "chat", b"s" * 32, "req_1", "mine", "a", NOW_S, 700, 1.5)
CONFIG = 'version: 1\nstate: {url: "sqlite:///FILE"}\n'


def key(number: int) -> bytes:
    return number.to_bytes(32, "big") if number else bytes(32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def shared(path: Path, budget_bytes: int = 10**8) -> FileLevel:
    return FileLevel(SqliteCache(path), budget_bytes, lambda: NOW_S)


async def found(level: FileLevel, wanted: bytes) -> Stored | None:
    """As if there were no hurry."""
    for _ in range(500):
        entry = await level.find("search", wanted)
        if entry is not None or not level.stats.late:
            return entry
        level.stats.late = 0
    raise AssertionError("it never answered")


async def closed(level: FileLevel) -> None:
    await asyncio.to_thread(level.close)


async def test_answers_are_written_a_little_later_without_being_asked(path: Path) -> None:
    level = shared(path)
    level.add(key(1), STORED, 60)
    for _ in range(1000):
        if await found(level, key(1)) is not None:
            break
        await asyncio.sleep(0.01)
    assert await found(level, key(1)) == STORED
    assert level.stats.used_bytes > 0
    await closed(level)


async def test_keys_that_cannot_be_there_are_not_looked_for(path: Path) -> None:
    level = shared(path)
    await level.purge(Meant(id="nothing"), ())  # by then the keys are read
    await found(level, key(5))
    jobs = level._jobs
    del level._jobs  # whoever asks the thread fails
    assert await level.find("search", b"\x05" * 32) is None
    level._jobs = jobs
    await closed(level)


async def test_what_no_config_stands_behind_goes(path: Path) -> None:
    level = shared(path)
    level.add(key(1), STORED, 60)
    level.keep_scopes({b"other"})
    assert await level.purge(Meant(), ()) == Purged(0, None)
    await closed(level)


async def test_too_much_at_once_is_not_written(path: Path) -> None:
    level = shared(path)
    large = replace(STORED, body=orjson.dumps(completion("x" * 900_000)))
    for number in range(20):
        level.add(key(number), large, 60)
    assert level.stats.dropped == 3
    await closed(level)


async def test_what_waits_for_a_stuck_disk_is_bounded() -> None:
    gate = threading.Event()
    level = FileLevel(_Rows(lambda: gate.wait(30)), 10**8, lambda: NOW_S)
    large = replace(STORED, body=orjson.dumps(completion("x" * 900_000)))
    for number in range(40):
        level.add(key(number), large, 60)
        level._send()  # as it does 0.2 s later
    assert level.stats.dropped == 23
    gate.set()
    await closed(level)
    assert level.stats.dropped == 23
    assert level._added_bytes == level._done_bytes


async def test_who_looks_while_the_disk_is_stuck_adds_no_work_without_end() -> None:
    gate = threading.Event()
    looked: list[bool] = []
    level = FileLevel(_Rows(lambda: looked.append(gate.wait(30))), 10**8, lambda: NOW_S)
    await asyncio.gather(*(level.find("search", key(number)) for number in range(3000)))
    assert level._jobs.qsize() <= 1000
    assert level.stats.late == 3000
    gate.set()
    await closed(level)
    assert len(looked) <= 1, "for those who have gone nothing is looked for"


async def test_what_the_disk_cannot_do_does_not_end_what_it_can(path: Path) -> None:
    rows = SqliteCache(path)
    rows.add([CacheRow(b"short", b"", "t", "m", b"", "", "", "", 0, 10**15)], 10**8, 0)
    rows.close()
    level = shared(path)
    with pytest.raises(StateFailed):
        await level.purge(Meant(stored_before_ms=-(2**70)), ())
    level.add(key(1), STORED, 60)
    level._send()
    assert await found(level, key(1)) == STORED
    await closed(level)


class _Rows:
    """Rows that fail, or take their time."""

    used_bytes = 0

    def __init__(self, do: Callable[[], object]) -> None:
        self.do = do

    def all_keys(self) -> list[bytes]:
        raise StateFailed("no keys")

    def find(self, keys: object) -> dict[bytes, bytes]:
        self.do()
        return {}

    def add(self, rows: object, budget_bytes: int, now_ms: int) -> None:
        self.do()

    def discard(self, keys: object) -> None:
        self.do()

    def purge(self, meant: Meant) -> int:
        self.do()
        return 0

    def keep_scopes(self, scopes: object) -> int:
        self.do()
        return 0

    def note(self, name: str, data: bytes) -> None:
        self.do()

    def find_note(self, name: str) -> bytes | None:
        self.do()
        return None

    def close(self) -> None:
        pass


def _fail() -> None:
    raise StateFailed("the disk is gone")


async def test_a_level_that_fails_is_done_without(caplog: pytest.LogCaptureFixture) -> None:
    level = FileLevel(_Rows(_fail), 10**6, lambda: NOW_S)
    assert await found(level, key(1)) is None
    level.add(key(1), STORED, 60)
    assert level._young == [], "what cannot be read is not kept in mind"
    with pytest.raises(StateFailed):
        await level.purge(Meant(), ())
    level.keep_scopes(())
    level.note("learned", b"data")
    assert await level.find_note("learned") is None
    await closed(level)
    assert level.stats.is_failing
    assert level.stats.dropped == 1
    assert caplog.text.count("done without") == 1


async def test_a_call_does_not_wait_for_a_slow_disk() -> None:
    gate = threading.Event()
    level = FileLevel(_Rows(lambda: gate.wait(30)), 10**6, lambda: NOW_S)
    assert await level.find("search", key(1)) is None
    assert level.stats.late == 1
    gate.set()
    await closed(level)


async def test_who_is_cancelled_while_looking_leaves_nothing_behind() -> None:
    level = FileLevel(_Rows(lambda: sleep(0.005)), 10**6, lambda: NOW_S)
    task = asyncio.create_task(level.find("search", key(1)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await closed(level)
    await asyncio.sleep(0.01)
    assert level.stats.late == 0


async def test_it_lies_beside_the_state_unless_it_is_not_wanted(tmp_path: Path) -> None:
    text = CONFIG.replace("FILE", str(tmp_path / "books.db"))
    level = open_file_level(load_text(text, {}, "g.yaml").config)
    assert level is not None
    await closed(level)
    assert (tmp_path / "books.db-cache").exists()
    assert open_file_level(load_text(text + "cache: {shared: null}\n", {}, "g.yaml").config) is None


def test_where_it_cannot_be_opened_memory_does_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "books.db-cache").mkdir()
    assert open_file_level(load_text(CONFIG.replace("FILE", str(tmp_path / "books.db")), {}, "g.yaml").config) is None
    assert "without its shared level" in caplog.text


async def test_a_worn_sketch_is_made_anew_beside_those_who_look(path: Path) -> None:
    level = shared(path)
    await level.purge(Meant(id="nothing"), ())
    await found(level, key(1))
    assert level._sketch is not None
    level._sketch._room = 2
    before = level._sketch
    for number in range(1, 6):
        level.add(bytes([number]) * 32, STORED, 60)
    await level.purge(Meant(id="nothing"), ())  # by then it is read
    for number in range(1, 6):
        assert await found(level, bytes([number]) * 32) is not None
    assert level._sketch is not before
    await closed(level)
