"""Where a Redis is, as a URL says it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True)
class RedisPlace:
    """What `redis://` says."""

    host: str
    port: int
    greetings: tuple[tuple[str, ...], ...] = ()  #: commands that a new connection begins with


def read_redis_url(url: str) -> RedisPlace | None:
    """What a `state.url` or `state.cache_url` says; None if it is no URL of Redis."""
    parts = urlsplit(url)
    if parts.scheme != "redis":
        return None
    greetings: list[tuple[str, ...]] = []
    if parts.password:
        user = (unquote(parts.username),) if parts.username else ()
        greetings.append(("AUTH", *user, unquote(parts.password)))
    if database := parts.path.strip("/"):
        greetings.append(("SELECT", database))
    return RedisPlace(parts.hostname or "localhost", parts.port or 6379, tuple(greetings))
