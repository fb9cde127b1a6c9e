"""Reads a request's body under a cap, and refuses one that is not plain JSON by its own headers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from proxy.api.respond import Receive
from proxy.errors import BodyTooLarge, ClientGone, UnsupportedEncoding

#: A body larger than this is read on only for a caller whose key is good.
_ANONYMOUS_BYTES = 64 * 1024


async def read_json_body(
    headers: Mapping[bytes, bytes], receive: Receive, max_bytes: int, admit: Callable[[], object]
) -> bytes:
    """The whole body. `admit` is called once, before much is read, and raises if the caller is nobody.

    Raises UnsupportedEncoding, BodyTooLarge, ClientGone and whatever `admit` raises.
    """
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding != b"identity":
        raise UnsupportedEncoding("The body is compressed; send it as plain JSON.", param="content-encoding")
    kind = headers.get(b"content-type", b"application/json").partition(b";")[0].strip().lower()
    if kind != b"application/json" and not kind.endswith(b"+json"):
        raise UnsupportedEncoding(
            "The body must be JSON; send it with 'Content-Type: application/json'.", param="content-type"
        )
    declared = headers.get(b"content-length")
    expected_bytes = int(declared) if declared is not None and declared.isdigit() else 0
    if expected_bytes > max_bytes:
        raise _too_large(max_bytes)
    if expected_bytes > _ANONYMOUS_BYTES:
        admit()
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body", False) and len(body) <= max_bytes:
        return body
    return await _read_on(message, receive, max_bytes, None if expected_bytes > _ANONYMOUS_BYTES else admit)


async def _read_on(
    message: Mapping[str, object], receive: Receive, max_bytes: int, admit: Callable[[], object] | None
) -> bytes:
    body = bytearray()
    while True:
        if message["type"] == "http.disconnect":
            raise ClientGone("The client left before its request was complete.")
        piece = message.get("body", b"")
        assert isinstance(piece, bytes)
        body += piece
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
        if admit is not None and len(body) > _ANONYMOUS_BYTES:
            admit()
            admit = None
        if not message.get("more_body", False):
            return bytes(body)
        message = await receive()


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body exceeds the limit of {max_bytes:,} bytes (server.max_body).")
