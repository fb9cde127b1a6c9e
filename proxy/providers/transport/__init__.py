"""The seam to the network: httpx's transport interface over aiohttp's connections (the default) or over httpx's own.

Both send what they are given and nothing else: no header but Host, Content-Length and, without reuse, Connection; no
redirect, no cookie, no proxy of the environment, no decompression. Both raise httpx's exceptions only. Time limits come
with each request as `extensions["timeout"]`, with the keys `connect` (name look-up and TLS included), `first_byte`,
`idle` and `total`, in seconds; None or absent is no limit (see `deadline.Watch`). A body that was read to its end gives
its connection back to the pool; after a failure, a cancellation or an early aclose() the connection is closed at once.
"""

from __future__ import annotations

from typing import Literal

from proxy.providers.transport.body import (
    URL,
    Content,
    Headers,
    Request,
    Response,
    Transport,
    is_at_end,
    let_go,
    pieces,
)
from proxy.providers.transport.errors import TransportError, name_failure
from proxy.providers.transport.over_aiohttp import AiohttpTransport
from proxy.providers.transport.over_httpx import HttpxTransport

__all__ = [
    "URL",
    "AiohttpTransport",
    "Content",
    "Headers",
    "HttpxTransport",
    "Request",
    "Response",
    "Transport",
    "TransportError",
    "is_at_end",
    "let_go",
    "make_transport",
    "name_failure",
    "pieces",
]


def make_transport(kind: Literal["aiohttp", "httpx"], *, reuse: bool, proxy: str | None) -> Transport:
    """A pool of connections for one provider. Nothing is opened before the first request."""
    if kind == "aiohttp":
        return AiohttpTransport(reuse=reuse, proxy=proxy)
    return HttpxTransport(reuse=reuse, proxy=proxy)
