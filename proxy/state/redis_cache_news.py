"""What the fleet's cache tells its replicas, for a thread that waits for it: who was purged, what was learned, and what
came into the indexes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import redis

from proxy.state.cache_rows import IndexEntry
from proxy.state.redis_client import asked, run_script
from proxy.state.redis_keys import RedisKeys
from proxy.state.scripts import load_script

#: Digits of a scope, at the head of an index' name.
_SCOPE_DIGITS: Final = 64


@dataclass(frozen=True, slots=True)
class CacheNews:
    """What has happened since it was asked last."""

    now_ms: int  #: by Redis' clock
    indexes: Sequence[tuple[str, bytes]]  #: by team and scope, those that changed
    notices: Sequence[tuple[bytes, bytes]]  #: of purges: id and data, the oldest first
    learned: Sequence[tuple[bytes, bytes]]  #: lessons, the same


class RedisCacheNews:
    """For one thread. Whatever can't be asked raises StateAway, what is refused StateFailed."""

    def __init__(self, client: redis.Redis, keys: RedisKeys) -> None:
        """The client is closed with it."""
        self._client = client
        self._keys = keys
        self._script = load_script("cache_news")

    def ask(self, since_ms: int, notice: bytes, lesson: bytes, count: int) -> CacheNews:
        """What is new since that instant, that notice and that lesson; up to so many of each. An empty id asks for
        none. One trip.
        """
        found = run_script(self._client, self._script, (self._keys.fleet,), (since_ms, notice, lesson, count))
        now_ms, names, notices, learned = found
        indexes = [
            (name[_SCOPE_DIGITS:].decode(), bytes.fromhex(name[:_SCOPE_DIGITS].decode()))
            for name in names
            if len(name) > _SCOPE_DIGITS
        ]
        return CacheNews(
            now_ms, indexes, [_told(one) for one in notices[:count]], [_told(one) for one in learned[:count]]
        )

    def read(self, team: str, scope: bytes, after: bytes, count: int) -> list[IndexEntry]:
        """The next entries of an index behind that place (`0` is its beginning), up to so many. One trip."""
        name = f"{self._keys.team(team)}:index:{scope.hex()}"
        client: Any = self._client  # its annotations say that everything may be text, or nothing
        found: list[tuple[bytes, dict[bytes, bytes]]] = asked(lambda: client.xrange(name, after, "+", count + 1))
        entries = [IndexEntry(id, fields.get(b"k", b""), fields.get(b"d", b"")) for id, fields in found if id != after]
        return entries[:count]

    def memory(self) -> tuple[int, int | None]:
        """What Redis uses in all, and what it may, in bytes; None: there is no bound."""
        about = asked(lambda: self._client.info("memory"))
        limit = int(about.get("maxmemory", 0))
        return int(about["used_memory"]), limit or None

    def close(self) -> None:
        """Let go."""
        self._client.close()


def _told(row: tuple[bytes, list[bytes]]) -> tuple[bytes, bytes]:
    """A row of a stream with one field, as a script gives it."""
    id, fields = row
    return id, fields[1]
