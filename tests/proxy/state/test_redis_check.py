from pathlib import Path

import pytest

from proxy.state import StateUnusable
from proxy.state.redis_check import check_redis, unfit
from tests.redis_fleet import SERVICE, redis_cluster, watched_redis
from tests.redis_server import RedisServer, redis_server

GOOD = {"redis_version": "7.4.1", "redis_mode": "standalone", "maxmemory_policy": "noeviction"}


@pytest.mark.parametrize(
    "info",
    [
        GOOD,
        {**GOOD, "redis_version": "6.2"},
        {**GOOD, "redis_version": "6.10.0"},
        {"redis_version": "7.2.4", "valkey_version": "9.1.2", "server_mode": "standalone"},
        {},
    ],
)
def test_a_server_that_will_do(info: dict[str, str]) -> None:
    assert unfit(info, "single", may_evict=False) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"redis_version": "6.0.16"}, r"version 6\.0\.16, and 6\.2 is needed"),
        ({"redis_version": "5.0"}, "6.2 is needed"),
        ({"redis_mode": "sentinel"}, r"redis\+sentinel://"),
        ({"redis_mode": "cluster"}, r"redis\+cluster://"),
        ({"maxmemory_policy": "allkeys-lru"}, "set maxmemory-policy to noeviction"),
        ({"maxmemory_policy": "volatile-ttl"}, "volatile-ttl"),
    ],
)
def test_a_server_that_will_not_do_is_refused_with_what_to_do(change: dict[str, str], reason: str) -> None:
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(unfit({**GOOD, **change}, "single", may_evict=False))


def test_a_caches_server_may_evict_and_a_cluster_may_be_one() -> None:
    assert unfit({**GOOD, "maxmemory_policy": "allkeys-lfu"}, "single", may_evict=True) is None
    assert unfit({**GOOD, "redis_mode": "cluster"}, "cluster", may_evict=False) is None


@pytest.mark.integration
def test_a_usual_server_passes(redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    check_redis(redis.url)
    assert caplog.records == []


@pytest.mark.integration
def test_a_server_that_may_evict_is_refused_but_for_a_cache(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--maxmemory-policy", "allkeys-lru") as server:
        with pytest.raises(StateUnusable, match=r"state\.url: this Redis may evict .*noeviction"):
            check_redis(server.url)
        check_redis(server.url, "state.cache_url", may_evict=True)


@pytest.mark.integration
def test_one_that_is_away_is_not_refused(caplog: pytest.LogCaptureFixture) -> None:
    check_redis("redis://:s3cret@127.0.0.1:1")
    assert "were not checked" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.integration
def test_a_login_that_is_refused_stops_the_start(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        server.ask("CONFIG", "SET", "requirepass", "right")
        for url in (f"redis://:s3cret@127.0.0.1:{server.port}", server.url):
            with pytest.raises(StateUnusable, match="refuses the login") as caught:
                check_redis(url)
            assert "s3cret" not in str(caught.value)


@pytest.mark.integration
def test_one_that_forbids_the_question_passes_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with redis_server(tmp_path) as server:
        server.ask("ACL", "SETUSER", "shy", "on", ">pw", "~*", "+@all", "-info")
        check_redis(f"redis://shy:pw@127.0.0.1:{server.port}")
    assert "INFO is forbidden" in caplog.text


@pytest.mark.integration
def test_each_form_is_checked_as_what_it_is(tmp_path: Path) -> None:
    with watched_redis(tmp_path, sentinels=1) as watched:
        check_redis(watched.url)
        with pytest.raises(StateUnusable, match=r"redis\+sentinel://HOST:PORT/SERVICE"):
            check_redis(watched.sentinels[0].url.removesuffix("/0"))
        assert SERVICE in watched.url
    with redis_cluster(tmp_path) as cluster:
        check_redis(cluster.url)
        with pytest.raises(StateUnusable, match=r"redis\+cluster"):
            check_redis(cluster.nodes[0].url)
        cluster.nodes[1].ask("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
        with pytest.raises(StateUnusable, match="volatile-lru"):
            check_redis(cluster.url)


@pytest.mark.integration
def test_a_single_server_is_no_cluster(redis: RedisServer) -> None:
    with pytest.raises(StateUnusable, match="no cluster"):
        check_redis(f"redis+cluster://127.0.0.1:{redis.port}")
