"""How an error looks on the wire: OpenAI's envelope, and the headers that tell an SDK whether to try again."""

from __future__ import annotations

from http import HTTPStatus
from math import ceil

import orjson

from proxy.errors import GatewayError


def envelope(error: GatewayError) -> bytes:
    """`{"error": {message, type, param, code}}`: always all four keys."""
    return orjson.dumps(
        {"error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}}
    )


def retry_headers(error: GatewayError) -> list[tuple[bytes, bytes]]:
    """`retry-after` in whole seconds rounded up, `retry-after-ms`, and `x-should-retry` where the error knows."""
    headers = []
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % ceil(error.retry_after_s)))
        headers.append((b"retry-after-ms", b"%d" % ceil(error.retry_after_s * 1000)))
    if error.should_retry is not None:
        headers.append((b"x-should-retry", b"true" if error.should_retry else b"false"))
    return headers


def raw_response(error: GatewayError, request_id: str) -> bytes:
    """A whole HTTP/1.1 response, for requests so broken that no ASGI application gets to see them. Closes the
    connection.
    """
    body = envelope(error)
    head = [
        b"HTTP/1.1 %d %s" % (error.status, HTTPStatus(error.status).phrase.encode("ascii")),
        b"content-type: application/json",
        b"content-length: %d" % len(body),
        b"x-request-id: %s" % request_id.encode("ascii"),
        *(name + b": " + value for name, value in retry_headers(error)),
        b"connection: close",
    ]
    return b"\r\n".join(head) + b"\r\n\r\n" + body
