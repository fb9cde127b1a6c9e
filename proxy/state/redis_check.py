"""Is this Redis one that can keep what it is given? Asked at start, before anything is entrusted to it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any, Final

import redis
from redis.exceptions import AuthenticationError, NoPermissionError

from proxy.state.base import StateAway, StateFailed, StateUnusable
from proxy.state.redis_client import asked, open_client
from proxy.state.redis_place import RedisPlace, read_redis_url

_MIN_VERSION: Final = (6, 2)
#: How long it may take to ask, in seconds.
_PATIENCE_S: Final = 3.0

_logger = logging.getLogger(__name__)

Info = Mapping[str, Any]


def check_redis(url: str, setting: str = "state.url", *, may_evict: bool = False) -> None:
    """Raises StateUnusable, with what to do about it, if the Redis of this setting is too old, of another form than the
    URL says, refuses the login, or may evict keys though it keeps more than a cache. One that is away is not refused:
    it is logged. Blocks, for seconds at worst.
    """
    place = read_redis_url(url)
    if place is None:
        raise StateUnusable(f"{setting} is no URL of Redis")
    client = open_client(url, _PATIENCE_S)
    try:
        for server in asked(lambda: list(_servers(client, place))):
            reason = unfit(server, place.form, may_evict)
            if reason is not None:
                raise StateUnusable(f"{setting}: {reason}")
    except StateAway as fault:
        causes = list(_causes(fault))
        if any(isinstance(cause, AuthenticationError) for cause in causes):
            raise StateUnusable(f"{setting}: Redis refuses the login: check the URL's user and password") from None
        if any("Cluster mode is not enabled" in str(cause) for cause in causes):
            raise StateUnusable(f"{setting}: this Redis is no cluster: write redis://HOST:PORT/DATABASE") from None
        _logger.error("%s: %s; its version and its maxmemory-policy were not checked", setting, fault)
    except StateFailed as fault:
        if not isinstance(fault.__cause__, NoPermissionError):
            raise StateUnusable(f"{setting}: {fault}") from None
        _logger.warning("%s: INFO is forbidden, so its version and its maxmemory-policy were not checked", setting)
    finally:
        client.close()


def unfit(info: Info, form: str, may_evict: bool) -> str | None:
    """Why a server that says this of itself can't be used, and what to do; None if it can. `form`: the URL's."""
    version = str(info.get("redis_version", ""))
    if version and _parts(version) < _MIN_VERSION:
        return f"this Redis is version {version}, and 6.2 is needed, or Valkey"
    mode = info.get("redis_mode", info.get("server_mode", "standalone"))
    if mode == "sentinel":
        return "this is a sentinel: write redis+sentinel://HOST:PORT/SERVICE, with the name that it knows the server by"
    if mode == "cluster" and form != "cluster":
        return "this Redis is a cluster: write redis+cluster://HOST:PORT"
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction" and not may_evict:
        return (
            f"this Redis may evict what is in it (maxmemory-policy {policy}), and with it counters, books and keys: "
            "set maxmemory-policy to noeviction, or take another Redis; only a cache's may evict (state.cache_url)"
        )
    return None


def _servers(client: redis.Redis, place: RedisPlace) -> Iterator[Info]:
    """What each primary says of itself."""
    cluster: Any = client
    nodes = [client]
    if place.form == "cluster":
        nodes = [cluster.get_redis_connection(node) for node in cluster.get_primaries()]
    for node in nodes:
        info: dict[str, Any] = {**node.info("server"), **node.info("memory")}
        yield info


def _causes(error: BaseException) -> Iterator[BaseException]:
    while error.__cause__ is not None:
        error = error.__cause__
        yield error


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
