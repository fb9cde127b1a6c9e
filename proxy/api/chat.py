"""`POST /v1/chat/completions`, and what else asks a provider: a raw ASGI endpoint, without request or response objects
(they would cost more than the chain).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from time import monotonic

from proxy.api.body import read_json_body
from proxy.api.respond import Exchange, Pace, Receive, Send, Watch, write_error
from proxy.api.surface import Desk, Surface
from proxy.call import Call, Handler
from proxy.chain import choose_request_id, client_patience_s, new_id
from proxy.errors import ClientGone, GatewayError, InvalidKey
from proxy.wire.chat import ChatRequest, parse_chat_request


class ChatEndpoint:
    """Reads a request, runs it through the chain of the world in force, and writes the answer."""

    def __init__(
        self,
        desk: Desk,
        parse: Callable[[bytes], ChatRequest] = parse_chat_request,
        handler_of: Callable[[Surface], Handler] = attrgetter("handler"),
    ) -> None:
        """`parse` reads a body, `handler_of` gives the chain for what it reads."""
        self._desk = desk
        self._parse = parse
        self._handler_of = handler_of

    async def __call__(
        self, headers: Mapping[bytes, bytes], receive: Receive, send: Send, watch: Watch | None = None
    ) -> None:
        """Serve one request whose headers the guard has passed. `watch` is the listener's, if it has one."""
        received_at = monotonic()
        surface = self._desk.surface
        call_id = new_id()
        request_id = choose_request_id(headers, call_id)
        try:
            body = await read_json_body(headers, receive, surface.max_body_bytes, lambda: surface.identify(headers))
            request = self._parse(body)
        except GatewayError as error:
            await self._refuse(_strangers_first(error, surface, headers), surface, request_id, send)
            return
        # The world may have changed while the body came in. From here to the exchange's entry nothing awaits, so that a
        # reload sees either an exchange to wait for or a call on the new world.
        surface = self._desk.surface
        call = Call(call_id, request_id, received_at, headers, request)
        commit_after_s = surface.catalogue.commit_after_s(request.model)
        patience_s = client_patience_s(call)
        if patience_s is not None and patience_s < 1.25 * commit_after_s:
            commit_after_s = 0.8 * patience_s  # before the client takes the silence for death
        pace = Pace(commit_after_s, surface.comment_every_s)
        exchange = Exchange(call, self._handler_of(surface), receive, send, pace, watch)
        self._desk.exchanges.add(exchange)
        try:
            await exchange.run()
        finally:
            self._desk.exchanges.discard(exchange)

    async def _refuse(self, error: GatewayError, surface: Surface, request_id: str, send: Send) -> None:
        """The request never became a call: the fact is counted and logged, and nothing of what it said."""
        surface.trace.refuse(request_id, error)
        if not isinstance(error, ClientGone):
            await write_error(send, error, [(b"x-request-id", request_id.encode("ascii"))])


def _strangers_first(error: GatewayError, surface: Surface, headers: Mapping[bytes, bytes]) -> GatewayError:
    """Whoever has no good key is told that, and not what else is wrong."""
    if isinstance(error, ClientGone):
        return error
    try:
        surface.identify(headers)
    except InvalidKey as refusal:
        return refusal
    return error
