"""The cache of several replicas on one real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from time import monotonic

import orjson
import pytest

from proxy.chain.asked import Asked
from proxy.chain.looked import Further
from proxy.errors import UpstreamError
from proxy.state import Meant
from tests.calls import a_call, an_embeddings_call
from tests.fakes import completion
from tests.redis_server import RedisServer, redis_server
from tests.shared_caches import a_namespace, replica, until

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def namespace() -> str:
    return a_namespace()


async def test_what_one_replica_stored_another_one_gives(server: RedisServer, namespace: str) -> None:
    async with replica(server.url, namespace) as a, replica(server.url, namespace) as b:
        assert (await a.ask())[0] == "miss"
        await a.written()
        assert await b.ask() == ("exact", orjson.dumps(completion("Hello!")))
        assert await b.ask() == ("exact", orjson.dumps(completion("Hello!")))
        assert (a.asked, b.asked, b.level.stats.found) == (1, 0, 1), "the second time it is in memory"


async def test_streams_and_json_serve_each_other_across_replicas(server: RedisServer, namespace: str) -> None:
    async with replica(server.url, namespace) as a, replica(server.url, namespace) as b:
        await a.ask(stream=True)
        await a.written()
        result, body = await b.ask()
        assert (result, orjson.loads(body)["choices"]) == ("exact", completion("Hello!")["choices"])


async def test_a_hundred_identical_calls_to_two_replicas_are_one_upstream(server: RedisServer, namespace: str) -> None:
    async with replica(server.url, namespace) as a, replica(server.url, namespace) as b:
        a.gate.clear()
        b.gate.clear()
        calls = [asyncio.create_task((a, b)[number % 2].ask()) for number in range(100)]
        await until(lambda: a.asked + b.asked > 0)
        await asyncio.sleep(0.2)
        a.gate.set()
        b.gate.set()
        results = await asyncio.gather(*calls)
        assert a.asked + b.asked == 1
        assert sorted(result for result, _ in results) == ["coalesced"] * 99 + ["miss"]
        assert {body for _, body in results} == {orjson.dumps(completion("Hello!"))}
        saved = a.state.counts.saved_nusd + b.state.counts.saved_nusd
        assert saved == 99 * 700, "who is given another's answer pays nothing"


async def test_streams_ask_for_themselves_on_each_replica(server: RedisServer, namespace: str) -> None:
    async with replica(server.url, namespace) as a, replica(server.url, namespace) as b:
        a.gate.clear()
        first = asyncio.create_task(a.ask(stream=True))
        await until(lambda: a.asked == 1)
        assert (await b.ask(stream=True))[0] == "miss"
        a.gate.set()
        assert (await first)[0] == "miss"


async def test_when_the_leader_dies_a_waiter_takes_over(server: RedisServer, namespace: str) -> None:
    async with AsyncExitStack() as stack:
        a, b, c = [await stack.enter_async_context(replica(server.url, namespace)) for _ in range(3)]
        a.gate.clear()
        first = asyncio.create_task(a.ask())
        await until(lambda: a.asked == 1)
        others = [asyncio.create_task(one.ask()) for one in (b, c, b, c)]
        await asyncio.sleep(0.2)
        assert b.asked + c.asked == 0
        await a.die()
        results = [result for result, _ in await asyncio.gather(*others)]
        assert b.asked + c.asked == 1
        assert sorted(results) == ["coalesced"] * 3 + ["miss"]
        a.gate.set()
        assert (await first)[0] == "miss", "who has lost Redis goes on alone"


async def test_when_the_leader_fails_a_waiter_takes_over_at_once(server: RedisServer, namespace: str) -> None:
    async with replica(server.url, namespace) as a, replica(server.url, namespace) as b:
        a.answer = lambda call: UpstreamError("down")
        a.gate.clear()
        first = asyncio.create_task(a.ask())
        await until(lambda: a.asked == 1)
        other = asyncio.create_task(b.ask())
        await asyncio.sleep(0.1)
        a.gate.set()
        with pytest.raises(UpstreamError):
            await first
        began = monotonic()
        assert (await other)[0] == "miss"
        assert monotonic() - began < 3, "before its lease would have ended"


async def test_when_the_leader_s_caller_leaves_a_waiter_takes_over(server: RedisServer, namespace: str) -> None:
    async with replica(server.url, namespace) as a, replica(server.url, namespace) as b:
        a.gate.clear()
        first = asyncio.create_task(a.ask())
        await until(lambda: a.asked == 1)
        other = asyncio.create_task(b.ask())
        await asyncio.sleep(0.1)
        first.cancel()
        assert (await other)[0] == "miss"
        assert b.asked == 1


async def test_for_an_answer_that_is_not_kept_nobody_waits_in_turn(server: RedisServer, namespace: str) -> None:
    cut = completion("Hello!")
    cut["choices"][0]["finish_reason"] = "length"
    async with AsyncExitStack() as stack:
        all_three = [await stack.enter_async_context(replica(server.url, namespace)) for _ in range(3)]
        for one in all_three:
            one.answer = lambda call: orjson.dumps(cut)
            one.gate.clear()
        calls = [asyncio.create_task(one.ask()) for one in all_three]
        await until(lambda: sum(one.asked for one in all_three) == 1)
        next(one for one in all_three if one.asked).gate.set()
        await until(lambda: sum(one.asked for one in all_three) == 3)  # both that waited, side by side
        for one in all_three:
            one.gate.set()
        assert [result for result, _ in await asyncio.gather(*calls)] == ["miss"] * 3


async def test_a_purge_reaches_every_replica(server: RedisServer, namespace: str) -> None:
    async with replica(server.url, namespace) as a, replica(server.url, namespace) as b:
        await a.ask()
        await a.ask("Bye", team="sales")
        await a.written()
        await b.ask()
        await b.ask("Bye", team="sales")
        assert b.state.store.stats.entries == 2
        began = monotonic()
        assert await a.state.purge(Meant(team="search")) == 1
        await until(lambda: b.state.store.stats.entries == 1)
        assert monotonic() - began < 5, "0.3 s on a machine that is not busy"
        assert (await b.ask())[0] == "miss"
        assert (await b.ask("Bye", team="sales"))[0] == "exact"


@pytest.mark.parametrize("meant", [Meant(model="chat"), Meant(stored_before_ms=2**53), Meant()])
async def test_what_is_purged_of_all_teams_is_gone_of_all(server: RedisServer, namespace: str, meant: Meant) -> None:
    async with replica(server.url, namespace) as a, replica(server.url, namespace) as b:
        await a.ask()
        await a.ask(team="sales")
        await a.written()
        assert await b.state.purge(meant) == 2
        await until(lambda: not a.state.store.stats.entries)
        assert [(await b.ask(team=team))[0] for team in ("search", "sales")] == ["miss", "miss"]


async def test_an_answer_that_set_out_before_a_purge_elsewhere_is_not_stored(
    server: RedisServer, namespace: str
) -> None:
    async with replica(server.url, namespace) as a, replica(server.url, namespace) as b:
        a.gate.clear()
        call = asyncio.create_task(a.ask())
        await until(lambda: a.asked == 1)
        await b.state.purge(Meant(team="search"))
        a.gate.set()
        assert (await call)[0] == "miss"
        await a.written()
        assert (await b.ask())[0] == "miss"


async def test_a_complaint_on_one_replica_is_heard_on_all(server: RedisServer, namespace: str) -> None:
    async with replica(server.url, namespace) as a, replica(server.url, namespace) as b:
        await a.ask()
        await a.written()
        await b.ask()
        hit = next(iter(b.state.served._hits))
        assert await b.state.complain(*hit) == 1
        await until(lambda: not a.state.store.stats.entries)


async def test_teams_never_meet(server: RedisServer, namespace: str) -> None:
    async with replica(server.url, namespace) as a, replica(server.url, namespace) as b:
        for number in range(20):
            await a.ask(f"question {number}")
        await a.written()
        results = [await b.ask(f"question {number}", team="sales") for number in range(20)]
        assert {result for result, _ in results} == {"miss"}
        with server.client as client:
            names = [name.decode() for name in client.scan_iter(match=f"*{namespace}*:cache:*", count=1000)]
        assert sum(name.startswith(f"{{{namespace}/search}}:") for name in names) == 20


async def test_what_redis_has_evicted_is_a_miss(server: RedisServer, namespace: str) -> None:
    async with replica(server.url, namespace) as a, replica(server.url, namespace) as b:
        await a.ask()
        await a.written()
        with server.client as client:
            client.delete(*client.keys(f"*{namespace}*:cache:*"))
        assert (await b.ask())[0] == "miss"


async def test_what_is_damaged_is_a_miss_and_removed(server: RedisServer, namespace: str) -> None:
    async with replica(server.url, namespace) as a, replica(server.url, namespace) as b:
        b.gate.clear()
        await a.ask()
        await a.written()
        with server.client as client:
            [name] = client.keys(f"*{namespace}*:cache:*")
            client.set(name, b"W1" + bytes(100))
            call = asyncio.create_task(b.ask())
            await until(lambda: b.asked == 1)
            await until(lambda: not client.exists(name))
        b.gate.set()
        assert (await call)[0] == "miss"
        assert b.level.stats.damaged == 1


async def test_a_frozen_redis_is_waited_for_once(tmp_path_factory: pytest.TempPathFactory, namespace: str) -> None:
    with redis_server(tmp_path_factory.mktemp("frozen")) as frozen:
        async with replica(frozen.url, namespace, timeout_s=0.5) as a:
            await a.ask("before")
            await a.written()
            frozen.freeze()
            began = monotonic()
            results = await asyncio.gather(*(a.ask(f"first {number}") for number in range(10)))
            first_s = monotonic() - began
            began = monotonic()
            results += [await a.ask(f"then {number}") for number in range(50)]
            then_s = monotonic() - began
            frozen.thaw()
            assert {result for result, _ in results} == {"miss"}
            assert 0.4 < first_s < 5, "they wait side by side"
            assert then_s < 5, "by then nobody waits: else it were 25 s"
            assert a.asked == 61
            assert (await a.ask("before"))[0] == "exact", "what memory has is given all the same"


async def test_who_waits_for_another_replica_goes_on_alone_when_redis_is_gone(
    tmp_path_factory: pytest.TempPathFactory, namespace: str
) -> None:
    with redis_server(tmp_path_factory.mktemp("gone")) as gone:
        async with replica(gone.url, namespace) as a, replica(gone.url, namespace) as b:
            a.gate.clear()
            first = asyncio.create_task(a.ask())
            await until(lambda: a.asked == 1)
            other = asyncio.create_task(b.ask())
            await asyncio.sleep(0.1)
            gone.kill()
            assert (await other)[0] == "miss"
            a.gate.set()
            assert (await first)[0] == "miss"


async def test_a_call_that_is_refused_leaves_no_flight_behind(server: RedisServer, namespace: str) -> None:
    async with replica(server.url, namespace) as a:
        for turns in (0, 50):
            call = a_call()
            a.layer.prefetch(call)
            for _ in range(turns):
                await asyncio.sleep(0.001)
            await call.closing.aclose()
            await a.written()
            await a.link.ask("PING")
            with server.client as client:
                assert client.keys(f"*{namespace}*:flight:*") == []


async def test_what_was_begun_ahead_is_used(server: RedisServer, namespace: str) -> None:
    async with replica(server.url, namespace) as a, replica(server.url, namespace) as b:
        await a.ask()
        await a.written()
        call = a_call(received_at=monotonic())
        call.request.body |= {"messages": [{"role": "user", "content": "Hello"}]}
        b.layer.prefetch(call)
        looks = len(b.level._looks)
        assert (await b.ask(call=call))[0] == "exact"
        assert (looks, b.level.stats.found) == (1, 1)


async def test_what_was_begun_for_another_model_is_left_alone(server: RedisServer, namespace: str) -> None:
    async with replica(server.url, namespace) as a:
        call = a_call(received_at=monotonic())
        a.layer.prefetch(call)
        begun = call.sought
        assert isinstance(begun, Asked)
        begun.model = "a larger one"
        assert (await a.ask(call=call))[0] == "miss"
        await a.written()
        with server.client as client:
            assert client.keys(f"*{namespace}*:flight:*") == []


async def test_what_is_not_to_be_found_is_not_looked_for(server: RedisServer, namespace: str) -> None:
    async with replica(server.url, namespace) as a:
        await a.ask()
        for control in (b"no-cache", b"no-store"):
            call = a_call(headers={b"cache-control": control}, received_at=monotonic())
            a.layer.prefetch(call)
            assert a.level._looks == {}
        a.layer.prefetch(a_call("other"))
        assert a.level._looks == {}


async def test_inputs_that_one_replica_has_vectors_of_another_one_gives(server: RedisServer, namespace: str) -> None:
    async with replica(server.url, namespace) as a, replica(server.url, namespace) as b:
        assert await a.embed("one", "two") == ("miss", 2)
        await a.written()
        assert await b.embed("two", "one") == ("exact", 2)
        assert await b.embed("two", "three") == ("miss", 2)
        assert (a.inputs, b.inputs) == (["one", "two"], ["three"])


async def test_inputs_that_were_looked_for_ahead_are_not_looked_for_again(server: RedisServer, namespace: str) -> None:
    async with replica(server.url, namespace) as a, replica(server.url, namespace) as b:
        await a.embed("one", "two")
        await a.written()
        call = an_embeddings_call("one", "two")
        b.embedding.prefetch(call)
        with server.client as client:
            before = client.info("commandstats")["cmdstat_mget"]["calls"]
            assert await b.embed(call=call) == ("exact", 2)
            assert client.info("commandstats")["cmdstat_mget"]["calls"] == before + 1
        assert b.inputs == []


async def test_a_search_ahead_ends_with_its_call(server: RedisServer, namespace: str) -> None:
    async with replica(server.url, namespace) as a:
        call = an_embeddings_call("one")
        a.embedding.prefetch(call)
        begun = call.sought
        assert isinstance(begun, Further)
        await call.closing.aclose()
        with pytest.raises(asyncio.CancelledError):
            await begun.finding
        call.model = "a larger one"
        a.embedding.prefetch(call)
        assert call.sought is begun, "that one has no cache"


async def test_vectors_of_another_size_are_forgotten_by_all(server: RedisServer, namespace: str) -> None:
    async with replica(server.url, namespace) as a, replica(server.url, namespace) as b:
        await a.embed("one")
        await a.written()
        b.dims = 5
        with pytest.raises(UpstreamError, match="try again"):
            await b.embed("one", "two")
        assert await b.embed("one", "two") == ("miss", 2)
        assert b.inputs == ["two", "one", "two"]
