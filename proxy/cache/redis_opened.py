"""Opens the shared level in a Redis: one of its own, or the state's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from proxy.cache.redis_level import RedisLevel
from proxy.config import Config
from proxy.state.redis_cache import RedisCache
from proxy.state.redis_cache_news import RedisCacheNews
from proxy.state.redis_client import open_client
from proxy.state.redis_keys import RedisKeys
from proxy.state.redis_link import Link
from proxy.state.redis_opened import open_link
from proxy.state.redis_place import read_redis_url


def open_redis_level(config: Config, state_link: Link | None) -> RedisLevel:
    """See `open_shared`. Raises StateUnusable if a file for TLS can't be read."""
    url = config.state.cache_url
    if url is None:
        assert state_link is not None, "one of the two says where it is"
        return _level(config, config.state.url, state_link, None)
    place = read_redis_url(url)
    assert place is not None, "the config was verified"
    own = open_link(place, config.state.timeout_s)
    starting = asyncio.get_running_loop().create_task(own.start())

    async def let_go() -> None:
        await asyncio.wait([starting])
        await own.aclose()

    return _level(config, url, own, let_go)


def _level(config: Config, url: str, link: Link, let_go: Callable[[], Awaitable[None]] | None) -> RedisLevel:
    keys, place = RedisKeys(config.state.namespace), read_redis_url(url)
    rows = RedisCache(link, keys, is_cluster=place is not None and place.form == "cluster")
    return RedisLevel(rows, lambda: RedisCacheNews(open_client(url), keys), let_go)
