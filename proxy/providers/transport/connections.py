"""aiohttp's pool and its end of a connection, mended where they are slow or leave somebody waiting.

Reaches into aiohttp's private parts (`_factory`, `_payload`), which is why the range of its versions is narrow.
"""

from __future__ import annotations

import functools
from typing import Any, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.streams import StreamReader


class Connector(aiohttp.TCPConnector):
    """Hands out no connection on which bytes came that nobody had asked for: they would be the next caller's answer.

    aiohttp itself looks when it takes a connection back, which it does before it has parsed what follows the answer.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = cast("functools.partial[ResponseHandler]", functools.partial(Protocol, self._loop))

    async def connect(self, *args: Any, **kwargs: Any) -> Connection:
        while True:
            connection = await super().connect(*args, **kwargs)
            if connection.protocol is None or not connection.protocol.should_close:
                return connection
            connection.close()


class Protocol(ResponseHandler):
    """aiohttp's end of a connection, mended where it is slow or leaves a reader waiting."""

    _was_paused = False  # during the answer that is being read

    def set_response_params(self, **params: Any) -> None:
        """Make ready for the next answer."""
        self._was_paused = False
        super().set_response_params(**params)

    def pause_reading(self) -> None:
        """The reader has fallen behind."""
        self._was_paused = True
        super().pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on reading, if it was ever paused: aiohttp runs its parser, 0.7 µs, for every chunk that is read. (Ever:
        the parser may hold on to a pause of its own after ours has ended, until it is run again.)
        """
        if self._was_paused:
            super().resume_reading(resume_parser)

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        """The connection is of no use any more: tell the reader of a body too, not just that of a head."""
        payload = self._payload
        super().set_exception(exc, *cause)
        _tell(payload, exc)

    def connection_lost(self, exc: BaseException | None) -> None:
        """A body without a length ends where its connection does, but not where that was reset."""
        if exc is not None:
            _tell(self._payload, aiohttp.ClientPayloadError())
        super().connection_lost(exc)

    def close(self) -> None:
        """At once: a server that does not read what is still to be sent, or does not say goodbye to TLS, would keep the
        socket for half a minute.
        """
        transport = self.transport
        if transport is not None and (
            transport.get_write_buffer_size() or transport.get_extra_info("sslcontext") is not None
        ):
            self.abort()
            return
        payload = self._payload
        super().close()
        _tell(payload, aiohttp.ClientConnectionError())

    def abort(self) -> None:
        """Without a word to the other end."""
        payload = self._payload
        super().abort()
        _tell(payload, aiohttp.ClientConnectionError())


def _tell(payload: StreamReader | None, error: BaseException) -> None:
    """Whoever reads this body, or will, gets the error, unless the body is whole or has failed already."""
    if payload is not None and not payload.is_eof() and payload.exception() is None:
        payload.set_exception(error)
