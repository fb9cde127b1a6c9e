import asyncio

import pytest

from proxy.cache.reel import MAX_KEPT_BYTES, Reel, Shelf
from proxy.errors import UpstreamError

MB = 1_000_000


def reel(limit_bytes: int = 100 * MB) -> tuple[Reel, Shelf]:
    shelf = Shelf(limit_bytes)
    return Reel(shelf), shelf


async def read(one: Reel, name: str) -> bytes:
    return b"".join([block async for block in one.read(name)])


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_each_reader_gets_all_of_it_whenever_it_came() -> None:
    one, _ = reel()
    one.join("a")
    first = asyncio.create_task(read(one, "a"))
    one.add(b"1")
    await turn()
    one.add(b"2")
    one.join("b")
    second = asyncio.create_task(read(one, "b"))
    await turn()
    one.add(b"3")
    one.end()
    one.join("c")
    assert (await first, await second, await read(one, "c"), one.contents) == (b"123", b"123", b"123", b"123")


async def test_what_is_there_already_comes_as_one_block_and_the_rest_as_it_comes() -> None:
    one, _ = reel()
    one.add(b"1")
    one.add(b"2")
    one.join("a")
    blocks = one.read("a")
    assert await anext(blocks) == b"12"
    waiting = asyncio.ensure_future(anext(blocks))
    await turn()
    assert not waiting.done()
    one.add(b"3")
    assert await waiting == b"3"


async def test_its_failure_comes_after_what_came_before_it() -> None:
    one, _ = reel()
    one.join("a")
    one.add(b"1")
    one.end(UpstreamError("cut"))
    one.end()
    blocks = one.read("a")
    assert await anext(blocks) == b"1"
    with pytest.raises(UpstreamError):
        await anext(blocks)


async def test_the_source_waits_for_the_fastest_reader_only() -> None:
    one, _ = reel()
    for name in ("fast", "slow"):
        one.join(name)
    one.add(b"x" * MB)
    adding = asyncio.create_task(one.room())
    await turn()
    assert not adding.done()
    await anext(one.read("fast"))
    await asyncio.wait_for(adding, 5)
    assert one.is_whole


async def test_beyond_its_bound_it_keeps_what_the_slowest_has_not_read_and_nobody_joins() -> None:
    one, shelf = reel()
    for name in ("fast", "slow"):
        one.join(name)
    fast, slow = one.read("fast"), one.read("slow")
    one.add(b"1" * (MAX_KEPT_BYTES + 1))
    assert not one.is_whole
    assert shelf.used_bytes == 0
    await anext(fast)
    adding = asyncio.create_task(one.room())
    await turn()
    assert not adding.done()
    await anext(slow)
    await asyncio.wait_for(adding, 5)
    assert one.contents == b""
    one.add(b"2")
    one.end()
    assert [await anext(fast), await anext(slow)] == [b"2", b"2"]


async def test_who_is_far_behind_gets_it_in_pieces() -> None:
    """Each reader has a copy of its own on its way out."""
    one, _ = reel()
    for number in range(300):
        one.add(b"%d" % (number % 10) * 10_000)
    one.end()
    one.join("late")
    pieces = [block async for block in one.read("late")]
    assert b"".join(pieces) == one.contents
    assert max(map(len, pieces)) < 300_000


async def test_what_slow_readers_have_not_read_counts_until_they_leave() -> None:
    one, shelf = reel()
    one.join("slow")
    one.add(b"x" * MB)
    one.end()
    one.close()
    assert shelf.used_bytes == MB
    one.leave("slow")
    assert shelf.used_bytes == 0


async def test_a_reader_that_leaves_holds_nobody_up() -> None:
    one, _ = reel()
    one.join("slow")
    one.add(b"x" * MB)
    adding = asyncio.create_task(one.room())
    await turn()
    assert not adding.done()
    one.leave("slow")
    await asyncio.wait_for(adding, 5)


async def test_all_reels_together_keep_no_more_than_the_shelf_holds() -> None:
    shelf = Shelf(1000)
    first, second = Reel(shelf), Reel(shelf)
    first.add(b"x" * 600)
    second.add(b"x" * 300)
    assert (first.is_whole, second.is_whole, shelf.used_bytes) == (True, True, 900)
    second.add(b"x" * 300)
    assert (first.is_whole, second.is_whole, shelf.used_bytes) == (True, False, 600)
    first.close()
    first.close()
    assert shelf.used_bytes == 0
