"""Takes connections from a listening socket that several workers share.

The system wakes all of them for each connection, and whoever is idle takes it: 64 that came one after the other were
spread 5, 12, 21, 26 over four workers. So a worker that has more than its siblings leaves the next connection to them
for a moment, and takes it if they don't: 15, 16, 16, 17. Sockets of their own (SO_REUSEPORT) spread them 11, 14, 19,
20, by chance, and what waits in the queue of one is lost when its worker is killed or restarted.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Final

#: What a worker may have more than the sibling with the fewest before it stands back.
_SLACK: Final = 2
#: How long it stands back for each one more, and at most, in seconds: who has many waits until a sibling has woken up.
_STAND_BACK_S: Final = 0.001
_STAND_BACK_AT_MOST_S: Final = 0.02
#: After running out of file descriptors or memory, in seconds.
_REST_S: Final = 1.0

_logger = logging.getLogger(__name__)


class Acceptor:
    """Accepts one connection a turn of the loop, until it is closed. Has what uvicorn asks of an asyncio server."""

    def __init__(
        self,
        sock: socket.socket,
        protocol: Callable[[], asyncio.BaseProtocol],
        fewest: Callable[[], int | None],
        count: Callable[[], int],
        on_accept: Callable[[int], None],
    ) -> None:
        """`fewest`: connections of that sibling which has the fewest; None: no sibling is ready. `count`: our own,
        which `on_accept` is told with each one more. Needs a running event loop.
        """
        self._sock = sock
        self._protocol = protocol
        self._fewest = fewest
        self._count = count
        self._on_accept = on_accept
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._is_closed = False
        sock.setblocking(False)
        self._loop.add_reader(sock, self._on_readable)

    def close(self) -> None:
        """Accept no more. What was accepted is served."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._sock)

    async def wait_closed(self) -> None:
        """Return when everything that was accepted has its protocol."""
        await asyncio.gather(*self._opening)

    def _on_readable(self) -> None:
        fewest = self._fewest()
        excess = 0 if fewest is None else self._count() + len(self._opening) - fewest - _SLACK
        if excess > 0:
            self._stand_back(min(excess * _STAND_BACK_S, _STAND_BACK_AT_MOST_S))
        else:
            self._take()

    def _stand_back(self, for_s: float) -> None:
        # Off the loop's list: the socket stays readable until somebody has taken the connection.
        self._loop.remove_reader(self._sock)
        self._pause = self._loop.call_later(for_s, self._return)

    def _return(self) -> None:
        self._pause = None
        self._loop.add_reader(self._sock, self._on_readable)
        self._take()

    def _take(self) -> None:
        try:
            connection, _ = self._sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # a sibling was faster, or the client has left
        except OSError as error:
            _logger.error("no connection can be accepted: %s; trying again in %g s", error.strerror, _REST_S)
            if self._pause is None:
                self._stand_back(_REST_S)
            return
        connection.setblocking(False)
        task = self._loop.create_task(self._open(connection))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        self._on_accept(self._count() + len(self._opening))

    async def _open(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, connection)
        except OSError:
            connection.close()  # it broke in the meantime
