"""The shared level of the cache, behind memory, as the chain sees it. It is a file beside the process (`file_level`) or
a Redis that many replicas share (`redis_level`); who asks need not know which.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from proxy.cache.lead import Lead, Look
from proxy.cache.store import Stored
from proxy.config import Config
from proxy.state import Indexed, IndexEntry, Meant


@dataclass(slots=True)
class SharedStats:
    """How it fares. Counts are since the start of the process."""

    used_bytes: int = 0  #: of the file; of Redis, whatever it is used for
    found: int = 0
    late: int = 0  #: look-ups that were given up
    damaged: int = 0  #: values that were no answers, and were removed
    dropped: int = 0  #: answers that were not written, because too many waited or it failed
    is_failing: bool = False


@dataclass(frozen=True, slots=True)
class Purged:
    """What was forgotten."""

    count: int
    keys: Sequence[bytes] | None  #: which; None: nobody knows


class Listener(Protocol):
    """Who is told what other replicas did. Called from the event loop."""

    def forget_elsewhere(self, meant: Meant | None, key: bytes | None, keys: Sequence[bytes] | None = None) -> None:
        """What is meant, or the answer of one key, is to be forgotten here too. `keys`: all of what was meant that the
        shared level had.
        """
        ...

    def learned_elsewhere(self, id: str, data: bytes) -> None:
        """What was learned of meanings, in the order in which all replicas are told. `id`: its place in that."""
        ...

    async def indexed_elsewhere(self, team: str, entries: Sequence[IndexEntry]) -> None:
        """What can be found by meaning from now on. The next are told when this returns."""
        ...


class Shared(Protocol):
    """For the event loop's thread. What can't be read is a miss."""

    stats: SharedStats

    @property
    def budget_bytes(self) -> int | None:
        """What it may take; None: nobody has said."""
        ...

    @property
    def is_fleetwide(self) -> bool:
        """Do other replicas have it too?"""
        ...

    async def find(self, team: str, key: bytes) -> Stored | None:
        """The answer of this key; None if there is none, or it takes too long."""
        ...

    async def find_vectors(self, team: str, keys: Sequence[bytes]) -> Mapping[bytes, Stored]:
        """Those of these that are there: what is kept of inputs of embeddings. One trip; of many keys the first."""
        ...

    def look(self, team: str, key: bytes, flight: bytes | None, purges: int) -> Look | None:
        """Begin to look for it. None: where nobody else has it, `find` does. `flight`: what those who could share one
        answer have in common; None: this call could not. `purges`: how many there were by now.
        """
        ...

    def add(
        self,
        key: bytes,
        stored: Stored,
        ttl_s: float,
        under_way_s: float = 0.0,
        lead: Lead | None = None,
        indexed: Indexed | None = None,
    ) -> None:
        """Have it written soon. `under_way_s`: how long ago the call that brings it set out; what was purged since is
        not written. `lead` ends with it.
        """
        ...

    def add_vectors(self, values: Mapping[bytes, Stored], ttl_s: float, under_way_s: float) -> None:
        """Have these written soon, as `find_vectors` finds them; all of one team."""
        ...

    def forget_vectors(self, team: str, keys: Sequence[bytes]) -> None:
        """Forget these, soon."""
        ...

    async def purge(self, meant: Meant, teams: Collection[str]) -> Purged:
        """Forget these, those that wait to be written included. `teams`: those there are. Raises StateFailed."""
        ...

    async def discard(self, team: str, key: bytes) -> int:
        """Forget this one; was it there? Raises StateFailed."""
        ...

    def keep_scopes(self, scopes: Collection[bytes]) -> None:
        """Forget what is of no such scope, soon, where nobody else may have another config."""
        ...

    def note(self, name: str, data: bytes) -> None:
        """Keep this under a name, soon."""
        ...

    async def find_note(self, name: str) -> bytes | None:
        """What is kept under a name; None if nothing is, or it can't be read."""
        ...

    def teach(self, data: bytes, unheard: Callable[[], None]) -> bool:
        """Tell all replicas what was learned, this one included; False: there are no others. `unheard` is called if
        that fails.
        """
        ...

    def follow(self, listener: Listener) -> None:
        """From now on tell what other replicas do."""
        ...

    def follow_meaning(self, scopes: Collection[bytes], lesson: str) -> None:
        """From now on tell what comes into the indexes of these scopes, what is there first; and what was learned since
        that place (empty: from the beginning).
        """
        ...

    async def aclose(self) -> None:
        """Write what waits, and let go."""
        ...


#: Opens the shared level that a config asks for; None: it asks for none, or there is none to be had.
OpenShared = Callable[[Config], Shared | None]


def without_shared(config: Config) -> None:
    """Memory alone."""
