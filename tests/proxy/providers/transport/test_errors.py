import aiohttp
import httpx
import pytest
from aiohttp.http_exceptions import HttpProcessingError, TransferEncodingError

from proxy.errors import UpstreamError, UpstreamFailure, UpstreamTimeout, UpstreamUnavailable
from proxy.providers.transport.errors import TransportError, name_failure, translate

FOREIGN: list[tuple[Exception, type[TransportError]]] = [
    (aiohttp.ConnectionTimeoutError(), httpx.ConnectTimeout),
    (aiohttp.ServerDisconnectedError(), httpx.RemoteProtocolError),
    (aiohttp.ClientPayloadError(), httpx.RemoteProtocolError),
    (aiohttp.ClientOSError(104, "reset"), httpx.ReadError),
    (aiohttp.ClientConnectionResetError(), httpx.ReadError),
    (aiohttp.ClientConnectionError(), httpx.ReadError),
    (aiohttp.ClientError(), httpx.ReadError),
    (aiohttp.InvalidURL("x"), httpx.UnsupportedProtocol),
    (aiohttp.NonHttpUrlClientError("x"), httpx.UnsupportedProtocol),
    (HttpProcessingError(message="x"), httpx.RemoteProtocolError),
    (TransferEncodingError("x"), httpx.RemoteProtocolError),
    (TimeoutError(), httpx.ReadError),
    (ConnectionResetError(), httpx.ReadError),
    (OSError(113, "no route"), httpx.ReadError),
    (ValueError(), httpx.LocalProtocolError),
    (RuntimeError("Connection closed."), httpx.ReadError),
    (httpx.ProxyError("x"), httpx.ProxyError),
    (httpx.WriteError("x"), httpx.ReadError),
]


@pytest.mark.parametrize(("foreign", "ours"), FOREIGN, ids=lambda value: str(getattr(value, "__name__", type(value))))
def test_every_foreign_exception_has_a_name_of_ours(foreign: Exception, ours: type[TransportError]) -> None:
    assert type(translate(foreign)) is ours


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (httpx.ConnectTimeout("slow"), UpstreamTimeout),
        (httpx.ReadTimeout("silent"), UpstreamTimeout),
        (httpx.ConnectError("refused"), UpstreamUnavailable),
        (httpx.ProxyError("down"), UpstreamUnavailable),
        (httpx.RemoteProtocolError("garbage"), UpstreamError),
        (httpx.ReadError("cut"), UpstreamError),
        (httpx.DecodingError("gzip"), UpstreamError),
    ],
)
def test_a_transports_error_is_a_failure_of_its_provider(error: TransportError, failure: type[UpstreamFailure]) -> None:
    named = name_failure(error, "acme")
    assert type(named) is failure
    assert "acme" in named.message
