"""A client's connection: uvicorn's protocol over httptools, and the deadlines and bounds it does not have.

uvicorn lets a client take for ever over its headers, its body and its reading, and buffers headers without end (8 MB
and still going, measured). `Listener` sweeps once a second over all connections and ends those that overstay; nothing
is timed per request.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from proxy.api.errors import raw_response
from proxy.api.guard import REFUSAL
from proxy.api.respond import WATCH
from proxy.chain import new_id
from proxy.errors import (
    BodyTooLarge,
    GatewayError,
    HeadersTooLarge,
    InvalidRequest,
    Overloaded,
    RequestTimeout,
    UriTooLong,
)

_MAX_HEAD_BYTES: Final = 64 * 1024
_MAX_URL_BYTES: Final = 8 * 1024
#: A slow body may take longer than its time-out if it keeps up this pace.
_MIN_BODY_BYTES_PER_S: Final = 10_000
#: A chunk of one byte takes six on the wire; some add an extension.
_MAX_FRAMED_SIZE: Final = 16
#: Where trailers go.
_NOWHERE: Final[deque[tuple[bytes, bytes]]] = deque(maxlen=0)
#: How long a client may still use a connection, if it was told so, before a process that goes away ends it, in seconds.
_LINGER_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Limits:
    """How much time and room a client gets."""

    header_timeout_s: float
    body_timeout_s: float
    write_timeout_s: float
    max_connections: int


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol with a clock and a cap."""

    limits: Limits  # set by `listen` on a subclass of its own

    # What the connection is busy with; `_since` is when that began, in monotonic seconds.
    _phase = "head"
    _since = 0.0
    _head_bytes = 0
    _body_bytes = 0  # as they came, framing included
    _payload_bytes = 0
    _oversized = False
    _paused_at: float | None = None
    _on_lost: Callable[[], None] | None = None
    _lingers = False
    url = b""  # uvicorn sets it with the first byte of a request, not before

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuse a connection too many; else start the clock of its first request."""
        super().connection_made(transport)
        self._since = monotonic()
        if len(self.connections) > self.limits.max_connections:
            self._refuse(Overloaded("Too many connections are open; try again."))

    def connection_lost(self, exc: Exception | None) -> None:
        """The client left: tell whoever is serving it."""
        super().connection_lost(exc)
        if self._on_lost is not None:
            self._on_lost()

    def watch(self, on_lost: Callable[[], None]) -> None:
        """Call back when the client leaves before its answer is complete; at once if it has. See `api.respond`."""
        self._on_lost = on_lost
        if self.transport.is_closing():
            on_lost()

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and end a head that grows without end."""
        if self._phase == "idle":
            self._phase, self._since, self._head_bytes = "head", monotonic(), 0
        if self._phase == "body":
            self._body_bytes += len(data)
        else:
            self._head_bytes += len(data)  # while a request is being served, it is the next one's
            self._oversized = self._head_bytes > _MAX_HEAD_BYTES
        super().data_received(data)
        if self._head_bytes > _MAX_HEAD_BYTES and self._phase in ("head", "serving"):
            self._refuse(self._oversize_error())
        elif self._phase == "body" and self._framing_bytes() > _MAX_HEAD_BYTES:
            self._refuse(HeadersTooLarge("The body's framing (chunk extensions, trailers) exceeds the body by far."))

    def on_headers_complete(self) -> None:
        """Hand the request on, with our refusal beside it if it deserves one (the guard answers with it)."""
        refusal: GatewayError | None = None
        if len(self.url) > _MAX_URL_BYTES:
            refusal = UriTooLong(f"The URL exceeds {_MAX_URL_BYTES} bytes.")
        elif not self.url.startswith(b"/"):
            refusal = InvalidRequest("The request line must name a path, not a whole URL.")
        elif self._oversized and sum(len(name) + len(value) for name, value in self.headers) > _MAX_HEAD_BYTES:
            refusal = self._oversize_error()
        extensions: dict[str, object] = {WATCH: self.watch}
        if refusal is not None:
            extensions[REFUSAL] = refusal
            self.url = b"/"
        self.scope["extensions"] = extensions  # type: ignore[typeddict-item]  # of our own
        self._phase, self._since, self._body_bytes, self._payload_bytes = "body", monotonic(), 0, 0
        super().on_headers_complete()
        # What comes as a header from now on is a trailer: httptools would add it to what the application is shown.
        self.headers = _NOWHERE  # type: ignore[assignment]  # all that is done with it is append

    def on_body(self, body: bytes) -> None:
        """Keep the account of what of the body is content."""
        self._payload_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is all here; what takes time now is ours."""
        self._phase, self._head_bytes = "serving", 0
        super().on_message_complete()
        if self.cycle.response_complete:
            self._phase = "idle"

    def on_response_complete(self) -> None:
        """Ready for the next request on this connection."""
        if self._phase == "serving" and not self.pipeline:
            self._phase = "idle"
        # Here, not where the exchange ends: that may linger while the next request on this connection is watched.
        self._on_lost = None
        super().on_response_complete()
        if self._lingers:
            self.loop.call_later(_LINGER_S, self._close_if_idle)

    def shutdown(self) -> None:
        """The process is going away: end an idle connection, any other after its answer. A client that was told by the
        head of that answer that it may go on may do so once more: what it sends just then would be lost.
        """
        cycle: RequestResponseCycle | None = self.cycle
        self._lingers = (
            cycle is not None and cycle.response_started and not cycle.response_complete and cycle.keep_alive
        )
        if not self._lingers:
            super().shutdown()

    def _close_if_idle(self) -> None:
        if self._phase == "idle":
            self.transport.close()

    def pause_writing(self) -> None:
        """The client reads more slowly than we write."""
        self._paused_at = monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._paused_at = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser could not make sense of, in OpenAI's shape."""
        reason = str(sys.exc_info()[1] or msg)
        if "overflow" in reason.lower():
            self._refuse(BodyTooLarge("The declared length of the body is beyond any limit."))
        elif self._phase == "head" and len(self.url) > _MAX_URL_BYTES:
            self._refuse(UriTooLong(f"The URL exceeds {_MAX_URL_BYTES} bytes."))
        else:
            self._refuse(InvalidRequest("The request is not valid HTTP/1.1."))

    def sweep(self, now: float) -> None:
        """End the connection if its client has overstayed. `now` is in monotonic seconds."""
        if self.transport.is_closing():
            return
        limits, age_s = self.limits, now - self._since
        if self._paused_at is not None and now - self._paused_at > limits.write_timeout_s:
            self.transport.abort()
        elif self._phase == "head" and age_s > limits.header_timeout_s:
            if self._head_bytes:
                self._refuse(
                    RequestTimeout(f"The request's headers did not arrive within {limits.header_timeout_s:g} s.")
                )
            else:
                self.transport.close()
        elif self._phase == "body" and age_s > limits.body_timeout_s + self._earned_s():
            self._refuse(RequestTimeout("The request's body arrived too slowly."))

    def _oversize_error(self) -> GatewayError:
        if not self.headers and len(self.url) > _MAX_URL_BYTES:
            return UriTooLong(f"The URL exceeds {_MAX_URL_BYTES} bytes.")
        return HeadersTooLarge(f"The request's headers exceed {_MAX_HEAD_BYTES} bytes.")

    def _earned_s(self) -> float:
        """What a body has earned of extra time by its pace; one that was answered already gets none."""
        return 0.0 if self.cycle.response_complete else self._body_bytes / _MIN_BODY_BYTES_PER_S

    def _framing_bytes(self) -> int:
        """Bytes of the body so far that are no content, beyond what chunks of a single byte need."""
        return self._body_bytes - _MAX_FRAMED_SIZE * self._payload_bytes

    def _refuse(self, error: GatewayError) -> None:
        """Answer with the error and close; only close if an answer is there or under way: none is written into it."""
        if self.transport.is_closing():
            return
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request, whatever its type says
        is_idle = self._phase == "head" and not self.pipeline and (cycle is None or cycle.response_complete)
        if is_idle or (cycle is not None and not self.pipeline and not cycle.response_started):
            self.transport.write(raw_response(error, new_id()))
        self.transport.close()
