"""What was booked must be on a replica too before the journal lets go of it, or a failover would lose it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from time import monotonic
from typing import Any, Final

import redis

from proxy.state.base import StateAway, StateFailed
from proxy.state.redis_client import asked
from proxy.state.redis_pipeline import ask_all

#: How long a replica may take at a time, in milliseconds.
_WAIT_MS: Final = 1000
#: How long the books stay behind for want of a replica, in seconds. Then they go on without: Redis may be told itself
#: not to (`min-replicas-to-write`), and journals must not grow for ever.
_PATIENCE_S: Final = 60.0

_logger = logging.getLogger(__name__)


class Replicas:
    """For one thread. A server that never had a replica is not asked for one."""

    def __init__(self, client: redis.Redis, clock: Callable[[], float] = monotonic) -> None:
        """`clock` gives monotonic seconds."""
        self._client = client
        self._clock = clock
        self._are_wanted = False
        self._missed_at: float | None = None
        self._has_given_up = False

    def secure(self, tags: Iterable[str]) -> None:
        """Return when replicas have all that was written until now on the servers of these keys, or when there are none
        to wait for.

        Raises StateAway if they don't have it in time, and StateFailed.
        """
        servers = self._servers(tags)
        self._are_wanted = self._are_wanted or any(_count(server) for server, _ in servers)
        if not self._are_wanted:
            return
        if all(self._reached(server, tag) for server, tag in servers):
            if self._has_given_up:
                _logger.warning("books: a replica of Redis is there again")
            self._missed_at, self._has_given_up = None, False
            return
        now = self._clock()
        if self._missed_at is None:
            self._missed_at = now
        if now - self._missed_at < _PATIENCE_S:
            raise StateAway("no replica of Redis has taken in time what was booked")
        if not self._has_given_up:
            self._has_given_up = True
            _logger.error(
                "books: Redis had no replica for %g s; they go on without, and a failover may lose what is booked now",
                _PATIENCE_S,
            )

    def _servers(self, tags: Iterable[str]) -> Sequence[tuple[redis.Redis, str]]:
        """Each server with one of the keys that it has."""

        def find() -> Sequence[tuple[redis.Redis, str]]:
            node_of: Any = getattr(self._client, "get_node_from_key", None)  # a client of a cluster has it
            if node_of is None:
                return [(self._client, tag) for tag in islice(tags, 1)]
            client: Any = self._client
            nodes = [(node_of(tag), tag) for tag in tags]
            return list({node.name: (client.get_redis_connection(node), tag) for node, tag in nodes}.values())

        return asked(find)

    def _reached(self, server: redis.Redis, tag: str) -> bool:
        # WAIT asks for what was written on its own connection, and for all before it: so something is written there.
        wait_ms = 1 if self._has_given_up else _WAIT_MS
        try:
            return int(ask_all(server, [("HSET", f"{tag}:books", "secured", 1), ("WAIT", 1, wait_ms)])[1]) > 0
        except StateAway:
            raise
        except StateFailed:  # a service that has no WAIT
            return True


def _count(server: redis.Redis) -> int:
    """How many replicas it has."""
    try:
        (role,) = ask_all(server, [("ROLE",)])
    except StateAway:
        raise
    except StateFailed:  # a service that does not tell
        return 0
    return len(role[2]) if role[0] in (b"master", "master") else 0
