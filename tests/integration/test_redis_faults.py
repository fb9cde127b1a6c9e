"""What becomes of commands when a real Redis fails: nobody waits longer than agreed, and the link is back by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop
from redis import Redis

from proxy.state.base import StateAway, StateFailed, StateUnusable
from proxy.state.redis_check import check_redis
from proxy.state.redis_client import asked, open_client
from proxy.state.redis_finder import key_slot
from proxy.state.redis_link import Link
from proxy.state.redis_opened import open_link
from proxy.state.redis_place import read_redis_url
from proxy.state.scripts import Script, load_script
from tests.redis_fleet import CERTIFIER, Certificate, behind_tls, redis_cluster, watched_redis
from tests.redis_server import RedisServer, redis_server

pytestmark = pytest.mark.integration

#: What a call may wait by default, in seconds, and far more, for machines under load.
AGREED_S = 0.05
PATIENT_S = 5.0


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """Counts."""
    monkeypatch.setattr("proxy.state.scripts._read", lambda _: "return redis.call('INCR', KEYS[1])\n")
    return load_script("counts")


@asynccontextmanager
async def linked(url: str, timeout_s: float = PATIENT_S) -> AsyncIterator[Link]:
    place = read_redis_url(url)
    assert place is not None
    link = open_link(place, timeout_s)
    await link.start()
    try:
        yield link
    finally:
        await link.aclose()


async def waited_s(asking: Awaitable[object]) -> float:
    """How long it took until Redis was found to be away."""
    began_s = time.monotonic()
    with pytest.raises(StateAway):
        await asking
    return time.monotonic() - began_s


async def until(is_true: Callable[[], bool], within_s: float = 30.0) -> float:
    """How long it took, in seconds."""
    began_s = time.monotonic()
    async with asyncio.timeout(within_s):
        while not is_true():
            await asyncio.sleep(0.01)
    return time.monotonic() - began_s


async def answered(link: Link, script: Script, key: str = "{a}") -> int:
    """What the script gives as soon as there is an answer."""
    async with asyncio.timeout(40):
        while True:
            try:
                return int(await link.run(script, [key]))
            except StateAway:
                await asyncio.sleep(0.02)


async def test_a_frozen_server_costs_each_caller_the_time_out_once_and_nobody_after_them(
    tmp_path: Path, script: Script
) -> None:
    with redis_server(tmp_path) as server:
        async with linked(server.url, AGREED_S) as link:
            await answered(link, script)
            server.freeze()
            waits = await asyncio.gather(*(waited_s(link.run(script, ["{a}"])) for _ in range(50)))
            assert max(waits) < 10 * AGREED_S
            assert link.is_away
            # It accepts connections all the while, and none of them counts.
            for _ in range(150):
                assert link.is_away
                assert await waited_s(link.run(script, ["{a}"])) < AGREED_S
                await asyncio.sleep(0.01)
            server.thaw()
            assert await until(lambda: not link.is_away) < 4
            assert await answered(link, script) > 1


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_loop_that_stood_still_itself_does_not_blame_redis(
    tmp_path: Path, script: Script, run: Callable[[Coroutine[None, None, None]], None]
) -> None:
    async def stand_still(url: str) -> None:
        async with linked(url, AGREED_S) as link:
            await answered(link, script)
            for _ in range(5):
                asked = asyncio.gather(*(link.run(script, ["{a}"]) for _ in range(20)))
                for _ in range(3):  # they are sent, and their answers are not read
                    await asyncio.sleep(0)
                time.sleep(3 * AGREED_S)
                assert len(await asked) == 20

    with redis_server(tmp_path) as server:
        run(stand_still(server.url))
        assert server.ask("GET", "{a}") == b"101"


async def test_a_server_that_was_killed_is_found_again_when_it_runs(tmp_path: Path, script: Script) -> None:
    with redis_server(tmp_path) as server:
        async with linked(server.url) as link:
            await answered(link, script)
            server.kill()
            await until(lambda: link.is_away)
            assert await waited_s(link.run(script, ["{a}"])) < AGREED_S
            server.start()
            assert await until(lambda: not link.is_away) < 4
            assert await link.run(script, ["{a}"]) == 1, "it had forgotten everything, the script too"


async def test_a_server_that_is_away_at_the_start_is_found_later(tmp_path: Path, script: Script) -> None:
    server = RedisServer(tmp_path)
    async with linked(server.url) as link:
        assert link.is_away
        server.start()
        try:
            assert await answered(link, script) == 1
        finally:
            server.kill()


async def test_a_demoted_server_is_left_and_what_it_refuses_is_not_lost_sight_of(
    tmp_path: Path, script: Script
) -> None:
    with redis_server(tmp_path) as server:
        async with linked(server.url) as link:
            await answered(link, script)
            server.ask("REPLICAOF", "127.0.0.1", 1)
            with pytest.raises(StateAway, match="READONLY"):
                await link.run(script, ["{a}"])
            await asyncio.sleep(0.5)
            assert link.is_away, "a replica is no server to write to"
            server.ask("REPLICAOF", "NO", "ONE")
            assert await answered(link, script) == 2


async def test_a_full_server_still_settles(tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "#!lua flags=allow-oom\nreturn redis.call('HSET', KEYS[1], 'a', 'b')\n"
    with redis_server(tmp_path) as server:
        async with linked(server.url) as link:
            await answered(link, script)
            monkeypatch.setattr("proxy.state.scripts._read", lambda _: source)
            settles = load_script("settles")
            server.ask("CONFIG", "SET", "maxmemory", 1)
            with pytest.raises(StateAway, match="full"):
                await link.run(script, ["{a}"])
            assert not link.is_away
            if server.ask("INFO", "server")["redis_version"].startswith("6."):
                with pytest.raises(StateAway, match="full"):
                    await link.run(settles, ["{a}s"])
            else:
                assert await link.run(settles, ["{a}s"]) == 1
            server.ask("CONFIG", "SET", "maxmemory", 0)
            assert await link.run(script, ["{a}"]) == 2


async def test_a_busy_server_is_away_until_it_is_done(tmp_path: Path, script: Script) -> None:
    with redis_server(tmp_path) as server:
        async with linked(server.url, 0.5) as link:
            await answered(link, script)
            server.ask("CONFIG", "SET", "lua-time-limit", 1)
            busy = asyncio.create_task(asyncio.to_thread(_spin, server))
            await until(lambda: link.is_away)
            assert await waited_s(link.run(script, ["{a}"])) < AGREED_S
            await asyncio.to_thread(server.ask, "SCRIPT", "KILL")
            await busy
            assert await answered(link, script) == 2


def _spin(server: RedisServer) -> None:
    with pytest.raises(Exception, match=r"(?i)killed"):
        server.ask("EVAL", "while true do end", 0)


async def test_a_flush_of_all_scripts_under_load_is_not_noticed(tmp_path: Path, script: Script) -> None:
    with redis_server(tmp_path) as server:
        async with linked(server.url) as link:

            async def work() -> None:
                for _ in range(50):
                    await link.run(script, ["{a}"])
                    link.send(script, ["{a}"])

            async with asyncio.TaskGroup() as group:
                for _ in range(8):
                    group.create_task(work())
                for _ in range(5):
                    await asyncio.to_thread(server.ask, "SCRIPT", "FLUSH")
            await link.ask("PING")
            assert (int(await link.ask("GET", "{a}")), link.unheard) == (800, 0)


async def test_cancelled_callers_never_shift_the_answers(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        async with linked(server.url) as link:

            async def echo(number: int) -> None:
                task = asyncio.create_task(link.ask("ECHO", number))
                if number % 3 == 0:
                    await asyncio.sleep(0)
                    task.cancel()
                    await asyncio.wait([task])
                else:
                    assert await task == b"%d" % number

            for batch in range(20):
                await asyncio.gather(*(echo(100 * batch + number) for number in range(50)))
            assert await link.ask("ECHO", "last") == b"last"


async def test_sentinels_name_the_new_server_while_calls_go_on(tmp_path: Path, script: Script) -> None:
    with watched_redis(tmp_path) as watched:
        async with linked(watched.url, 0.5) as link:
            assert await answered(link, script) == 1
            watched.sentinels[0].freeze()  # the others are asked all the same
            stop = asyncio.Event()
            counted = [0]

            async def work() -> None:
                while not stop.is_set():
                    try:
                        await link.run(script, ["{a}"])
                        counted[0] += 1
                    except StateAway:
                        pass
                    await asyncio.sleep(0.005)

            workers = [asyncio.create_task(work()) for _ in range(4)]
            await until(lambda: counted[0] > 20)
            watched.primary.kill()
            await until(lambda: link.is_away)
            await until(lambda: not link.is_away)
            before = counted[0]
            await until(lambda: counted[0] > before + 20)
            stop.set()
            await asyncio.gather(*workers)
            assert watched.replica.ask("INFO", "replication")["role"] == "master"
            with open_client(watched.url) as client:
                assert asked(lambda: client.get("{a}")) == watched.replica.ask("GET", "{a}")


async def test_the_rest_of_a_cluster_goes_on_without_one_of_its_nodes(tmp_path: Path, script: Script) -> None:
    with redis_cluster(tmp_path) as cluster:
        for node in cluster.nodes:
            node.ask("CONFIG", "SET", "cluster-require-full-coverage", "no")
        async with linked(cluster.url, 0.5) as link:
            keys = [f"{{team-{number}}}" for number in range(16)]
            for key in keys:
                await answered(link, script, key)
            there, gone = (
                [key for key in keys if cluster.owner(key_slot(key.encode())) is node] for node in cluster.nodes
            )
            cluster.nodes[1].freeze()
            await waited_s(link.run(script, [gone[0]]))
            assert await link.run(script, [there[0]]) == 2
            assert await waited_s(link.run(script, [gone[0]])) < AGREED_S
            assert not link.is_away
            cluster.nodes[1].thaw()
            assert await answered(link, script, gone[0]) > 1


async def test_a_clusters_replica_takes_over_while_calls_go_on(tmp_path: Path, script: Script) -> None:
    with redis_cluster(tmp_path, 3, spare=1) as cluster:
        cluster.stand_by(cluster.nodes[3], cluster.nodes[0])
        key = next(key for key in "abcdefgh" if cluster.owner(key_slot(key.encode())) is cluster.nodes[0])
        client = open_client(cluster.url)
        async with linked(cluster.url, 0.5) as link:
            for _ in range(5):
                await answered(link, script, key)
            assert cluster.nodes[0].ask("WAIT", 1, 5_000) == 1
            assert asked(lambda: client.get(key)) == b"5"
            cluster.nodes[0].kill()
            await waited_s(link.run(script, [key]))
            assert await answered(link, script, key) == 6
            assert cluster.nodes[3].ask("GET", key) == b"6"
            assert await asyncio.to_thread(_got, client, key) == b"6"
        client.close()


def _got(client: Redis, key: str) -> object:
    """Once the client has found out where to ask."""
    deadline_s = time.monotonic() + 20
    while True:
        try:
            return asked(lambda: client.get(key))
        except StateAway:
            assert time.monotonic() < deadline_s
            time.sleep(0.1)


@pytest.mark.skipif(CERTIFIER is None, reason="there is no openssl to make a certificate with")
async def test_a_server_over_tls_is_trusted_by_its_certificate_alone(tmp_path: Path, script: Script) -> None:
    certificate = Certificate(tmp_path)
    with redis_server(tmp_path) as server:
        async with behind_tls(server, certificate) as port:
            good = f"rediss://127.0.0.1:{port}/1?ssl_ca_certs={certificate.file}"
            async with linked(good) as link:
                assert await link.run(script, ["{a}"]) == 1
            with open_client(good) as client:
                assert await asyncio.to_thread(asked, lambda: client.get("{a}")) == b"1"
            await asyncio.to_thread(check_redis, good)
            async with linked(f"rediss://127.0.0.1:{port}") as link:
                assert link.is_away, "nobody we trust has signed it"
            async with linked(f"rediss://127.0.0.1:{port}?ssl_cert_reqs=none") as link:
                assert not link.is_away
    with pytest.raises(StateUnusable, match="TLS"):
        async with linked("rediss://127.0.0.1?ssl_ca_certs=/no/such.pem"):
            raise StateFailed("not reached")
