"""What the client libraries raise, by our names for it. No foreign text goes on: it may hold addresses."""

from __future__ import annotations

from typing import Final

import aiohttp
import httpx
from aiohttp.http_exceptions import HttpProcessingError

from proxy.errors import UpstreamError, UpstreamFailure, UpstreamTimeout, UpstreamUnavailable

TransportError = httpx.RequestError  #: whatever a transport, or the body of its answer, may raise

#: All that the two client libraries let through, the operating system's own exceptions included.
FOREIGN: Final = (httpx.RequestError, aiohttp.ClientError, HttpProcessingError, OSError, ValueError, RuntimeError)
#: The first row that fits counts, so a subclass stands before its parents.
_NAMES: Final[tuple[tuple[type[TransportError], str, tuple[type[Exception], ...]], ...]] = (
    (httpx.ConnectTimeout, "no connection in time (connect)", (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout)),
    (httpx.ProxyError, "the proxy failed", (aiohttp.ClientProxyConnectionError, httpx.ProxyError)),
    (httpx.ProxyError, "the proxy failed", (aiohttp.ClientHttpProxyError,)),
    (httpx.ConnectError, "the host name could not be resolved", (aiohttp.ClientConnectorDNSError,)),
    (httpx.ConnectError, "the server's certificate is not trusted", (aiohttp.ClientConnectorCertificateError,)),
    (httpx.ConnectError, "TLS could not be set up", (aiohttp.ClientSSLError,)),
    (httpx.ConnectError, "the connection could not be made", (aiohttp.ClientConnectorError, httpx.ConnectError)),
    (httpx.RemoteProtocolError, "the server disconnected without an answer", (aiohttp.ServerDisconnectedError,)),
    (httpx.RemoteProtocolError, "the answer was cut off", (aiohttp.ClientPayloadError,)),
    (httpx.RemoteProtocolError, "the answer is not HTTP/1.1", (aiohttp.ClientResponseError, HttpProcessingError)),
    (httpx.RemoteProtocolError, "the answer was cut off or is not HTTP/1.1", (httpx.RemoteProtocolError,)),
    (httpx.UnsupportedProtocol, "the URL cannot be used", (aiohttp.NonHttpUrlClientError, aiohttp.InvalidURL)),
    (httpx.UnsupportedProtocol, "the URL cannot be used", (httpx.UnsupportedProtocol,)),
    (httpx.LocalProtocolError, "the request cannot be sent as HTTP/1.1", (ValueError, httpx.LocalProtocolError)),
    (httpx.ReadError, "the connection was lost", (Exception,)),
)


def name_failure(error: TransportError, provider: str, credential_id: str = "") -> UpstreamFailure:
    """The failure that a transport's exception stands for. What was sent may be billed, whatever came back."""
    message = f"Provider '{provider}' failed: {error}."
    failure: UpstreamFailure
    if isinstance(error, httpx.TimeoutException):
        failure = UpstreamTimeout(message)
        failure.may_be_billed = not isinstance(error, httpx.ConnectTimeout)
    elif isinstance(error, httpx.ConnectError | httpx.ProxyError | httpx.UnsupportedProtocol):
        failure = UpstreamUnavailable(message)
    else:
        failure = UpstreamError(message)
        failure.may_be_billed = True
    failure.credential_id = credential_id
    return failure


def translate(error: BaseException) -> TransportError:
    """Our name for what a client library raised."""
    for ours, message, theirs in _NAMES:
        if isinstance(error, theirs):
            return ours(message)
    raise AssertionError("the last row fits everything")
