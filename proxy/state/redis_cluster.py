"""The same link over a cluster: a connection to each primary, and a map of whose the keys are. The keys of a command
share one hash tag, so each has one server.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from proxy.state.base import StateAway
from proxy.state.redis_faults import away, kind_of
from proxy.state.redis_finder import SLOTS, key_slot
from proxy.state.redis_link import MAX_HOPS, Link, Word
from proxy.state.redis_node import Node
from proxy.state.redis_place import Address, RedisPlace
from proxy.state.redis_wire import Trip, Wire

#: How often the map is read though nothing went wrong, in seconds.
_REFRESH_S: Final = 30.0
#: How far apart readings of it are at least, in seconds, and while a server is away.
_PAUSE_S: Final = 0.1
_AWAY_PAUSE_S: Final = 0.5
#: Commands without a key: any server may answer. Of all others the key comes first, but for these.
_KEYLESS: Final = frozenset(("PING", "TIME", "INFO", "PUBLISH", "ECHO"))
_KEY_AT: Final = {"EVAL": 3, "EVALSHA": 3, "XINFO": 2, "XGROUP": 2, "OBJECT": 2, "MEMORY": 2}

_logger = logging.getLogger(__name__)


class ClusterLink(Link):
    """A Link whose servers are a cluster's primaries. It is away while it has a connection to none of them."""

    def __init__(self, place: RedisPlace, timeout_s: float) -> None:
        super().__init__(place, timeout_s)
        self._nodes: dict[Address, Node] = {}
        self._owners: list[Node | None] = [None] * SLOTS
        self._stale = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_lost = False  #: could the map not be read last time?

    @property
    def is_away(self) -> bool:
        """Is there no connection at all?"""
        return all(node.wire is None for node in self._nodes.values())

    async def start(self) -> None:
        """Try once to read the map and to connect to everybody on it."""
        await self._refresh()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._spawn(self._keep_map())

    async def aclose(self) -> None:
        """Let go."""
        while tasks := [task for task in self._tasks if not task.done()]:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        nodes, self._nodes = self._nodes, {}
        self._owners = [None] * SLOTS
        await asyncio.gather(*(node.aclose() for node in nodes.values()))

    def refused(self, trip: Trip, wire: Wire, text: str) -> None:
        """See Sender."""
        kind = kind_of(text)
        if kind in ("MOVED", "CLUSTERDOWN"):
            self._stale.set()
        if kind in ("MOVED", "ASK") and trip.hops >= MAX_HOPS:
            trip.failed(StateAway("Redis' cluster is changing"))
        elif kind in ("MOVED", "ASK"):
            slot, address = self._directions(text, wire)
            trip.is_asking = kind == "ASK"
            node = self._node_at(address)
            if kind == "MOVED":
                self._owners[slot] = node
            self._pass_on(trip, node)
        else:
            super().refused(trip, wire, text)

    def _node_of(self, key: Word) -> Node:
        node = self._owners[key_slot(key if isinstance(key, bytes) else str(key).encode(errors="replace"))]
        if node is None:
            raise away()
        return node

    def _node_of_command(self, command: Sequence[Word]) -> Node:
        name = str(command[0])
        if name == "XREAD":
            return self._node_of(command[command.index("STREAMS") + 1])
        at = _KEY_AT.get(name, 1)
        if name not in _KEYLESS and at < len(command):
            return self._node_of(command[at])
        for node in self._nodes.values():
            if node.wire is not None:
                return node
        raise away()

    def _directions(self, text: str, wire: Wire) -> tuple[int, Address]:
        """What `MOVED 3999 HOST:PORT` says; without a host it is the one who says so."""
        _, slot, place = text.split(" ")[:3]
        host, _, port = place.rpartition(":")
        if not host:
            host = next((address.host for address, node in self._nodes.items() if node.wire is wire), "")
        return int(slot), Address(host.strip("[]"), int(port))

    def _node_at(self, address: Address) -> Node:
        """The connection to there; if it is new, it is being made."""
        node = self._nodes.get(address)
        if node is None:
            node = self._nodes[address] = Node(self._door, partial(_here, address), self._stale.set)
            self._spawn(node.start())
        return node

    def _pass_on(self, trip: Trip, node: Node) -> None:
        if node.wire is not None:
            self._resend(trip, node.wire)
        else:
            self._spawn(self._pass_on_later(trip, node))

    async def _pass_on_later(self, trip: Trip, node: Node) -> None:
        is_sent = False
        try:
            await node.until_up(max(0.0, self._left_s(trip)))
            if node.wire is not None:
                is_sent = True
                self._resend(trip, node.wire)
        except TimeoutError:
            pass
        finally:
            if not is_sent:  # or we are closed
                trip.failed(StateAway("Redis' cluster is changing"))

    async def _keep_map(self) -> None:
        while True:
            is_whole = bool(self._nodes) and all(node.wire is not None for node in self._nodes.values())
            await asyncio.sleep(_PAUSE_S if is_whole else _AWAY_PAUSE_S)
            if is_whole:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_REFRESH_S):
                        await self._stale.wait()
            self._stale.clear()
            await self._refresh()

    async def _refresh(self) -> None:
        """Read the map, and connect to whoever is new on it; who is on it no longer is let go."""
        try:
            slots = await self._finder.slots()
        except StateAway as fault:
            if not self._is_lost:
                _logger.error("Redis: %s", fault)
            self._is_lost = True
            return
        self._is_lost = False
        owners: list[Node | None] = [None] * SLOTS
        for part in slots:
            owners[part.first : part.last + 1] = [self._node_at(part.owner)] * (part.last + 1 - part.first)
        self._owners = owners
        stay = {part.owner for part in slots}
        gone = [self._nodes.pop(address) for address in list(self._nodes) if address not in stay]
        await asyncio.gather(*(node.aclose() for node in gone))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _here(address: Address) -> Sequence[Address]:
    return (address,)
