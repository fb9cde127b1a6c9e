"""The registry that a URL names. Redis' client takes 0.2 s to be imported: only who has a Redis waits for that."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from proxy.state.redis_keys import RedisKeys
from proxy.state.redis_place import read_redis_url
from proxy.state.registry import Registry
from proxy.state.sqlite_registry import SqliteRegistry
from proxy.state.sqlite_schema import sqlite_path

if TYPE_CHECKING:
    from proxy.state.redis_registry import RedisRegistry

_NAMESPACE: Final = "waystation"


def open_registry(url: str, namespace: str = _NAMESPACE) -> Registry | None:
    """The registry at `state.url`, and in Redis under `state.namespace`: one that asks there each time. None if it is
    neither. Raises StateUnusable.
    """
    path = sqlite_path(url)
    if path is not None:
        return SqliteRegistry(path)
    return open_redis_registry(url, namespace) if read_redis_url(url) is not None else None


def open_redis_registry(url: str, namespace: str) -> RedisRegistry:
    """The registry in the Redis of this URL. Asks nobody yet."""
    client = import_module("proxy.state.redis_client").open_client(url)
    registry: RedisRegistry = import_module("proxy.state.redis_registry").RedisRegistry(client, RedisKeys(namespace))
    return registry
