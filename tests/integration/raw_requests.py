"""A good chat request, byte by byte, to be spoilt in one place."""

from __future__ import annotations

from tests.integration.gateway import KEY, chat_body

BODY = chat_body()
REQUEST_LINE = "POST /v1/chat/completions HTTP/1.1\r\n"
KEYED = f"Authorization: Bearer {KEY}\r\nContent-Type: application/json\r\n"


def keyed_head(*lines: str, host: bool = True) -> bytes:
    """A chat request's head with a good key and these further header lines."""
    first = REQUEST_LINE + ("Host: gateway\r\n" if host else "") + KEYED
    return (first + "".join(f"{line}\r\n" for line in lines) + "\r\n").encode("latin-1")


def sized(*lines: str, host: bool = True) -> bytes:
    """The same with a right Content-Length and the body."""
    return keyed_head(f"Content-Length: {len(BODY)}", *lines, host=host) + BODY


def chunked(*lines: str) -> bytes:
    """The same with a chunked body."""
    return keyed_head("Transfer-Encoding: chunked", *lines) + b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
