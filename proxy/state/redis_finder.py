"""Which server is the one to write to: asked of sentinels, or of a cluster's nodes."""

from __future__ import annotations

import asyncio
from binascii import crc_hqx
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from proxy.state.base import StateAway
from proxy.state.redis_door import Door
from proxy.state.redis_place import Address

SLOTS: Final = 16_384
#: How long a sentinel or a node may take to answer, in seconds: the others have answered by then.
_CONSULT_S: Final = 0.3


class Slots(NamedTuple):
    """Part of a cluster's keys, and whose they are."""

    first: int
    last: int
    owner: Address


class Finder:
    """For one place. What it learns of a cluster it remembers: the nodes of the URL may have been replaced since."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._place = door.place
        self._known: tuple[Address, ...] = ()

    async def primaries(self, key: str) -> Sequence[Address]:
        """The servers that may be the one to write to, the likeliest first; in a cluster the one that has `key`.

        Raises StateAway.
        """
        if self._place.form == "single":
            return self._place.addresses
        if self._place.form == "cluster":
            slot = key_slot(key.encode())
            return [part.owner for part in await self.slots() if part.first <= slot <= part.last]
        asked = (self._named_by(sentinel) for sentinel in self._place.addresses)
        # One that was cut off from the others may still name the server from before: what most say goes first.
        named = Counter(address for address in await asyncio.gather(*asked) if address is not None)
        if not named:
            raise StateAway("no sentinel that answers knows the server")
        return [address for address, _ in named.most_common()]

    async def slots(self) -> list[Slots]:
        """A cluster's map, by the first node that answers. Raises StateAway."""
        for address in dict.fromkeys((*self._known, *self._place.addresses)):
            try:
                answer = await self._door.consult(address, "CLUSTER", "SLOTS", within_s=_CONSULT_S)
            except StateAway:
                continue
            if found := read_slots(answer, address.host):
                self.learn(found)
                return found
        raise StateAway("no node of the cluster that answers knows where the keys are")

    def learn(self, slots: Sequence[Slots]) -> None:
        """Look there first next time."""
        self._known = tuple(dict.fromkeys(part.owner for part in slots))

    async def _named_by(self, sentinel: Address) -> Address | None:
        command = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._place.service)
        try:
            answer = await self._door.consult(sentinel, *command, within_s=_CONSULT_S)
        except StateAway:
            return None
        return Address(answer[0].decode(), int(answer[1])) if isinstance(answer, list) and len(answer) == 2 else None


def read_slots(answer: Any, host: str) -> list[Slots]:
    """What CLUSTER SLOTS says. `host`: who said it, for nodes that do not know their own address."""
    found = []
    for first, last, (named, port, *_), *_ in answer:
        found.append(Slots(first, last, Address(host if named in (None, b"", b"?") else named.decode(), port)))
    return found


def key_slot(key: bytes) -> int:
    """The slot of a key: by what stands between its first braces, if that is something."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key, 0) % SLOTS
