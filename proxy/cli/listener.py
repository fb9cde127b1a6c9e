"""The HTTP server under the gateway: uvicorn with our own protocol, and a fair share of a socket that workers share."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from collections.abc import Generator
from functools import partial
from time import monotonic
from typing import Any, Final

import uvicorn

from proxy.api.routes import Face
from proxy.cli.acceptor import Acceptor
from proxy.cli.protocol import GuardedProtocol, Limits
from proxy.observe import Crew

_SWEEP_INTERVAL_S: Final = 1.0
#: How long an idle keep-alive connection is kept: longer than the idle time-outs of the usual load balancers (60 s).
_KEEP_ALIVE_S: Final = 75
_CLOSE: Final = (b"connection", b"close")
#: File descriptors left for upstream connections, logs and state: each call may need one more than its client's.
_FD_RESERVE: Final = 64


class Listener(uvicorn.Server):
    """One address and what answers there. Signals are none of its business."""

    servers: list[Any]

    def __init__(self, face: Face, sock: socket.socket, limits: Limits, crew: Crew | None = None) -> None:
        """With a `crew`, connections are shared out fairly among its workers."""
        protocol: type[GuardedProtocol] = type("LimitedProtocol", (GuardedProtocol,), {"limits": limits})
        super().__init__(
            uvicorn.Config(
                face,
                http=protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                timeout_keep_alive=_KEEP_ALIVE_S,
                backlog=2048,
            )
        )
        self._protocol = protocol
        self._sock = sock
        self._crew = crew
        self._latest: set[asyncio.Task[Any]] = set()  # connections that were accepted in the last moment

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self.server_state.connections)

    def say_goodbye(self) -> None:
        """From now on each answer says that its connection ends with it: the next request goes elsewhere."""
        if _CLOSE not in self.config.encoded_headers:
            self.config.encoded_headers.append(_CLOSE)
            self.server_state.default_headers.append(_CLOSE)

    def stop_accepting(self) -> None:
        """Take no more connections; go on with those that there are, and with whoever has connected already: a socket
        that is closed resets those whom nobody has accepted yet.
        """
        if self._sock.fileno() < 0:
            return  # done before
        pending = self._sock.dup()
        for server in self.servers:
            server.close()
        self._sock.close()
        pending.setblocking(False)
        with contextlib.closing(pending), contextlib.suppress(OSError):
            while True:
                self._take_in(pending.accept()[0])

    def _take_in(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        connection.setblocking(False)
        protocol = partial(self._protocol, self.config, self.server_state, {})
        task = loop.create_task(loop.connect_accepted_socket(protocol, connection))
        self._latest.add(task)
        task.add_done_callback(self._latest.discard)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn does; but a socket that is shared is not left to whoever is first."""
        crew = self._crew
        if crew is None:
            await super().startup(sockets)
            return
        await self.lifespan.startup()
        protocol = partial(self._protocol, self.config, self.server_state, {})
        self.servers = [
            Acceptor(self._sock, protocol, crew.fewest_connections, lambda: self.connections, crew.connected)
        ]
        self.started = True

    async def run_until_stopped(self) -> None:
        """Listen until `should_exit` is set, then until the last answer is out (or `force_exit` is set)."""
        sweeper = asyncio.create_task(self._sweep())
        try:
            await self.serve([self._sock])
        finally:
            sweeper.cancel()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """uvicorn would take SIGTERM for itself; draining is decided in `proxy/cli/serve.py`."""
        yield

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_INTERVAL_S)
            now = monotonic()
            for connection in list(self.server_state.connections):
                if isinstance(connection, GuardedProtocol):
                    connection.sweep(now)


def max_connections(wanted: int) -> int:
    """`wanted`, or fewer where the process may not open that many files: running out of them kills every call, a 503
    just one.
    """
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if allowed == resource.RLIM_INFINITY else max(1, min(wanted, (allowed - _FD_RESERVE) // 2))
