"""A seat among the gateways of a fleet, without a Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from proxy.state import Hearer, Replica
from proxy.state.base import StateAway


class FakeNews:
    """Keeps what it is told; `others` are alive, too, and say nothing."""

    def __init__(self, *others: str) -> None:
        self.me = Replica("", "", "", "", 0, 0)
        self.replicas: Sequence[Replica] = ()
        self.others = others
        self.is_away = False
        self.told: list[tuple[Any, ...]] = []
        self.messages: list[bytes] = []
        self.shown: list[str] = []
        self.is_closed = False

    @property
    def count(self) -> int:
        return max(1, len(self.replicas))

    async def start(self, me: Replica, hearer: Hearer) -> None:
        self.me = me
        self.replicas = [me, *(Replica(name, me.config_hash, "1", "h", 1, 0) for name in self.others)]

    async def aclose(self) -> None:
        self.is_closed = True

    def show(self, config_hash: str) -> None:
        self.shown.append(config_hash)

    async def tell_drain(self, target: str, seconds: float) -> None:
        self._tell("drain", target, seconds)

    async def tell_undrain(self, target: str) -> None:
        self._tell("undrain", target)

    async def tell_purge(self, data: bytes) -> None:
        self._tell("purge", orjson.loads(data))

    def shout(self, message: bytes) -> None:
        self.messages.append(message)

    def _tell(self, *what: Any) -> None:
        if self.is_away:
            raise StateAway("gone")
        self.told.append(what)
