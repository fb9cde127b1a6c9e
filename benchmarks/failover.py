"""`python -m benchmarks.failover`: what an asynchronous failover of Redis can lose. Calls reserve as fast as one client
can; the primary is killed and what is on its way to the replica is lost, as when its machine dies; the replica takes
over, and is asked which of the reservations that were confirmed it has. A relay between the two holds up what goes to
the replica, as a network does.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import statistics
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Final

import uvloop

from proxy.state import QuotaPlace, StateFailed, Verdict
from proxy.state.redis_claims import RedisClaims
from proxy.state.redis_keys import RedisKeys
from proxy.state.redis_link import Link
from proxy.state.redis_place import read_redis_url
from tests.redis_server import RedisServer, redis_server
from tests.server import wait_until

_CLIENTS: Final = 16
_DELAYS_MS: Final = (1, 10)
_QUOTA: Final = QuotaPlace("month:2026-11-01", 4_000_000_000, "usd\n", 10**15)
_KEYS: Final = RedisKeys("failover")


async def reserve(url: str, until: asyncio.Event) -> list[tuple[str, float]]:
    """Reserve until told to stop, or Redis is away: the calls that were let in, and when that was known."""
    place = read_redis_url(url)
    assert place is not None, "a URL of Redis"
    link = Link(place, 0.5)
    await link.start()
    claims, confirmed = RedisClaims(link, _KEYS), list[tuple[str, float]]()
    terms = claims.terms("team", (), (_QUOTA,))

    async def client(number: int) -> None:
        at = 0
        while not until.is_set():
            call_id = f"{number}-{at}"
            try:
                claimed = await claims.claim(terms, call_id, 0, (1000, 10), b"")
            except StateFailed:
                return
            if claimed.verdict == Verdict.ADMITTED:
                confirmed.append((call_id, perf_counter()))
            at += 1

    await asyncio.gather(*(client(number) for number in range(_CLIENTS)))
    await link.aclose()
    return confirmed


class Relay(threading.Thread):
    """Between a replica and its primary, on a thread: what the primary sends arrives so much later."""

    def __init__(self, port: int, delay_s: float) -> None:
        super().__init__(daemon=True)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self._port = port
        self._delay_s = delay_s
        self._cut: Callable[[], object] | None = None

    def run(self) -> None:
        """Serve until it is cut."""
        asyncio.run(self._serve())

    def cut(self) -> None:
        """Whatever is on its way is lost."""
        assert self._cut is not None, "a replica has come through it"
        self._cut()
        self.join()

    async def _serve(self) -> None:
        is_cut, loop = asyncio.Event(), asyncio.get_running_loop()
        self._cut = lambda: loop.call_soon_threadsafe(is_cut.set)
        server = await asyncio.start_server(self._join, sock=self.listening)
        await is_cut.wait()
        server.close()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop, writers = asyncio.get_running_loop(), [writer]

        async def carry(source: asyncio.StreamReader, give: Callable[[bytes], object]) -> None:
            while data := await source.read(1 << 16):
                give(data)

        def arrive(data: bytes) -> None:
            if not writer.is_closing():
                writer.write(data)

        try:
            with suppress(asyncio.CancelledError, OSError):  # it is cut, or the primary is gone
                from_primary, to_primary = await asyncio.open_connection("127.0.0.1", self._port)
                writers.append(to_primary)
                await asyncio.gather(
                    carry(reader, to_primary.write),
                    carry(from_primary, lambda data: loop.call_later(self._delay_s, arrive, data)),
                )
        finally:
            for one in writers:
                one.transport.abort()


async def lost_in(primary: RedisServer, replica: RedisServer, relay: Relay, after_s: float) -> tuple[int, int, float]:
    """Kill the primary after so long: how many reservations were confirmed, how many the replica does not have, and how
    long before the last of all the first of them was confirmed, in seconds.
    """
    reserving = asyncio.create_task(reserve(primary.url, asyncio.Event()))
    await asyncio.sleep(after_s)
    relay.cut()
    await asyncio.to_thread(primary.kill)
    confirmed = await reserving
    with replica.client as client:
        client.replicaof("NO", "ONE")
        known = {key.decode().rpartition(":")[2] for key in client.scan_iter(f"{_KEYS.team('team')}:claim:*", 10_000)}
    lost = [at for call_id, at in confirmed if call_id not in known]
    return len(confirmed), len(lost), confirmed[-1][1] - lost[0] if lost else 0.0


def run(delay_s: float, after_s: float) -> tuple[int, int, float]:
    """One failover, with servers of its own."""
    with tempfile.TemporaryDirectory(prefix="waystation-bench-") as name, redis_server(Path(name)) as primary:
        relay = Relay(primary.port, delay_s)
        relay.start()
        replicated = ("--replicaof", f"127.0.0.1 {relay.listening.getsockname()[1]}")
        with redis_server(Path(name), *replicated) as replica:
            wait_until(lambda: replica.client.info("replication").get("master_link_status") == "up", 30)
            return uvloop.run(lost_in(primary, replica, relay, after_s))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.failover", description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args(arguments)
    rng = Random(6)
    for delay_ms in _DELAYS_MS:
        found = [run(delay_ms / 1e3, rng.uniform(0.5, 1.5)) for _ in range(options.runs)]
        lost = [one[1] for one in found]
        print(
            f"replica {delay_ms} ms away: {options.runs} failovers, {sum(one[0] for one in found):,} reservations "
            f"confirmed; lost {statistics.median(lost):g} at the median, {max(lost)} at most: those of the last "
            f"{max(one[2] for one in found) * 1e3:.1f} ms",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
