"""One worker among its siblings: it tells them how it fares, and answers for the whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from time import monotonic, perf_counter
from typing import Final, Literal

from proxy.observe.board import Board, Standing
from proxy.observe.merging import Merged, Row, read, row_of, write
from proxy.observe.metrics import Metrics

#: How often a worker gives a sign of life, in seconds.
BEAT_S: Final = 0.25
#: How often its metrics are written down for its siblings, in seconds; less often where that takes long: in slices, at
#: most one part in so many of its time.
_PUBLISH_S: Final = 1.0
_PUBLISH_SHARE: Final = 200
#: A worker that gave no sign of life for so long is not counted on, and is left no connections, in seconds.
_SILENT_S: Final = 5.0
_BUSY_S: Final = 1.0


class Crew:
    """The workers of one server, as one of them sees them."""

    def __init__(self, board: Board, slot: int, orders: int, clock: Callable[[], float] = monotonic) -> None:
        """`orders`: a pipe's end where the parent says what to do; it ends with the parent. `clock`: monotonic seconds,
        the same for all processes.
        """
        self.slot = slot
        self.orders = orders
        self._board = board
        self._clock = clock
        self._published = 0

    @property
    def status(self) -> Literal["starting", "ready", "draining"]:
        """Of the whole: ready once all workers have been, while one of them is and nobody asked it to stop."""
        if self._board.draining:
            return "draining"
        return "ready" if self._board.opened and any(map(self._is_ready, self._board.standings())) else "starting"

    @property
    def calls(self) -> int:
        """In flight, in all workers."""
        return sum(standing.calls for standing in self._board.standings())

    @property
    def deaths(self) -> int:
        """Workers that ended without being told to."""
        return self._board.deaths

    def standings(self) -> Iterator[tuple[Standing, float]]:
        """Every worker, and how long ago it gave a sign of life, in seconds."""
        now_s = self._clock()
        return ((standing, max(0.0, now_s - standing.beat_s)) for standing in self._board.standings())

    def fewest_connections(self) -> int | None:
        """The fewest that a ready sibling has; None if there is no such sibling."""
        others = (one for one in self._board.standings() if one.slot != self.slot and self._is_ready(one, _BUSY_S))
        return min((one.connections for one in others), default=None)

    def connected(self, connections: int) -> None:
        """How many connections of clients this worker has."""
        self._board.connected(self.slot, connections)

    def begin(self) -> None:
        """From now on this worker takes calls."""
        self._board.beat(self.slot, self._clock(), 0)
        self._board.enter(self.slot, "ready")

    def leave(self) -> None:
        """From now on it takes no more than come by themselves."""
        self._board.enter(self.slot, "draining")

    def call_for_reload(self) -> None:
        """Have every worker read its config again."""
        self._board.call_for_reload()

    async def exposition(self, metrics: Metrics) -> bytes:
        """What Prometheus is shown of the whole: this worker as it is now, its siblings as they were a second ago.

        What was shown once is written down first: a scrape that a sibling answers never shows less of a counter.
        """
        own = self.publish_now(metrics)
        return await asyncio.to_thread(self._merge, own)  # of large configs it takes 60 ms

    def _merge(self, own: list[Row]) -> bytes:
        kept, sheets = self._board.sheets()
        merged = Merged()
        merged.add(own)
        for slot, sheet in sheets.items():
            if slot != self.slot:
                merged.add(read(sheet))
        merged.add(read(kept), is_alive=False)
        return merged.exposition()

    async def beat(self, count: Callable[[], tuple[int, int]], reload: Callable[[], None]) -> None:
        """Until cancelled: give signs of life, and `reload` when somebody calls for it. Without it the parent takes the
        worker for dead. `count` gives the calls in flight and the clients' connections.
        """
        reloads = self._board.reloads
        while True:
            calls, connections = count()
            self._board.beat(self.slot, self._clock(), calls)
            self.connected(connections)
            if self._board.reloads != reloads:
                reloads = self._board.reloads
                reload()
            await asyncio.sleep(BEAT_S)

    async def publish(self, metrics: Metrics) -> None:
        """Until cancelled: write down what is counted, for the siblings."""
        while True:
            took_s = await self._write_down(metrics)
            await asyncio.sleep(max(_PUBLISH_S, _PUBLISH_SHARE * took_s))

    def publish_now(self, metrics: Metrics) -> list[Row]:
        """Write down what is counted, and give it: at the end of a worker's life too, whose last second counts."""
        own = [row_of(family) for family in metrics.registry.collect()]
        self._publish(own)
        return own

    async def _write_down(self, metrics: Metrics) -> float:
        """A family at a time, so that calls are not kept waiting; how long it took in all, in seconds."""
        rows, took_s, families, published = [], 0.0, iter(metrics.registry.collect()), self._published
        while True:
            began_s = perf_counter()
            family = next(families, None)
            if family is None:
                break
            rows.append(row_of(family))
            took_s += perf_counter() - began_s
            await asyncio.sleep(0)
        if self._published == published:  # else somebody was shown something newer meanwhile
            self._publish(rows)
        return took_s + perf_counter() - began_s

    def _publish(self, rows: list[Row]) -> None:
        self._published += 1
        self._board.publish(self.slot, write(rows))

    def _is_ready(self, standing: Standing, within_s: float = _SILENT_S) -> bool:
        return standing.state == "ready" and self._clock() - standing.beat_s < within_s
