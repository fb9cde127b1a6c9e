"""What gateways of one fleet tell each other, and who they are: what the rest of the gateway asks of the place where
they meet (`redis_news.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Replica:
    """One gateway that is alive: a process, so each worker is one."""

    id: str
    config_hash: str
    version: str  #: of the program
    host: str
    pid: int
    started_ms: int  #: Unix milliseconds, by its own clock
    seen_ms_ago: int = 0  #: when it was heard last


class Hearer(Protocol):
    """Whoever acts on what is told. Nothing here may wait."""

    def drained(self, left_s: Mapping[str, float]) -> None:
        """These targets are left out for so many seconds more, and no others. Told every second."""
        ...

    def purged(self, data: bytes) -> None:
        """Another gateway says what is to be forgotten: what was given to `News.tell_purge` there."""
        ...

    def missed(self) -> None:
        """Other gateways may have purged anything."""
        ...

    def shouted(self, message: bytes) -> None:
        """Somebody, perhaps this gateway itself, gave this to `News.shout`."""
        ...


class News(Protocol):
    """One gateway's seat where they meet, for its event loop."""

    me: Replica
    replicas: Sequence[Replica]  #: as of the last sign of life, this one included; empty before the first

    @property
    def count(self) -> int:
        """How many gateways are alive, as far as was heard; at least one."""
        ...

    @property
    def is_away(self) -> bool:
        """May others not be heard just now?"""
        ...

    async def start(self, me: Replica, hearer: Hearer) -> None:
        """Take the seat. If that can't be done just now, it is done as soon as it can."""
        ...

    async def aclose(self) -> None:
        """Leave it, so that the others need not wait until it is missed."""
        ...

    def show(self, config_hash: str) -> None:
        """From now on this config is in force here."""
        ...

    async def tell_drain(self, target: str, seconds: float) -> None:
        """Every gateway, this one included, leaves the target out for so long. Raises StateFailed: nobody may have
        been told.
        """
        ...

    async def tell_undrain(self, target: str) -> None:
        """Every gateway takes it in again. Raises StateFailed, as above."""
        ...

    async def tell_purge(self, data: bytes) -> None:
        """Every other gateway is told to forget this. Raises StateFailed, as above."""
        ...

    def shout(self, message: bytes) -> None:
        """Tell all that hear it just now; whether anybody does is not known."""
        ...
