"""What is of Redis alone; what both registries do is in `test_sqlite_registry.py`."""

import threading
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import uuid4

import pytest

from proxy.state import Author, ChangeRefused, Fingerprint, StateFailed
from proxy.state.redis_client import open_client
from proxy.state.redis_keys import RedisKeys
from proxy.state.redis_registry import RedisRegistry
from tests.redis_server import RedisServer, redis_server

pytestmark = pytest.mark.integration

BY = Author("cli:alice", 1000)


def fingerprint(text: str) -> Fingerprint:
    return Fingerprint(sha256(text.encode()).digest(), f"sk-ws-{text}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def namespace() -> str:
    return f"t{uuid4().hex}"


def opened(server: RedisServer, namespace: str, patience_s: float = 5.0) -> RedisRegistry:
    return RedisRegistry(open_client(server.url, patience_s), RedisKeys(namespace))


@pytest.fixture
def registry(server: RedisServer, namespace: str) -> Iterator[RedisRegistry]:
    with closing(opened(server, namespace)) as registry:
        yield registry


def test_one_that_follows_goes_by_what_it_read_and_asks_nobody(
    server: RedisServer, namespace: str, registry: RedisRegistry
) -> None:
    registry.block_key("search", "ci", BY)
    with closing(opened(server, namespace)) as following:
        following.follow()
        version = following.refresh()
        assert following.blocked == {("search", "ci")}
        registry.unblock_key("search", "ci", BY)
        assert following.refresh() == version
        following.look()
        assert following.refresh() == version + 1
        assert following.blocked == frozenset()
        seen = following.seen
        began_s = perf_counter()
        for _ in range(10_000):
            following.refresh()
        assert perf_counter() - began_s < 0.5  # with a trip each it would take more
        assert following.seen == seen


def test_a_change_of_its_own_is_seen_at_once_by_one_that_follows(registry: RedisRegistry) -> None:
    registry.follow()
    version = registry.refresh()
    registry.block_key("search", "ci", BY)
    assert registry.refresh() == version + 1
    assert registry.blocked == {("search", "ci")}


def test_changes_at_once_are_all_made_and_each_name_given_once(server: RedisServer, namespace: str) -> None:
    refused: list[str] = []

    def make(number: int) -> None:
        with closing(opened(server, namespace)) as one:
            for index in range(10):
                try:
                    one.create_key("search", f"key-{index}", fingerprint(f"{number}-{index}"), None, BY)
                except ChangeRefused as error:
                    refused.append(str(error))

    threads = [threading.Thread(target=make, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with closing(opened(server, namespace)) as registry:
        registry.refresh()
        assert [key.id for key in registry.keys] == list(range(1, 11))
        assert len({key.name for key in registry.keys}) == 10
        assert len(refused) == 30
        assert [row.id for row in registry.audit(100)] == list(range(10, 0, -1))


def test_a_change_that_others_keep_overtaking_is_given_up(
    registry: RedisRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_enter", lambda *_: False)
    with pytest.raises(StateFailed, match="nothing was changed"):
        registry.block_key("search", "ci", BY)


def test_each_change_is_told_to_the_fleet_by_the_same_stroke(
    server: RedisServer, namespace: str, registry: RedisRegistry
) -> None:
    registry.block_key("search", "ci", BY)
    registry.record(BY, "target.drain", "p/a")
    registry.unblock_key("search", "ci", BY)
    news: Any = server.client.xrange(f"{{{namespace}}}:news")
    assert [entry[b"kind"] for _, entry in news] == [b"keys", b"keys"]
    assert [entry[b"after"] for _, entry in news] == [b"0-0", news[0][0]]
    assert server.client.get(f"{{{namespace}}}:registry:version") == news[-1][0]


def test_without_redis_nothing_is_known_at_first_and_later_what_was_read_last(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with redis_server(tmp_path) as server, closing(opened(server, "w", 0.2)) as registry:
        server.kill()
        registry.follow()
        assert "nobody is let in" in caplog.text
        assert [registry.is_read] == [False]
        with pytest.raises(StateFailed):
            registry.refresh()
        server.start()
        registry.look()
        assert [registry.is_read] == [True]
        registry.block_key("search", "ci", BY)
        server.kill()
        with pytest.raises(StateFailed):
            registry.look()
        with pytest.raises(StateFailed):
            registry.unblock_key("search", "ci", BY)
        registry.refresh()
        assert registry.blocked == {("search", "ci")}


def test_a_key_is_revoked_in_a_redis_that_is_full(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server, closing(opened(server, "w")) as registry:
        if int(server.client.info()["redis_version"].split(".")[0]) < 7:
            pytest.skip("before version 7 a script can't say that it must be run all the same")
        registry.create_key("search", "ci", fingerprint("a"), None, BY)
        server.client.config_set("maxmemory", 1)
        registry.revoke_key("search", "ci", BY)
        registry.refresh()
        assert registry.keys[0].revoked_ms == 1000


def test_what_redis_has_lost_is_gone_here_too_at_the_next_look(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server, closing(opened(server, "w")) as registry:
        registry.create_key("search", "ci", fingerprint("a"), None, BY)
        registry.follow()
        assert registry.keys
        server.client.flushall()
        registry.look()
        assert not registry.keys
