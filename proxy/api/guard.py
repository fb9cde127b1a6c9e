"""What the HTTP parser lets through and this gateway does not: checked once a request, before anything is read or
believed.

The parser (httptools) refuses bad framing; measured against 51 hostile requests it accepts a missing or doubled Host,
doubled singleton headers and upgrades whose body it then loses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from proxy.errors import GatewayError, HeadersTooLarge, InvalidKey, InvalidRequest
from proxy.keyring import KEY_HEADERS

#: Where the listener leaves its own refusal of a request (a `GatewayError`), if it has one.
REFUSAL: Final = "waystation.refusal"

#: The official SDKs send about 20, a chain of proxies adds a dozen.
_MAX_HEADERS: Final = 100
_SINGLETONS: Final = frozenset(
    (
        b"host",
        b"content-length",
        b"content-type",
        b"content-encoding",
        b"transfer-encoding",
        b"x-request-id",
        b"traceparent",
        b"upgrade",
    )
)


def check(scope: Mapping[str, Any]) -> dict[bytes, bytes]:
    """The request's headers as they stand now: a snapshot, because trailers are appended to the scope's list while
    the body is read. Raises the GatewayError with which to refuse the request.
    """
    extensions = scope.get("extensions")
    if extensions and isinstance(refusal := extensions.get(REFUSAL), GatewayError):
        raise refusal
    listed: list[tuple[bytes, bytes]] = scope["headers"]
    if len(listed) > _MAX_HEADERS:
        raise HeadersTooLarge(f"The request has {len(listed)} headers; at most {_MAX_HEADERS} are accepted.")
    headers = dict(listed)
    if len(headers) != len(listed):
        _check_repeated(listed)
    if b"host" not in headers and scope["http_version"] != "1.0":
        raise InvalidRequest("The request has no Host header.")
    if b"upgrade" in headers and b"upgrade" in headers.get(b"connection", b"").lower():
        raise InvalidRequest("This server speaks HTTP/1.1 only; send the request without an Upgrade header.")
    return headers


def _check_repeated(listed: list[tuple[bytes, bytes]]) -> None:
    seen = set()
    for name, _ in listed:
        if name in seen:
            if name in KEY_HEADERS:
                raise InvalidKey(f"The header '{name.decode()}' was sent twice. Send one API key, once.")
            if name in _SINGLETONS:
                raise InvalidRequest(f"The header '{name.decode()}' was sent twice.")
        seen.add(name)
