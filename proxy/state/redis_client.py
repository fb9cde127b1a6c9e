"""A client of Redis for threads and commands: everything that no call waits for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

import redis

from proxy.state.base import StateAway, StateFailed
from proxy.state.redis_link import Word
from proxy.state.scripts import Script

#: How long to wait for an answer, in seconds: threads may wait, but not for ever.
PATIENCE_S: Final = 5.0

T = TypeVar("T")


def open_client(url: str, patience_s: float = PATIENCE_S) -> redis.Redis:
    """A client of bytes; it connects when it is first asked, and anew when it must. Nothing is tried twice."""
    return redis.Redis.from_url(
        url, socket_timeout=patience_s, socket_connect_timeout=patience_s, retry=None, decode_responses=False
    )


def asked(do: Callable[[], T]) -> T:
    """What `do` gives. Raises StateAway in place of what redis-py raises for a server that can't be asked just now, and
    StateFailed for whatever it refuses. What a server says is not repeated: it may hold what was sent.
    """
    try:
        return do()
    except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
        raise StateAway(f"Redis can't be asked: {type(error).__name__}") from error
    except redis.RedisError as error:
        raise StateFailed(f"Redis refused a command: {str(error).partition(' ')[0]}") from error


def run_script(client: redis.Redis, script: Script, keys: Sequence[Word], args: Sequence[Word] = ()) -> Any:
    """What a script gives, on keys of one hash tag; a script that Redis has forgotten is sent again.

    Raises StateAway, StateFailed.
    """

    def run() -> Any:
        with suppress(redis.exceptions.NoScriptError):
            return client.evalsha(script.digest.decode(), len(keys), *keys, *args)
        return client.eval(script.source.decode(), len(keys), *keys, *args)

    return asked(run)
