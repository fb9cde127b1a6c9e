"""Load: 64 keep-alive connections that ask as fast as they are answered. wrk where it is installed, else a
client of our own, which takes more of the core that it shares with the upstream.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Final

import orjson
import uvloop

from benchmarks.chat import ChatCall
from benchmarks.client import BadAnswer, Connection, connect

CONNECTIONS: Final = 64

_SUMMARY: Final = """
function done(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format("result %d %d %d\\n", summary.requests, summary.duration, failed))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What came of it."""

    requests: int  #: answered
    seconds: float
    failed: int

    @property
    def per_s(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds if self.seconds else 0.0


def find_wrk() -> str | None:
    """Where wrk is, if it is."""
    return shutil.which("wrk")


def put_load(call: ChatCall, seconds: int, directory: Path) -> Load:
    """Send this request for so many seconds. `directory` takes wrk's script. Raises BadAnswer if any failed."""
    wrk = find_wrk()
    done = _run_wrk(wrk, call, seconds, directory) if wrk else _run_own(call, seconds)
    _insist(done)
    return done


def wrk_script(call: ChatCall) -> str:
    """The Lua that makes wrk send this request and print its figures in a line of their own."""
    lines = ['wrk.method = "POST"', f"wrk.body = {_quote(call.body.decode('ascii'))}"]
    lines += [f"wrk.headers[{_quote(name)}] = {_quote(value)}" for name, value in call.headers]
    return "\n".join(lines) + _SUMMARY


def parse_wrk(output: str) -> Load:
    """wrk's figures from what it printed. Raises BadAnswer if they are not there."""
    for line in output.splitlines():
        word, *figures = line.split()[:4] or [""]
        if word == "result" and len(figures) == 3:
            requests, duration_us, failed = map(int, figures)
            return Load(requests, duration_us / 1e6, failed)
    raise BadAnswer(f"wrk printed no result: {output[-300:]!r}")


def _quote(text: str) -> str:
    return orjson.dumps(text).decode()  # a JSON string of ASCII is a Lua string


def _run_wrk(wrk: str, call: ChatCall, seconds: int, directory: Path) -> Load:
    script = directory / "request.lua"
    script.write_text(wrk_script(call))
    url = f"http://127.0.0.1:{call.port}{call.path}"
    command: Sequence[str | Path] = (
        *(wrk, "--threads", "1", "--connections", str(CONNECTIONS)),
        *("--duration", f"{seconds}s", "--timeout", "10s", "--script", script, url),
    )
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 30)
    return parse_wrk(ended.stdout + ended.stderr)


def warm_up(call: ChatCall, seconds: float) -> None:
    """Load that is not measured, with our own client: wrk knows whole seconds only. Raises BadAnswer if any failed."""
    _insist(_run_own(call, seconds))


def _insist(done: Load) -> None:
    if done.failed:
        raise BadAnswer(f"{done.failed} requests failed, {done.requests} did not")
    if not done.requests:
        raise BadAnswer(f"not one request was answered within {done.seconds:.0f} s")


def _run_own(call: ChatCall, seconds: float) -> Load:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(load_with_own_client(call, seconds))


async def load_with_own_client(call: ChatCall, seconds: float, connections: int = CONNECTIONS) -> Load:
    """The same load without wrk. It is slower, which lowers requests a second, not the cost of one."""
    request = call.encode()
    started_at = perf_counter()
    async with contextlib.AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(connect(call.port)) for _ in range(connections)]
        counts = await asyncio.gather(*(_ask_until(one, request, started_at + seconds) for one in opened))
    answered, failed = sum(count[0] for count in counts), sum(count[1] for count in counts)
    return Load(answered, perf_counter() - started_at, failed)


async def _ask_until(connection: Connection, request: bytes, until: float) -> tuple[int, int]:
    answered = 0
    try:
        while perf_counter() < until:
            if (await connection.ask(request)).status != 200:
                return answered, 1
            answered += 1
    except (BadAnswer, OSError):
        return answered, 1
    return answered, 0
