"""Keys, grants and the audit in Redis, for all gateways of a fleet.

A change is decided here, from what it looked at, and entered by one script, which refuses if anything else was changed
meanwhile; then it is decided again. A gateway `follows`: it goes by what it has read, and reads again when it is told
(`redis_news.py`), so that no call waits for Redis. A command asks each time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final, Literal, NamedTuple, TypeVar, cast

import orjson
import redis

from proxy.state.base import StateFailed
from proxy.state.redis_client import asked, run_script
from proxy.state.redis_keys import RedisKeys
from proxy.state.redis_registry_rows import (
    Entry,
    grant_made,
    grant_withdrawn,
    key_entry,
    key_made,
    read_grant,
    read_grants,
    read_key,
)
from proxy.state.registry import AuditRow, Author, Fingerprint, Grant, Snapshot, StoredKey
from proxy.state.registry_rules import (
    check_blocked,
    check_grant,
    check_known,
    check_new_key,
    grant_text,
    latest_live,
    revocation_text,
    rotation_text,
)
from proxy.state.scripts import load_script

#: How often a change is decided anew because another one came in between.
_TRIES: Final = 50

T = TypeVar("T")

_logger = logging.getLogger(__name__)


class _Change(NamedTuple):
    """What is to be done, and what the audit says of it."""

    entries: Sequence[Entry]
    action: str
    subject: str
    detail: str = ""


class RedisRegistry:
    """See `Registry`. Kept in hashes FLEET:registry:NAME: `keys` and `grants` by id, `granted` (those grants that are
    not withdrawn), `named` (team and name -> ids), `blocked` (team and name), `last` (the ids given last).
    """

    def __init__(self, client: redis.Redis, keys: RedisKeys) -> None:
        """`client` is closed with it. Asks nobody yet."""
        self.version = 0
        self.seen = b""  #: what Redis called the version that was read last
        self._client = client
        self._fleet = keys.fleet
        self._script = load_script("registry")
        self._snapshot = Snapshot()
        self._is_followed = False
        self._reading = threading.Lock()

    @property
    def is_read(self) -> bool:
        """See `Registry.is_read`."""
        return self.version > 0

    def follow(self) -> None:
        """From now on `refresh` goes by what was read. Reads it, if Redis can be asked: blocks, for seconds if not."""
        self._is_followed = True
        try:
            self.look()
        except StateFailed as error:
            _logger.error("nobody is let in until the keys in Redis can be read: %s", error)

    def look(self) -> None:
        """Read it, unless it is as it was. Blocks; from any thread. Raises StateFailed; then what was read holds."""
        with self._reading:  # one after the other, so that what is newer comes last
            asked(self._read)

    def refresh(self) -> int:
        """See `Registry.refresh`. Cost of one that is followed: 0.1 µs."""
        if not self._is_followed:
            self.look()
        elif not self.version:
            raise StateFailed("the keys in Redis could not be read yet")
        return self.version

    @property
    def keys(self) -> Sequence[StoredKey]:
        """See `Registry.keys`."""
        return self._snapshot.keys

    @property
    def blocked(self) -> frozenset[tuple[str, str]]:
        """See `Registry.blocked`."""
        return self._snapshot.blocked

    def grants_in_force(self, now_s: float) -> Sequence[Grant]:
        """See `Registry.grants_in_force`."""
        return self._snapshot.grants_in_force(now_s)

    def create_key(
        self, team: str, name: str, fingerprint: Fingerprint, expires_ms: int | None, author: Author
    ) -> StoredKey:
        """See `Registry.create_key`."""

        def decide() -> tuple[StoredKey, _Change]:
            found = self._keys_of(team, name)
            check_new_key(found, self._is_blocked(team, name), team, name, author.at_ms)
            key = StoredKey(self._next_id("key"), *fingerprint, team, name, author.at_ms, expires_ms)
            return key, _Change(key_made(found, key), "key.create", f"{team}/{name}", key.prefix)

        return self._change(decide, author)

    def rotate_key(self, team: str, name: str, fingerprint: Fingerprint, overlap_ms: int, author: Author) -> StoredKey:
        """See `Registry.rotate_key`."""
        end_ms = author.at_ms + overlap_ms

        def decide() -> tuple[StoredKey, _Change]:
            found = self._keys_of(team, name)
            old = latest_live(found, team, name, author.at_ms)
            dated = author.at_ms, old.expires_ms
            key = StoredKey(self._next_id("key"), *fingerprint, team, name, *dated, rotated_from=old.id)
            ending = [
                replace(one, expires_ms=end_ms if one.expires_ms is None else min(end_ms, one.expires_ms))
                for one in found
                if one.revoked_ms is None
            ]
            entries = [*key_made(found, key), *map(key_entry, ending)]
            return key, _Change(entries, "key.rotate", f"{team}/{name}", rotation_text(old, key, overlap_ms))

        return self._change(decide, author)

    def revoke_key(self, team: str, name: str, author: Author) -> int:
        """See `Registry.revoke_key`."""

        def decide() -> tuple[int, _Change]:
            found = self._keys_of(team, name)
            check_known(found, team, name)
            live = [key for key in found if key.is_live(author.at_ms)]
            ended = [replace(key, revoked_ms=author.at_ms) for key in found if key.revoked_ms is None]
            entries = [key_entry(key) for key in ended]
            return len(live), _Change(entries, "key.revoke", f"{team}/{name}", revocation_text(live))

        return self._change(decide, author)

    def block_key(self, team: str, name: str, author: Author) -> None:
        """See `Registry.block_key`."""
        entry = "blocked", f"{team}\n{name}", b"%d" % author.at_ms
        self._change(lambda: (None, _Change([entry], "key.block", f"{team}/{name}")), author)

    def unblock_key(self, team: str, name: str, author: Author) -> None:
        """See `Registry.unblock_key`."""

        def decide() -> tuple[None, _Change]:
            check_blocked(self._is_blocked(team, name), team, name)
            return None, _Change([("blocked", f"{team}\n{name}", b"")], "key.unblock", f"{team}/{name}")

        self._change(decide, author)

    def add_grant(
        self,
        team: str,
        quota: str,
        amount: int,
        unit: Literal["nusd", "tokens"],
        until_ms: int,
        note: str,
        author: Author,
    ) -> Grant:
        """See `Registry.add_grant`."""

        def decide() -> tuple[Grant, _Change]:
            made = author.at_ms, author.name
            grant = Grant(self._next_id("grant"), team, quota, amount, unit, until_ms, *made, note)
            entries = grant_made(read_grants(self._all("granted")), grant)
            return grant, _Change(entries, "grant.add", f"{team}/{quota}", grant_text(grant))

        return self._change(decide, author)

    def withdraw_grant(self, grant_id: int, author: Author) -> Grant:
        """See `Registry.withdraw_grant`."""

        def decide() -> tuple[Grant, _Change]:
            (row,) = self._some("grants", [grant_id])
            grant = check_grant(None if row is None else read_grant(row), grant_id, author.at_ms)
            grant = replace(grant, withdrawn_ms=author.at_ms)
            return grant, _Change(
                grant_withdrawn(grant), "grant.withdraw", f"{grant.team}/{grant.quota}", f"grant {grant_id}"
            )

        return self._change(decide, author)

    def record(self, author: Author, action: str, subject: str, detail: str = "") -> None:
        """See `Registry.record`."""
        self._enter(b"", _Change((), action, subject, detail), author)

    def grants(self, limit: int) -> Sequence[Grant]:
        """See `Registry.grants`."""

        def read() -> Sequence[Grant]:
            last = self._next_id("grant") - 1
            rows = self._some("grants", range(last, max(0, last - limit), -1))
            return [read_grant(row) for row in rows if row is not None]

        return asked(read)

    def audit(self, limit: int) -> Sequence[AuditRow]:
        """See `Registry.audit`. The last 100,000 are kept."""
        rows = asked(lambda: cast(list[bytes], self._client.lrange(self._name("audit"), 0, limit - 1)))
        split = [row.split(b" ", 1) for row in rows]
        return [AuditRow(int(id), *orjson.loads(row)) for id, row in split]

    def close(self) -> None:
        """See `Registry.close`."""
        self._client.close()

    def _name(self, name: str) -> str:
        return f"{self._fleet}:registry:{name}"

    def _read(self) -> None:
        version = self._client.get(self._name("version")) or b""
        if self.version and version == self.seen:
            return
        with self._client.pipeline(transaction=True) as together:  # all of it as of one moment
            together.get(self._name("version"))
            together.hvals(self._name("keys"))
            together.hkeys(self._name("blocked"))
            together.hvals(self._name("granted"))
            version, keys, blocked, granted = together.execute()
        names = (place.decode().split("\n") for place in blocked)
        snapshot = Snapshot(
            tuple(sorted(map(read_key, keys), key=lambda key: key.id)),
            frozenset((team, name) for team, name in names),
            tuple(read_grants(granted)),
        )
        if snapshot != self._snapshot or not self.version:
            self._snapshot = snapshot
            self.version += 1
        self.seen = version or b""

    def _change(self, decide: Callable[[], tuple[T, _Change]], author: Author) -> T:
        """Do what is decided, from one state of things. Raises ChangeRefused, StateFailed."""
        for _ in range(_TRIES):
            version = asked(lambda: cast(bytes | None, self._client.get(self._name("version")))) or b""
            result, change = asked(decide)
            if self._enter(version, change, author):
                break
        else:
            raise StateFailed("nothing was changed: too many others are changing keys at this moment")
        if self._is_followed:
            with suppress(StateFailed):  # then it is read when Redis is back
                self.look()
        return result

    def _enter(self, version: bytes, change: _Change, author: Author) -> bool:
        row = orjson.dumps([author.at_ms, author.name, change.action, change.subject, change.detail])
        words = [word for entry in change.entries for word in entry]
        return run_script(self._client, self._script, [self._fleet], [version, row, *words]) is not None

    def _next_id(self, kind: str) -> int:
        return int(cast(bytes | None, self._client.hget(self._name("last"), kind)) or 0) + 1

    def _keys_of(self, team: str, name: str) -> list[StoredKey]:
        ids = cast(bytes | None, self._client.hget(self._name("named"), f"{team}\n{name}"))
        rows = self._some("keys", orjson.loads(ids)) if ids else ()
        return [read_key(row) for row in rows if row is not None]

    def _is_blocked(self, team: str, name: str) -> bool:
        return bool(self._client.hexists(self._name("blocked"), f"{team}\n{name}"))

    def _all(self, name: str) -> list[bytes]:
        return cast(list[bytes], self._client.hvals(self._name(name)))

    def _some(self, name: str, ids: Sequence[int]) -> Sequence[bytes | None]:
        fields = [str(id) for id in ids]
        return cast(list[bytes | None], self._client.hmget(self._name(name), fields)) if fields else ()
