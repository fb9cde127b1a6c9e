"""Calls that hold something in Redis and of which nobody hears any more: their process is gone, and maybe its disk."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, cast

import redis

from proxy.state.entries import Intent
from proxy.state.redis_claims import give_up, lapsed
from proxy.state.redis_client import asked
from proxy.state.redis_keys import RedisKeys

#: So long after the end of its lease a call is given up: until then its journal may be brought in by a sibling, which
#: knows what it came to.
LEAST_MS: Final = 5 * 60_000
_AT_ONCE: Final = 100


class LapsedCalls:
    """Those of all teams. For one thread."""

    def __init__(
        self, client: redis.Redis, keys: RedisKeys, teams: Callable[[], Iterable[str]], least_ms: int = LEAST_MS
    ) -> None:
        """`teams`: of the config; those that were ever booked are looked for too."""
        self._client = client
        self._keys = keys
        self._teams = teams
        self._least_ms = least_ms

    def __call__(self, given_up: Collection[str] = ()) -> Sequence[Intent]:
        """What is to be booked as orphans. `given_up`: the ids of those that were: what is still there of them was in
        the books before, and what has no intent fell under no quota; what such calls hold is freed. Raises StateFailed.
        """
        booked = cast(set[bytes], asked(lambda: self._client.smembers(f"{self._keys.fleet}:teams")))
        teams = sorted({*self._teams(), *(name.decode() for name in booked)})
        found: list[Intent] = []
        for team in teams:
            tag = self._keys.team(team)
            for one in lapsed(self._client, tag, self._least_ms, _AT_ONCE):
                if one.intent is None or one.call_id in given_up:
                    give_up(self._client, tag, one.call_id)
                else:
                    found.append(one.intent)
        return found
