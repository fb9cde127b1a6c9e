"""Opens the shared level that a config asks for: a Redis of its own, the state's, or a file beside the state."""

from __future__ import annotations

from importlib import import_module

from proxy.cache.file_level import open_file_level
from proxy.cache.shared_level import Shared
from proxy.config import Config
from proxy.state.redis_link import Link


def open_shared(config: Config, link: Link | None = None) -> Shared | None:
    """`link`: to the state's Redis, if it is one; it is left to whoever made it. Needs a running event loop where it is
    a Redis; waits for nothing. None: the config asks for none, or there is none to be had. Redis' client takes 0.2 s to
    be imported: only who has a Redis waits for that.
    """
    if config.state.cache_url is None and link is None:
        return open_file_level(config)
    level: Shared = import_module("proxy.cache.redis_opened").open_redis_level(config, link)
    return level
