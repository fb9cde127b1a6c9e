"""Keys made at run time, keys that are blocked, grants, and who changed what: what the gateway asks of their place.

Changes are few and come from anywhere: the admin address, a command in another process. Looks are many: a reader holds
what is in force in memory, and `refresh` tells cheaply whether that still holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol


class ChangeRefused(Exception):
    """The change makes no sense as things are: what is wrong, and what to do. Nothing was changed."""


class Author(NamedTuple):
    """Who changes something, and when."""

    name: str  #: such as `cli:alice` or `admin:ops`
    at_ms: int  #: Unix milliseconds, as all instants here


class Fingerprint(NamedTuple):
    """What is kept of a key."""

    digest: bytes  #: SHA-256 of all of it
    prefix: str  #: its first characters, to recognise it by


@dataclass(frozen=True, slots=True)
class StoredKey:
    """One secret of a key. A key that is being rotated has two, under one team and name."""

    id: int
    digest: bytes
    prefix: str
    team: str
    name: str
    created_ms: int
    expires_ms: int | None = None  #: from then on it is no longer good
    revoked_ms: int | None = None
    rotated_from: int | None = None  #: `id` of the secret that it takes the place of

    def is_live(self, now_ms: int) -> bool:
        """Neither revoked nor expired?"""
        return self.revoked_ms is None and (self.expires_ms is None or now_ms < self.expires_ms)


@dataclass(frozen=True, slots=True)
class Grant:
    """A quota of a team is larger until then."""

    id: int
    team: str
    quota: str  #: see `QuotaTerms.name` of proxy/accounting
    amount: int  #: in addition to the quota's own
    unit: Literal["nusd", "tokens"]  #: nano-dollars, or tokens
    until_ms: int
    created_ms: int
    created_by: str
    note: str = ""
    withdrawn_ms: int | None = None


@dataclass(frozen=True, slots=True)
class AuditRow:
    """Somebody changed something. Rows are added, never changed."""

    id: int
    at_ms: int
    actor: str
    action: str  #: such as `key.revoke` or `target.drain`
    subject: str  #: such as `search/ci`, a team and a key
    detail: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is in force, as of one moment."""

    keys: tuple[StoredKey, ...] = ()  #: in the order of their making
    blocked: frozenset[tuple[str, str]] = frozenset()
    grants: tuple[Grant, ...] = ()  #: that are not withdrawn

    def grants_in_force(self, now_s: float) -> Sequence[Grant]:
        """See `Registry.grants_in_force`."""
        return [grant for grant in self.grants if now_s * 1000 < grant.until_ms]


class Registry(Protocol):
    """Methods that change something may be called from any thread, and by several processes at once. Each change is
    atomic, durable, entered in the audit by the same stroke, and seen by every process at its next `refresh`; by those
    that share a Redis, within a second.

    They raise ChangeRefused where it makes no sense, StateFailed where it failed; nothing was changed then.
    """

    version: int  #: another one whenever what `refresh` found was another

    @property
    def is_read(self) -> bool:
        """Was it ever read? Before that, `refresh` raises StateFailed."""
        ...

    def refresh(self) -> int:
        """Make `keys`, `blocked` and the grants in force what they are now, or were within the last second where they
        are kept for several gateways; gives `version`. For one thread.

        Raises StateFailed if there was a change that can't be read: what is held may be wrong by then. Cost: 2 µs,
        unless there was a change.
        """
        ...

    @property
    def keys(self) -> Sequence[StoredKey]:
        """Every key, in the order of their making; those that are revoked and expired too."""
        ...

    @property
    def blocked(self) -> frozenset[tuple[str, str]]:
        """Team and name of each blocked key, wherever it is kept."""
        ...

    def grants_in_force(self, now_s: float) -> Sequence[Grant]:
        """Those that are not withdrawn, and not over at this instant (Unix seconds)."""
        ...

    def create_key(
        self, team: str, name: str, fingerprint: Fingerprint, expires_ms: int | None, author: Author
    ) -> StoredKey:
        """Keep a new key. Refused if a live key of the team has this name, or if the name is blocked."""
        ...

    def rotate_key(self, team: str, name: str, fingerprint: Fingerprint, overlap_ms: int, author: Author) -> StoredKey:
        """Give a live key a new secret, with the same expiry; the old one ends after the overlap, if not before."""
        ...

    def revoke_key(self, team: str, name: str, author: Author) -> int:
        """End all secrets of a key; how many were live. Refused if there is no such key."""
        ...

    def block_key(self, team: str, name: str, author: Author) -> None:
        """Let a key in no longer, wherever it is kept. It is not asked whether there is one, or is blocked already."""
        ...

    def unblock_key(self, team: str, name: str, author: Author) -> None:
        """Let it in again. Refused if it is not blocked."""
        ...

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
        """Raise a quota until then. It is not asked whether there is one."""
        ...

    def withdraw_grant(self, grant_id: int, author: Author) -> Grant:
        """End a grant before its time. Refused if there is none of this id, or if it is withdrawn or over."""
        ...

    def record(self, author: Author, action: str, subject: str, detail: str = "") -> None:
        """Enter in the audit what was changed elsewhere."""
        ...

    def grants(self, limit: int) -> Sequence[Grant]:
        """The latest grants, in force or not, the newest first. Raises StateFailed."""
        ...

    def audit(self, limit: int) -> Sequence[AuditRow]:
        """The latest changes, the newest first. Raises StateFailed."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...
