"""The cache in Redis, as the event loop sees it: bytes by key, whose turn it is to ask for them, and what is forgotten.
What the bytes mean is for others to know.

Everything of a team carries its tag: `TAG:cache:KEY` an answer, `TAG:flight:KEY` who asks for one just now (`-`: nobody
need wait for it), `TAG:index:SCOPE` what is found by meaning, `TAG:purged` when something was last purged. The fleet
has `FLEET:cache:indexes` (which of these changed when), `purges` and `learned` (what everybody is to know) and
`note:NAME`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from proxy.state.cache_rows import Indexed, Meant
from proxy.state.redis_keys import RedisKeys
from proxy.state.redis_link import Word
from proxy.state.scripts import Script, load_script

#: How long it is remembered that something was purged: longer than any call is under way.
_PURGED_MS: Final = 24 * 3600 * 1000
#: How long an index is remembered in which nothing changes: nobody keeps answers for longer.
_INDEX_MS: Final = 30 * 24 * 3600 * 1000
#: Entries of one index; what is beyond is forgotten, the oldest first.
MAX_INDEXED: Final = 100_000
#: Purges and lessons that are kept for those who have not read them yet.
MAX_NOTICES: Final = 1000
MAX_LEARNED: Final = 20_000
#: How many keys one step of a purge goes through, and entries of an index one of pruning: 1 ms of Redis' time.
_STEP: Final = 500


class Awaited(Protocol):
    """What is needed of a `Link`."""

    async def run(self, script: Script, keys: Sequence[Word], args: Sequence[Word] = ()) -> object:
        """What a script gives. Raises StateAway, StateFailed."""
        ...

    async def ask(self, *command: Word) -> object:
        """What a command gives. Raises StateAway, StateFailed."""
        ...

    def send(self, script: Script, keys: Sequence[Word], args: Sequence[Word] = ()) -> None:
        """Run a script without waiting."""
        ...


class Claim(NamedTuple):
    """Who wants to ask for an answer that others may share."""

    flight: str  #: what is asked for, in hex
    token: str  #: by whom: as no other claim has it


class RedisCache:
    """For one event loop. Whatever can't be asked raises StateAway, what is refused StateFailed."""

    def __init__(self, link: Awaited, keys: RedisKeys, *, is_cluster: bool = False) -> None:
        """`is_cluster`: a step of a purge reaches the keys of its own team's server alone."""
        self._link = link
        self._keys = keys
        self._is_cluster = is_cluster
        names = ("look", "flight", "store", "store_many", "drop", "mark", "purge", "prune", "touch")
        self._scripts = {name: load_script(f"cache_{name}") for name in names}

    async def find(self, team: str, key: bytes) -> bytes | None:
        """The bytes of this key. One trip."""
        found = await self._link.ask("GET", f"{self._keys.team(team)}:cache:{key.hex()}")
        return found if isinstance(found, bytes) else None

    async def find_many(self, team: str, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """The bytes of those that are there. One trip."""
        tag = self._keys.team(team)
        found = await self._link.ask("MGET", *(f"{tag}:cache:{key.hex()}" for key in keys))
        if not isinstance(found, list):
            return {}
        return {key: data for key, data in zip(keys, found, strict=True) if isinstance(data, bytes)}

    async def look(self, team: str, key: bytes, claim: Claim, lease_ms: int) -> Sequence[bytes]:
        """See `lua/cache_look.lua`. One trip."""
        args = (key.hex(), claim.flight, claim.token, lease_ms)
        found = await self._link.run(self._scripts["look"], (self._keys.team(team),), args)
        return found if isinstance(found, list) and found else (b"alone",)

    def fly(self, team: str, claim: Claim, what: str, ms: int) -> None:
        """`keep`, `free` or `vain`: see `lua/cache_flight.lua`. Nobody waits for it."""
        self._link.send(self._scripts["flight"], (self._keys.team(team),), (*claim, what, ms))

    async def store(
        self,
        team: str,
        key: bytes,
        data: bytes,
        ttl_ms: int,
        under_way_ms: int,
        claim: Claim | None,
        vain_ms: int,
        indexed: Indexed | None,
    ) -> bool:
        """Keep it, and end the flight that brought it; False if it is not kept. See `lua/cache_store.lua`."""
        flight = ("", "") if claim is None else claim
        place: tuple[Word, ...] = ("", "", "", 0)
        if indexed is not None:
            place = (indexed.scope.hex(), key, indexed.data, MAX_INDEXED)
        args = (key.hex(), data, ttl_ms, under_way_ms, *flight, vain_ms, *place)
        return await self._link.run(self._scripts["store"], (self._keys.team(team),), args) == 1

    async def store_many(self, team: str, values: Mapping[bytes, bytes], ttl_ms: int, under_way_ms: int) -> int:
        """Keep these; how many are kept."""
        words = [word for key, data in values.items() for word in (key.hex(), data)]
        kept = await self._link.run(
            self._scripts["store_many"], (self._keys.team(team),), (ttl_ms, under_way_ms, *words)
        )
        return kept if isinstance(kept, int) else 0

    def touch(self, indexes: Sequence[tuple[str, bytes]]) -> None:
        """Say that these have something new, by team and scope. Nobody waits for it."""
        names = (f"{scope.hex()}{team}" for team, scope in indexes)
        self._link.send(self._scripts["touch"], (self._keys.fleet,), (_INDEX_MS, *names))

    async def discard(self, team: str, key: bytes) -> int:
        """Forget this one, and store nothing of the team that has set out before; was it there?"""
        args = (_PURGED_MS, key.hex())
        gone = await self._link.run(self._scripts["mark"], (self._keys.team(team),), args)
        return gone if isinstance(gone, int) else 0

    def drop(self, team: str, key: bytes) -> None:
        """Forget this one: it is nothing. Nobody waits for it."""
        self._link.send(self._scripts["drop"], (self._keys.team(team),), (key.hex(),))

    async def purge(self, meant: Meant, teams: Sequence[str]) -> AsyncIterator[Sequence[bytes]]:
        """Forget these, in steps that each give the keys of what is gone; of `teams` if none is named: those that there
        are. What has set out before is not stored any more. Goes through all keys of the server: 1 s a million.
        """
        teams = [meant.team] if meant.team is not None else [*teams]
        for team in teams:
            await self._link.run(self._scripts["mark"], (self._keys.team(team),), (_PURGED_MS, ""))
        places = [(self._keys.team(team), _plain(self._keys.team(team))) for team in teams]
        if meant.team is None and not self._is_cluster:
            fleet = self._keys.fleet
            places = [(fleet, f"{_plain(fleet.removesuffix('}'))}/*}}")]
        for tag, pattern in places:
            async for keys in self._purge(meant, tag, f"{pattern}:*"):
                yield keys

    async def tell(self, name: str, data: bytes, count: int) -> None:
        """Let all replicas know, under `purges` or `learned`, of which so many are kept."""
        await self._link.ask("XADD", f"{self._keys.fleet}:cache:{name}", "MAXLEN", "~", count, "*", "d", data)

    async def note(self, name: str, data: bytes) -> None:
        """Keep this under a name."""
        await self._link.ask("SET", f"{self._keys.fleet}:cache:note:{name}", data)

    async def find_note(self, name: str) -> bytes | None:
        """What is kept under a name."""
        found = await self._link.ask("GET", f"{self._keys.fleet}:cache:note:{name}")
        return found if isinstance(found, bytes) else None

    async def _purge(self, meant: Meant, tag: str, pattern: str) -> AsyncIterator[Sequence[bytes]]:
        before = "" if meant.stored_before_ms is None else meant.stored_before_ms
        terms = (meant.id or "", meant.model or "", before)
        cursor: Word = "0"
        indexes: set[bytes] = set()
        while True:
            step = await self._link.run(self._scripts["purge"], (tag,), (cursor, pattern, _STEP, *terms))
            assert isinstance(step, list), "as the script gives it"
            cursor, keys, met = step
            indexes.update(met)
            yield [bytes.fromhex(key.decode()) for key in keys]
            if cursor == b"0":
                break
        for name in indexes:
            await self._prune(name)

    async def _prune(self, index: bytes) -> None:
        tag, last = index.rpartition(b":index:")[0], b"-"
        while last:
            found = await self._link.run(self._scripts["prune"], (tag,), (index, last, _STEP))
            last = found if isinstance(found, bytes) and found != last else b""


def _plain(name: str) -> str:
    """As a pattern that only this name fits."""
    return "".join(f"\\{sign}" if sign in "\\*?[]^" else sign for sign in name)
