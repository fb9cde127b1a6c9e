"""The floor: the least that a gateway of these parts can cost. Raw ASGI under uvicorn, httpx's request and response
types over httpx-aiohttp's stock transport, and nothing else: nothing is parsed, checked, named, counted or logged.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import httpx
import uvicorn
from httpx_aiohttp import AiohttpTransport

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_FORWARDED: Final = (b"authorization", b"content-type")


class Floor:
    """Sends each request's body on as it came, and gives back what the upstream answers, as it comes."""

    def __init__(self, url: str) -> None:
        self._url = httpx.URL(url)
        self._transport = AiohttpTransport()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request."""
        body = await _read(receive)
        headers = [pair for pair in scope["headers"] if pair[0] in _FORWARDED]
        request = httpx.Request("POST", self._url, headers=headers, content=body)
        response = await self._transport.handle_async_request(request)
        try:
            kind = response.headers["content-type"].encode()
            start = {"type": "http.response.start", "status": response.status_code}
            if kind == b"text/event-stream":
                await send({**start, "headers": [(b"content-type", kind)]})
                async for chunk in response.aiter_raw():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
            else:
                whole = b"".join([chunk async for chunk in response.aiter_raw()])
                length = (b"content-length", b"%d" % len(whole))
                await send({**start, "headers": [(b"content-type", kind), length]})
                await send({"type": "http.response.body", "body": whole})
        finally:
            await response.aclose()


async def _read(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message["body"]
    while message.get("more_body", False):
        message = await receive()
        body += message["body"]
    return body


def serve(port: int, url: str) -> None:
    """Run the floor on this port of the loopback, until it is told to stop."""
    uvicorn.run(
        Floor(url),
        port=port,
        loop="uvloop",
        http="httptools",
        lifespan="off",
        proxy_headers=False,
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2])
