"""httpx's own transport, held to the same rules: the fallback, at ten times the CPU."""

from __future__ import annotations

import asyncio
import functools

import httpx

from proxy.providers.deadline import Watch
from proxy.providers.transport.body import (
    ENDS,
    KEEPALIVE_S,
    Body,
    Request,
    Response,
    Timeouts,
    fail,
    pieces,
    refuse,
    tls_context,
)


class HttpxTransport(httpx.AsyncBaseTransport):
    """One pool of httpx's. `reuse=False` makes a connection for every request.

    It differs from the default in three ways: an answer that comes while the request is still being sent is seen only
    afterwards, if at all; a TLS handshake that is cancelled leaves its socket to the garbage collector; and only time
    bounds the early hints before an answer.
    """

    def __init__(self, *, reuse: bool = True, proxy: str | None = None) -> None:
        self._reuse = reuse
        kept = None if reuse else 0
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=kept, keepalive_expiry=KEEPALIVE_S)
        self._inner = httpx.AsyncHTTPTransport(verify=tls_context(), trust_env=False, limits=limits, proxy=proxy)

    async def handle_async_request(self, request: Request) -> Response:
        """The answer, once its head is there."""
        if not self._reuse:
            request.headers["Connection"] = "close"
        request.headers.setdefault("Host", request.url.netloc.decode())
        request.headers.setdefault("Content-Length", str(len(await request.aread())))
        timeouts: Timeouts = request.extensions.get("timeout", {})
        watch = Watch(asyncio.get_running_loop(), httpx.ReadTimeout, timeouts)
        try:
            watch.begin()
            response = await self._ask(request)
        except ENDS as end:
            await fail(end, watch)

        async def close() -> None:
            if _has_leftovers(response):
                await response.extensions["network_stream"].aclose()
            await response.aclose()

        watch.pause()
        if (refusal := refuse(response.headers.raw)) is not None:
            watch.stop()
            await close()
            raise refusal
        body = Body(functools.partial(anext, pieces(response), b""), close, watch, lambda: False)
        return Response(response.status_code, headers=response.headers.raw, stream=body)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def _ask(self, request: Request) -> Response:
        """In a task of its own, cancelled once: httpcore leaks its connection if a second one meets its cleaning up."""
        asking = asyncio.create_task(self._inner.handle_async_request(request))
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            if not asking.cancel() and asking.exception() is None:
                await asking.result().aclose()  # it came in the same turn of the loop
            raise


def _has_leftovers(response: Response) -> bool:
    """Has httpcore read past the end of this answer? It would hand those bytes to the next request's caller.

    Only its private parts know. Should they change, every connection counts as spoilt, and none is used again.
    """
    part: object = response.stream
    for name in ("_httpcore_stream", "_stream", "_connection", "_h11_state", "trailing_data"):
        part = getattr(part, name, None)
    return not (isinstance(part, tuple) and part and part[0] == b"")
