"""What the shared level of the cache asks of where it is kept: rows that may be lost, never wrong for long."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class CacheRow(NamedTuple):
    """One value of the cache, and what it may be found by when it is to be forgotten."""

    key: bytes
    data: bytes
    team: str
    model: str  #: as configured
    scope: bytes  #: of whose config it is
    call_id: str
    request_id: str
    answer_id: str
    stored_ms: int  #: Unix milliseconds, as all instants here
    expires_ms: int


@dataclass(frozen=True, slots=True)
class Meant:
    """Which rows: those of which all is true that is given."""

    id: str | None = None  #: one of the three ids
    team: str | None = None
    model: str | None = None
    stored_before_ms: int | None = None


class Indexed(NamedTuple):
    """What an answer is found by beside its key."""

    scope: bytes  #: of the config that it stands behind
    data: bytes


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One entry of an index."""

    id: bytes  #: its place there
    key: bytes  #: of its answer
    data: bytes


class SharedRows(Protocol):
    """The rows. Methods block, are for one thread at a time, and raise StateFailed."""

    @property
    def used_bytes(self) -> int:
        """What all rows take, their overhead included."""
        ...

    def all_keys(self) -> Iterable[bytes]:
        """Every key."""
        ...

    def find(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """The data of those that are there."""
        ...

    def add(self, rows: Sequence[CacheRow], budget_bytes: int, now_ms: int) -> None:
        """Put them in, in the place of those with the same keys; then make room: what has expired goes first, then the
        oldest.
        """
        ...

    def discard(self, keys: Sequence[bytes]) -> None:
        """Forget these."""
        ...

    def purge(self, meant: Meant) -> int:
        """Forget these; how many there were."""
        ...

    def keep_scopes(self, scopes: Collection[bytes]) -> int:
        """Forget what is of no such scope; how many there were."""
        ...

    def note(self, name: str, data: bytes) -> None:
        """Keep this under a name, in the place of what was there. It is not counted, and outlives all rows."""
        ...

    def find_note(self, name: str) -> bytes | None:
        """What is kept under a name."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...
