"""What concerns other replicas, for a shared level that there are none of: nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from proxy.cache.shared_level import Listener
from proxy.cache.store import Stored


class Alone:
    """See `Shared`."""

    is_fleetwide = False

    async def find_vectors(self, team: str, keys: Sequence[bytes]) -> Mapping[bytes, Stored]:
        """None: inputs of embeddings are kept in memory alone."""
        return {}

    def add_vectors(self, values: Mapping[bytes, Stored], ttl_s: float, under_way_s: float) -> None:
        """The same."""

    def forget_vectors(self, team: str, keys: Sequence[bytes]) -> None:
        """The same."""

    def look(self, team: str, key: bytes, flight: bytes | None, purges: int) -> None:
        """None: nobody else has it."""

    def teach(self, data: bytes, unheard: Callable[[], None]) -> bool:
        """There is nobody else."""
        return False

    def follow(self, listener: Listener) -> None:
        """The same."""

    def follow_meaning(self, scopes: Collection[bytes], lesson: str) -> None:
        """The same."""
