from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence

import pytest

from proxy.cache import follower as follower_module
from proxy.cache.follower import Follower
from proxy.state import IndexEntry, StateAway
from proxy.state.redis_cache import MAX_NOTICES
from proxy.state.redis_cache_news import CacheNews

SCOPE, OTHER = b"s" * 32, b"o" * 32


class FakeSource:
    """What there is to be known. Ids are numbers."""

    def __init__(self) -> None:
        self.notices: list[tuple[bytes, bytes]] = []
        self.learned: list[tuple[bytes, bytes]] = []
        self.entries: dict[tuple[str, bytes], list[IndexEntry]] = defaultdict(list)
        self.is_away = False
        self.asked = 0
        self.is_closed = False

    def ask(self, since_ms: int, notice: bytes, lesson: bytes, count: int) -> CacheNews:
        self.asked += 1
        if self.is_away:
            raise StateAway("gone")
        return CacheNews(
            0, [*self.entries], self._after(self.notices, notice, count), self._after(self.learned, lesson, count)
        )

    def read(self, team: str, scope: bytes, after: bytes, count: int) -> list[IndexEntry]:
        return [one for one in self.entries[team, scope] if int(one.id) > int(after)][:count]

    def memory(self) -> tuple[int, int | None]:
        return 5, 9

    def close(self) -> None:
        self.is_closed = True

    def add(self, scope: bytes, *numbers: int) -> None:
        self.entries["search", scope] += [IndexEntry(b"%d" % number, b"k", b"d") for number in numbers]

    @staticmethod
    def _after(rows: list[tuple[bytes, bytes]], id: bytes, count: int) -> list[tuple[bytes, bytes]]:
        at = int(id.partition(b"-")[0] or 0) if not id.startswith(b"-") else -1
        return [row for row in rows if id and int(row[0]) > at][:count]


class FakeTold:
    def __init__(self) -> None:
        self.notices: list[bytes] = []
        self.lessons: list[tuple[bytes, bytes]] = []
        self.entries: list[bytes] = []
        self.largest = self.missing = 0
        self.memory: tuple[int, int | None] = (0, None)

    async def noticed(self, notices: Sequence[bytes], lessons: Sequence[tuple[bytes, bytes]]) -> None:
        self.notices += notices
        self.lessons += lessons

    async def missed(self) -> None:
        self.missing += 1

    async def measured(self, used_bytes: int, limit_bytes: int | None) -> None:
        self.memory = used_bytes, limit_bytes

    async def indexed(self, team: str, entries: Sequence[IndexEntry]) -> None:
        await asyncio.sleep(0)
        self.entries += [one.id for one in entries]
        self.largest = max(self.largest, len(entries))


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower_module, "_EVERY_S", 0.001)
    monkeypatch.setattr(follower_module, "_FAILED_S", 0.001)


async def until(is_true: Callable[[], bool]) -> None:
    for _ in range(5000):
        if is_true():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not become true")


async def test_purges_are_told_from_its_start_on_in_their_order() -> None:
    source, told = FakeSource(), FakeTold()
    follower = Follower(lambda: source, told)
    await until(lambda: source.asked > 1)
    source.notices += [(b"1", b"one"), (b"2", b"two")]
    await until(lambda: len(told.notices) == 2)
    assert (told.notices, told.lessons, told.memory) == ([b"one", b"two"], [], (5, 9))
    await follower.aclose()
    assert source.is_closed


async def test_indexes_are_read_when_they_are_wanted_and_to_their_end() -> None:
    source, told = FakeSource(), FakeTold()
    source.add(SCOPE, *range(1, 1100))
    source.add(OTHER, 1, 2)
    follower = Follower(lambda: source, told)
    await until(lambda: follower.is_current)
    assert told.entries == []
    follower.follow_meaning([SCOPE], b"0")
    await until(lambda: follower.is_current)
    source.add(SCOPE, 1100)
    await until(lambda: len(told.entries) == 1100)
    assert told.largest == 500
    follower.follow_meaning([SCOPE, OTHER], b"0")
    await until(lambda: len(told.entries) == 1102)
    await follower.aclose()


async def test_lessons_are_told_from_the_last_that_is_known() -> None:
    source, told = FakeSource(), FakeTold()
    source.learned += [(b"1", b"one"), (b"2", b"two")]
    follower = Follower(lambda: source, told)
    await until(lambda: source.asked > 2)
    follower.follow_meaning([], b"1")
    await until(lambda: bool(told.lessons))
    source.learned.append((b"3", b"three"))
    await until(lambda: len(told.lessons) == 2)
    assert told.lessons == [(b"2", b"two"), (b"3", b"three")]
    await follower.aclose()


async def test_after_a_failure_it_goes_on_where_it_was(caplog: pytest.LogCaptureFixture) -> None:
    source, told = FakeSource(), FakeTold()
    source.is_away = True
    follower = Follower(lambda: source, told)
    await until(lambda: source.asked > 3)
    assert caplog.text.count("not known just now") == 1
    source.is_away = False
    await until(lambda: follower.is_current)
    source.notices.append((b"1", b"one"))
    await until(lambda: told.notices == [b"one"])
    assert caplog.text.count("is known again") == 1
    await follower.aclose()


async def test_where_some_purges_may_be_lost_that_is_told() -> None:
    source, told = FakeSource(), FakeTold()
    follower = Follower(lambda: source, told)
    await until(lambda: source.asked > 1)
    source.notices += [(b"%d" % number, b"n") for number in range(1, MAX_NOTICES + 2)]
    await until(lambda: len(told.notices) == MAX_NOTICES + 1)
    await until(lambda: bool(told.missing))
    await follower.aclose()
    assert told.missing == 1, "and once"


async def test_when_a_purge_can_t_be_acted_on_all_may_be_meant_and_the_next_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Clumsy(FakeTold):
        async def noticed(self, notices: Sequence[bytes], lessons: Sequence[tuple[bytes, bytes]]) -> None:
            if b"odd" in notices:
                raise KeyError("odd")
            await super().noticed(notices, lessons)

    source, told = FakeSource(), Clumsy()
    follower = Follower(lambda: source, told)
    await until(lambda: source.asked > 1)
    source.notices.append((b"1", b"odd"))
    await until(lambda: told.missing == 1)
    source.notices.append((b"2", b"n"))
    await until(lambda: told.notices == [b"n"])
    await follower.aclose()
    assert "can't be made sense of" in caplog.text
