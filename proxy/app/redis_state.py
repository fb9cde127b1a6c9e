"""What must last, in a Redis that workers and replicas share."""

from __future__ import annotations

from functools import partial

from proxy.accounting.books import open_books
from proxy.app.state import State
from proxy.cache.opened_level import open_shared
from proxy.config import Config
from proxy.state.redis_check import check_redis
from proxy.state.redis_claims import RedisClaims
from proxy.state.redis_client import open_client
from proxy.state.redis_keys import RedisKeys
from proxy.state.redis_lapsed import LapsedCalls
from proxy.state.redis_news import RedisNews
from proxy.state.redis_opened import open_link
from proxy.state.redis_place import read_redis_url
from proxy.state.registries import open_redis_registry
from proxy.state.shared_ledger import granted_of


def open_redis_state(config: Config, slot: int | None) -> State:
    """See `open_state`. A Redis that is away is no reason not to start; one that can't be used raises StateUnusable."""
    settings = config.state
    check_redis(settings.url)
    if settings.cache_url is not None:
        check_redis(settings.cache_url, "state.cache_url", may_evict=True)
    place, keys = read_redis_url(settings.url), RedisKeys(settings.namespace)
    assert place is not None, "the config was verified"
    link = open_link(place, settings.timeout_s)
    registry = open_redis_registry(settings.url, settings.namespace)
    lapsed = LapsedCalls(open_client(settings.url), keys, config.teams.keys)
    books = open_books(settings, config.accounting, slot=slot, lapsed=lapsed, granted=granted_of(registry))
    registry.follow()
    news = RedisNews(link, place, keys, settings.timeout_s, registry)
    return State(
        books=books,
        registry=registry,
        open_shared=partial(open_shared, link=link),
        claims=RedisClaims(link, keys),
        replicas=lambda: news.count,
        news=news,
        link=link,
    )
