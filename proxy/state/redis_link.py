"""The event loop's way to Redis: a connection that is made anew by itself, and a breaker in front of it. Whoever asks
waits no longer than the time-out, once; while Redis is away nobody waits at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from time import monotonic
from typing import Any, Final

from proxy.state.base import StateAway, StateFailed
from proxy.state.redis_door import Door
from proxy.state.redis_faults import LOSING, away, fault_of, kind_of
from proxy.state.redis_finder import Finder
from proxy.state.redis_node import Node
from proxy.state.redis_place import RedisPlace
from proxy.state.redis_wire import Trip, Wire
from proxy.state.scripts import Script

#: How often a command is sent again at most: to where a cluster moved its keys, and whole where its script is unknown.
MAX_HOPS: Final = 3

#: What a key, or an argument, may be.
Word = str | bytes | int


class Link:
    """For one event loop, and one server or whoever the sentinels say has its role. Nothing here raises anything but
    StateAway and StateFailed.
    """

    def __init__(self, place: RedisPlace, timeout_s: float) -> None:
        """`timeout_s`: how long whoever asks waits at most. Raises StateUnusable if a file for TLS can't be read."""
        self.unheard = 0  #: commands that nobody waited for and that failed
        self._timeout_s = timeout_s
        self._door = Door(place, timeout_s)
        self._finder = Finder(self._door)
        self._node = Node(self._door, partial(self._finder.primaries, ""))

    @property
    def is_away(self) -> bool:
        """Is there no connection? Then nothing is sent, and whoever asks is told at once."""
        return self._node.wire is None

    async def start(self) -> None:
        """Try to connect once; from then on it is tried again by itself whenever the connection is lost."""
        await self._node.start()

    async def aclose(self) -> None:
        """Let go."""
        await self._node.aclose()

    async def run(self, script: Script, keys: Sequence[Word], args: Sequence[Word] = ()) -> Any:
        """What a script gives, on keys of one hash tag. Raises StateAway, or StateFailed if it fails in itself."""
        future = asyncio.get_running_loop().create_future()
        self._run(script, keys, args, future)
        return await future

    async def ask(self, *command: Word) -> Any:
        """What a command gives. Raises StateAway, StateFailed."""
        future = asyncio.get_running_loop().create_future()
        wire = self._node_of_command(command).wire
        if wire is None:
            raise away()
        wire.put(Trip(self, command, future))
        return await future

    def send(self, script: Script, keys: Sequence[Word], args: Sequence[Word] = ()) -> None:
        """Run a script without waiting: if it fails, it is counted in `unheard`."""
        try:
            self._run(script, keys, args, None)
        except StateFailed:
            self.unheard += 1

    def refused(self, trip: Trip, wire: Wire, text: str) -> None:
        """See Sender."""
        kind = kind_of(text)
        if kind == "NOSCRIPT" and trip.script is not None and trip.command[0] == "EVALSHA":
            # Sent whole it is known again.
            trip.command = ("EVAL", trip.script.source, *trip.command[2:])
            self._resend(trip, wire)
            return
        if kind == "MOVED":
            trip.failed(StateFailed("this Redis is a cluster: its URL must begin with redis+cluster://"))
            return
        what = str(trip.command[0]) if trip.script is None else f"the script '{trip.script.name}'"
        trip.failed(fault_of(kind, text, what))
        if kind in LOSING:
            wire.fail(f"it says {kind}")

    def _run(
        self, script: Script, keys: Sequence[Word], args: Sequence[Word], future: asyncio.Future[Any] | None
    ) -> None:
        node = self._node_of(keys[0])
        wire = node.wire
        if wire is None:
            raise away()
        if node.is_old:
            script = script.without_flags
        if script.digest in wire.scripts:
            command = ("EVALSHA", script.digest, len(keys), *keys, *args)
        else:  # sent whole it is known from now on, and nothing that is sent behind it comes before it
            wire.scripts.add(script.digest)
            command = ("EVAL", script.source, len(keys), *keys, *args)
        wire.put(Trip(self, command, future, script))

    def _node_of(self, key: Word) -> Node:
        """Who has this key. Raises StateAway."""
        return self._node

    def _node_of_command(self, command: Sequence[Word]) -> Node:
        """Who has the key of this command. Raises StateAway."""
        return self._node

    def _resend(self, trip: Trip, wire: Wire) -> None:
        """Send a command once more, within the time that it has left."""
        left_s = self._left_s(trip)
        trip.hops += 1
        try:
            if left_s <= 0 or trip.hops > MAX_HOPS:
                raise away()
            if trip.is_asking:
                wire.put(Trip(self, ("ASKING",)))
            wire.put(trip)
        except StateFailed as fault:
            trip.failed(fault)
            return
        if trip.future is not None:
            late = StateAway(f"Redis: no answer within {self._timeout_s:g} s")
            asyncio.get_running_loop().call_later(left_s, trip.failed, late)

    def _left_s(self, trip: Trip) -> float:
        return trip.put_s + self._timeout_s - monotonic()
